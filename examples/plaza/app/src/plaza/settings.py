"""Settings, all of them from the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from plaza.errors import SettingsError


@dataclass(frozen=True)
class Settings:
    """Where the parts are. Values that carry a password stay out of `repr`."""

    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    media_store: str = field(repr=False)
    media_url: str
    secret_key: str = field(repr=False)
    secure_cookies: bool = False
    smtp_url: str | None = field(default=None, repr=False)
    mail_from: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Read PLAZA_*; raise SettingsError naming every variable that is missing or malformed."""
        names = ("DATABASE_URL", "REDIS_URL", "MEDIA_STORE", "MEDIA_URL", "SECRET_KEY")
        missing = [f"PLAZA_{name}" for name in names if not environment.get(f"PLAZA_{name}")]
        if missing:
            raise SettingsError(f"not set: {', '.join(missing)}; the README lists what each one holds")
        media_url = environment["PLAZA_MEDIA_URL"]
        if not media_url.endswith("/"):
            raise SettingsError("PLAZA_MEDIA_URL must end in '/', as in http://example.org/media/")
        return cls(
            database_url=environment["PLAZA_DATABASE_URL"],
            redis_url=environment["PLAZA_REDIS_URL"],
            media_store=environment["PLAZA_MEDIA_STORE"],
            media_url=media_url,
            secret_key=environment["PLAZA_SECRET_KEY"],
            secure_cookies=environment.get("PLAZA_SECURE_COOKIES", "") == "1",
            smtp_url=environment.get("PLAZA_SMTP_URL") or None,
            mail_from=environment.get("PLAZA_MAIL_FROM", ""),
        )
