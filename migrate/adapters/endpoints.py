"""Addresses of stores and clouds, as an operator gives them."""

import os
from collections.abc import Iterator
from urllib.parse import urlsplit

from migrate.errors import UsageProblem

ENDPOINT_VARIABLE = "AWS_ENDPOINT_URL"


def require_endpoint(option: str | None) -> None:
    """Raises UsageProblem for an address that no store can have, given as `--endpoint-url` or in the environment. It is
    not quoted: what is malformed may be a password in the wrong place."""
    for where, text in _given(option):
        if not _is_address(text):
            raise UsageProblem(
                "this is no address of a store",
                where=where,
                expected="https://HOST or https://HOST:PORT, without user and password",
                hint="credentials come from the profile or the environment, as for the AWS CLI",
            )


def _given(option: str | None) -> Iterator[tuple[str, str]]:
    if option is not None:
        yield "--endpoint-url", option
    for variable in sorted(os.environ):
        if variable.startswith(ENDPOINT_VARIABLE) and os.environ[variable]:
            yield variable, os.environ[variable]


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    plain = parts.scheme in ("http", "https") and parts.hostname and port != 0
    return bool(plain) and "@" not in text and not parts.query and not parts.fragment
