"""`gunicorn plaza.web:app`: the application with its settings from the environment."""

from plaza.application import create_app
from plaza.settings import Settings

app = create_app(Settings.from_environment())
