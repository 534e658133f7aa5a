"""The kernel's bound on inotify instances is lifted for a dozen hosts, and never lowered."""

from pathlib import Path

import pytest

from migrate.errors import UsageProblem
from migrate.lab.limits import NEEDED_INSTANCES, raise_limits


@pytest.mark.parametrize(
    ("before", "after"), [(128, NEEDED_INSTANCES), (NEEDED_INSTANCES, NEEDED_INSTANCES), (9999, 9999)]
)
def test_the_bound_is_lifted_and_never_lowered(tmp_path: Path, before: int, after: int) -> None:
    file = tmp_path / "max_user_instances"
    file.write_text(f"{before}\n")
    raise_limits(file)
    assert int(file.read_text()) == after


def test_a_bound_that_cannot_be_lifted_is_said_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "max_user_instances"
    file.write_text("128\n")

    def refuse(self: Path, text: str) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(UsageProblem) as problem:
        raise_limits(file)
    assert "sysctl -w" in problem.value.hint
