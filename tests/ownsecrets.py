"""The new home's own secrets, made once for all tests that only look at what the playbooks are told."""

from migrate.secret import Secret, Secrets
from migrate.target.ownsecrets import OWN_SECRETS

OWN_SECRETS_OF_TESTS = Secrets({name: Secret(make()) for name, make in OWN_SECRETS.items()})
