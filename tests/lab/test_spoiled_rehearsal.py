"""One object, one dump, one health check spoiled: each time the run stops at the right gate, and says so."""

import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from migrate.cli.output import Output
from migrate.cli.rehearse import RehearsalOptions, carry_out
from migrate.errors import CloudexitError, ExitCode
from migrate.journal import Event
from migrate.plan import Step
from tests.drill import PLAZA, lab_of, last_report

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

WRONG_BYTES = Path(__file__).parent / "wrong_bytes_proxy.py"
Spoil = Callable[[], None]


def rehearse_and_spoil(stack: Path, state: Path, after: str, spoil: Spoil) -> CloudexitError:
    """Runs a drill, spoils something once the step `after` is done, and returns what stopped it."""

    def observe(step: Step, event: Event, detail: Mapping[str, Any], seconds: float | None) -> None:
        if step.id == after and event is Event.DONE:
            spoil()

    with pytest.raises(CloudexitError) as stopped:
        carry_out(RehearsalOptions(stack, state=state), Output(quiet=True), [observe])
    return stopped.value


def on(state: Path, host: str, command: str, stdin: bytes = b"") -> str:
    done = subprocess.run(
        [*lab_of(state).ssh_argv(host), command], input=stdin, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def outcomes(state: Path) -> dict[str, str]:
    return {row["id"]: row["outcome"] for row in last_report(state)["steps"]}


def test_an_object_whose_bytes_are_wrong_stops_the_export(state: Path) -> None:
    """The old home's S3 endpoint gets a proxy in front of it that changes one byte of one image, each time."""

    def spoil() -> None:
        on(state, "old", "cat > /root/proxy.py", WRONG_BYTES.read_bytes())
        on(state, "old", "python3 /root/proxy.py take-over plaza-s3.service")

    stopped = rehearse_and_spoil(PLAZA, state, "lab.dump", spoil)
    assert stopped.exit_code is ExitCode.INCOMPLETE
    assert "is quarantined" in str(stopped)
    found = outcomes(state)
    assert found["export.plaza-media"] == "failed"
    assert found["restore.media.plaza"] == found["start.media"] == found["cutover.switch-off"] == "waiting"


def test_a_truncated_dump_is_refused_before_the_database_is_touched(state: Path) -> None:
    cut = 'f=$(ls -t /srv/s3/plaza-backups/postgresql/*.dump | head -1) && truncate -s -1000 "$f"'

    stopped = rehearse_and_spoil(PLAZA, state, "lab.dump", lambda: on(state, "old", cut) and None)
    assert stopped.exit_code is ExitCode.GATE
    assert "plaza-backups/postgresql/plaza-" in str(stopped)
    assert "bytes" in str(stopped)
    found = outcomes(state)
    assert found["restore.database.plaza.dump"] == "failed"
    assert found["restore.database.plaza.load"] == found["start.database"] == "waiting"
    if found["provision.hosts"] == "done":
        names = on(state, "data", "runuser -u postgres -- psql -Atc 'SELECT datname FROM pg_database'").split()
        assert not [name for name in names if name.startswith("plaza")]


def test_a_service_that_is_not_healthy_stops_what_depends_on_it(state: Path, tmp_path: Path) -> None:
    """The web service gets a database password that is not right; its bound is shortened, nothing else changed."""
    stack = tmp_path / "plaza" / "stack.yaml"
    shutil.copytree(PLAZA.parent, stack.parent, ignore=shutil.ignore_patterns(".cloudexit", "build", "__pycache__"))
    sound = "- {name: healthy, http: {path: /healthz}}\n      - {name: hears-the-worker"
    text = stack.read_text()
    assert sound in text
    stack.write_text(text.replace(sound, sound.replace("/healthz}}", "/healthz}, within: 6s}")))

    def spoil() -> None:
        edit = "s#^(PLAZA_DATABASE_URL=.*://plaza:)[^@]*@#\\1wrong@#"
        on(state, "app", f"sed -i -E {shlex.quote(edit)} /etc/plaza/web.env && grep -q :wrong@ /etc/plaza/web.env")

    stopped = rehearse_and_spoil(stack, state, "restore.release.plaza", spoil)
    assert stopped.exit_code is ExitCode.GATE
    assert "web: healthy" in str(stopped)
    assert "plaza-web" in str(stopped)
    found = outcomes(state)
    assert found["start.worker"] == "done"
    assert found["start.web"] == "failed"
    assert found["start.edge"] == found["cutover.switch-off"] == "waiting"
