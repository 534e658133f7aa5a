"""The app's own processes: units, command lines and environments."""

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from migrate.errors import UsageProblem
from migrate.inventory import addresses
from migrate.secret import Secrets
from migrate.stack import Service, ServiceKind
from migrate.target.hostview import HostView
from migrate.target.parts.part import Part

PLACEHOLDER = re.compile(r"\{(secret:)?([a-z][a-z0-9_-]*)\}")


def variables(view: HostView) -> list[dict[str, Any]] | None:
    return [_process(view, name, service) for name, service in view.of(ServiceKind.PROCESS)] or None


def secrets(view: HostView) -> dict[str, Any]:
    texts = {name: environment_file(_environment(view, name, s)) for name, s in view.of(ServiceKind.PROCESS)}
    return {"environments": texts}


def _process(view: HostView, name: str, service: Service) -> dict[str, Any]:
    return {
        "name": name,
        "unit": service.unit,
        "release": service.release,
        "user": view.stack.releases[str(service.release)].user,
        "exec_start": exec_start(str(service.release), str(service.command)),
    }


def _environment(view: HostView, name: str, service: Service) -> dict[str, str]:
    known = addresses(view.stack, view.inventory)
    where = f"services.{name}.environment"
    return {
        variable: expand(value, known, view.secrets, f"{where}.{variable}")
        for variable, value in service.environment.items()
    }


def expand(text: str, known: Mapping[str, str], secrets: Secrets, where: str) -> str:
    """`{group}` as an address and `{secret:NAME}` as its value; raises UsageProblem for any other name."""

    def value(match: re.Match[str]) -> str:
        of_secret, name = match.groups()
        if of_secret and name in secrets:
            return secrets[name].reveal()
        if not of_secret and name in known:
            return known[name]
        choice = sorted(secrets) if of_secret else sorted(known)
        raise UsageProblem(f"nothing is called {match.group()}", where=where, expected=", ".join(choice))

    return PLACEHOLDER.sub(value, text)


def environment_file(environment: Mapping[str, str]) -> str:
    """The text of a systemd EnvironmentFile; raises UsageProblem where a value has a line break."""
    return "".join(_environment_lines(environment))


def _environment_lines(environment: Mapping[str, str]) -> Iterator[str]:
    for name, value in environment.items():
        if "\n" in value or "\r" in value:
            raise UsageProblem(f"the value of {name} has a line break", expected="one line")
        escaped = re.sub(r'([\\"`$])', r"\\\1", value)
        yield f'{name}="{escaped}"\n'


def exec_start(release: str, command: str) -> str:
    """A command line, relative to the release's venv/bin, as systemd takes it."""
    program, *arguments = shlex.split(command)
    return " ".join(_unit_word(word) for word in (f"/srv/{release}/current/venv/bin/{program}", *arguments))


def _unit_word(word: str) -> str:
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return escaped if re.fullmatch(r"[\w@%+=:,./$-]+", escaped) else f'"{escaped}"'


PART = Part("processes", variables, secrets, packages=lambda view: ("python3-venv", "python3-packaging"))
