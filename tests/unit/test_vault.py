"""Secrets in an ansible-vault file beside the manifest."""

import subprocess
import sys
from pathlib import Path

import pytest

from migrate.adapters.vault import NAME, PASSWORD_FILE, read_vault
from migrate.errors import UsageProblem
from migrate.secret import Secret, Secrets

VALUE = "value-that-must-not-show"


@pytest.fixture
def encrypted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Encrypts a text as a vault, with a password that the environment names."""
    password = tmp_path / "password"
    password.write_text("open sesame\n")
    monkeypatch.setenv(PASSWORD_FILE, str(password))

    def encrypt(text: str) -> Path:
        path = tmp_path / NAME
        path.write_text(text)
        command = [str(Path(sys.executable).with_name("ansible-vault")), "encrypt"]
        subprocess.run([*command, str(path)], check=True, capture_output=True, timeout=60)
        return path

    return encrypt


def test_what_is_in_a_vault_is_given(encrypted) -> None:  # type: ignore[no-untyped-def]
    path = encrypted(f"session_key: {VALUE}\nkey: |\n  a\n  b\n")
    assert VALUE not in path.read_text()
    assert read_vault(path, ["session_key", "key", "other"]) == {"session_key": VALUE, "key": "a\nb\n"}


def test_without_a_vault_nothing_is_given(tmp_path: Path) -> None:
    assert read_vault(tmp_path / NAME, []) == {}


def refused(path: Path, known: list[str]) -> str:
    with pytest.raises(UsageProblem) as problem:
        read_vault(path, known)
    words = f"{problem.value} {vars(problem.value)}"
    assert VALUE not in words and problem.value.exit_code == 2
    return words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"unasked: {VALUE}", "nobody asks for unasked"),
        (f"- {VALUE}", "not names with texts"),
        ("session_key: 17", "not names with texts"),
        (f"session_key: '{VALUE}", "no YAML"),
    ],
)
def test_a_vault_with_something_else_in_it_is_refused(encrypted, text: str, words: str) -> None:  # type: ignore[no-untyped-def]
    assert words in refused(encrypted(text), ["session_key"])


def test_a_vault_that_is_open_to_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_text(f"session_key: {VALUE}")
    assert "it is not encrypted" in refused(path, ["session_key"])


def test_a_vault_that_does_not_open_is_refused(encrypted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    path = encrypted(f"session_key: {VALUE}")
    (tmp_path / "password").write_text("open barley\n")
    assert "it does not open" in refused(path, ["session_key"])
    monkeypatch.delenv(PASSWORD_FILE)
    assert "nothing opens it" in refused(path, ["session_key"])


def test_each_line_of_a_key_is_redacted() -> None:
    secrets = Secrets({"key": Secret("-----BEGIN PRIVATE KEY-----\nMIIabc\nxyz123\n-----END PRIVATE KEY-----\n")})
    assert secrets.redact("a MIIabc b\nxyz123 c") == "a ••• b\n••• c"
