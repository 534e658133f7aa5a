"""Values that print redacted, and the small file that keeps the generated ones."""

import json
import os
import secrets as entropy
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from migrate.errors import UsageProblem

GENERATED_BYTES = 24
NO_MAKERS: Mapping[str, Callable[[], str]] = {}


class Secret:
    """A value that never shows itself in repr, str, format or a traceback's locals."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret(•••)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


class Secrets(Mapping[str, Secret]):
    """The secrets of one stack by name."""

    def __init__(self, values: Mapping[str, Secret]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> Secret:
        return self._values[name]

    def __iter__(self) -> Iterable[str]:  # type: ignore[override]
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def redact(self, text: str) -> str:
        """The text with every secret's value replaced; of one with several lines (a key), each line too."""
        for value in sorted(self._texts(), key=len, reverse=True):
            text = text.replace(value, "•••")
        return text

    def _texts(self) -> set[str]:
        found = {secret.reveal() for secret in self._values.values()}
        lines = {
            line for value in found if "\n" in value for line in value.splitlines() if not line.startswith("-----")
        }
        return {value for value in found | lines if value}


def load_or_generate(
    path: Path, names: Iterable[str], given: Mapping[str, str], makers: Mapping[str, Callable[[], str]] = NO_MAKERS
) -> Secrets:
    """The secrets `names`: given ones first, then those kept in `path`, the rest generated and kept there (0600).
    `makers` make those that are no plain word; what they name is loaded or generated too.

    Raises UsageProblem where the file cannot be read as secrets; new ones are never generated over it.
    """
    kept = _kept(path)
    names = list(dict.fromkeys((*names, *makers)))
    missing = [name for name in names if name not in given and name not in kept]
    if missing:
        kept.update({name: makers.get(name, _word)() for name in missing})
        _write_private(path, json.dumps(kept, indent=1, sort_keys=True))
    return Secrets({name: Secret(given.get(name) or kept[name]) for name in names})


def load(path: Path, names: Iterable[str], given: Mapping[str, str], looked_in: str) -> Secrets:
    """The secrets `names`, given or kept in `path`; none is made.

    Raises UsageProblem with those that are in neither; `looked_in` says where the given ones were looked for."""
    kept = _kept(path)
    found = {name: given.get(name) or kept.get(name) for name in names}
    missing = [name for name, value in found.items() if not value]
    if missing:
        raise UsageProblem(
            f"secrets that the home was provisioned with are missing: {', '.join(missing)}",
            where=str(path),
            expected=f"each of them in {looked_in}, or kept in that file",
            hint="name the state folder of that provision (--state), or bring its secrets.json here; where they are "
            "new, or nothing was provisioned yet, cloudexit provision makes them, cloudexit secrets rotate one alone",
        )
    return Secrets({name: Secret(value) for name, value in found.items() if value})


def kept_names(path: Path) -> set[str]:
    """Names of the secrets that are kept in `path`; raises UsageProblem where it cannot be read as secrets."""
    return set(_kept(path))


def make_anew(path: Path, name: str, makers: Mapping[str, Callable[[], str]] = NO_MAKERS) -> None:
    """Replaces one kept secret by a new one, whole or not at all. Raises UsageProblem as `load_or_generate`."""
    kept = {**_kept(path), name: makers.get(name, _word)()}
    _write_private(path, json.dumps(kept, indent=1, sort_keys=True))


def _word() -> str:
    return entropy.token_urlsafe(GENERATED_BYTES)


def _kept(path: Path) -> dict[str, str]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as fault:
        # The fault's text may quote the file: only its kind is told.
        raise _no_secrets(path, type(fault).__name__) from None
    if not isinstance(document, dict) or not all(isinstance(value, str) and value for value in document.values()):
        raise _no_secrets(path, "not names with texts")
    return document


def _no_secrets(path: Path, reason: str) -> UsageProblem:
    return UsageProblem(
        f"the file of secrets cannot be read: {reason}",
        where=str(path),
        expected="a JSON object: secret's name -> its value",
        hint="put back a copy of the file: the hosts carry these secrets, so new ones are not generated over it",
    )


def _write_private(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)
