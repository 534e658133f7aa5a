"""The one place where the lab starts programs of this machine: bounded, and quoting what they said when they fail."""

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence

from migrate.errors import OutsideProblem

SYSTEM_FOLDERS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROXY_VARIABLES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
QUOTED_LINES = 12


class CommandFailed(OutsideProblem):
    """A program of this machine failed or overran its bound; its last words are quoted."""


def system_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """An environment without the operator's secrets: search path, locale, proxies, and `extra`."""
    proxies = {name: os.environ[name] for name in PROXY_VARIABLES if name in os.environ}
    path = f"{SYSTEM_FOLDERS}:{os.environ.get('PATH', '')}"
    return {"PATH": path, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive", **proxies, **(extra or {})}


def call(
    argv: Sequence[str],
    *,
    timeout: float = 30.0,
    stdin: str = "",
    environment: Mapping[str, str] | None = None,
    hint: str = "",
) -> str:
    """Standard output of a program that ended well within `timeout` seconds; raises CommandFailed otherwise."""
    where = shlex.join(argv)
    where = where if len(where) < 300 else f"{where[:300]}…"
    try:
        done = subprocess.run(
            list(argv),
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
            env=system_environment(environment),
        )
    except FileNotFoundError as fault:
        raise CommandFailed(
            f"no program {argv[0]!r} on this machine", where=where, hint="cloudexit lab doctor"
        ) from fault
    except subprocess.TimeoutExpired as fault:
        raise CommandFailed(f"did not end within {timeout:g} s", where=where, hint=hint) from fault
    if done.returncode:
        words = last_lines(done.stderr or done.stdout)
        raise CommandFailed(f"exit status {done.returncode}: {words}", where=where, hint=hint)
    return done.stdout


def succeeds(argv: Sequence[str], *, timeout: float = 30.0) -> bool:
    """True when the program ends with status 0; for questions whose 'no' is an exit status."""
    try:
        call(argv, timeout=timeout)
    except CommandFailed:
        return False
    return True


def last_lines(text: str, count: int = QUOTED_LINES) -> str:
    """The last lines of a program's output, for an error message."""
    return "\n    ".join(line.rstrip() for line in text.strip().splitlines()[-count:])
