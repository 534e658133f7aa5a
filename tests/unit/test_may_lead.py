"""Whether a server of a group may start as one that takes writes: the role's own program, and what others answer."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "playbooks" / "roles" / "postgresql" / "files" / "cloudexit-may-lead"
OURS, ANOTHERS = "7300000000000000001", "7300000000000000002"
PSQL = """#!/bin/sh
for word; do case $word in host=*) peer=${word%% *}; peer=${peer#host=} ;; esac; done
echo "$*" >> "$(dirname "$0")/asked"
[ -e "$(dirname "$0")/$peer" ] || sleep 30
. "$(dirname "$0")/$peer"
"""
CONTROL = f"""#!/bin/sh
echo "Database system identifier:           {OURS}"
echo "Latest checkpoint's TimeLineID:       1"
"""


def leads(timeline: int, identity: str = OURS) -> str:
    return f"echo '{identity}|{timeline}|0/3000000|'; echo off"


def follows(timeline: int) -> str:
    return f"echo '{OURS}|{timeline}|0/3000000|'; echo on"


def fails(words: str) -> str:
    return f"printf '%b\\n' 'psql: error: connection to server failed: {words}' >&2; exit 2"


REFUSED = fails("Connection refused\n\tIs the server running on that host?")
STARTING = fails("FATAL:  the database system is starting up")
NO_PASSWORD = fails('FATAL:  password authentication failed for user "cloudexit_replicator"')


@dataclass(frozen=True)
class Server:
    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "main"

    @property
    def asked(self) -> int:
        asked = self.folder / "asked"
        return len(asked.read_text().splitlines()) if asked.exists() else 0

    def starts(self, **answers: str) -> tuple[bool, str]:
        for name, answer in answers.items():
            (self.folder / f"at-{name}").write_text(answer)
        peers = [f"--peer={name}=at-{name}" for name in answers]
        done = subprocess.run(
            [self.folder / "program", "--service=database", "--host=data1", "--port=5432", "--user=u", "--passfile=/p",
             "--authority=/a", f"--data={self.data}", f"--programs={self.folder}", *peers],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode in (0, 1), done
        return done.returncode == 0, done.stderr


@pytest.fixture
def server(tmp_path: Path) -> Server:
    """One that would take writes, with a database, on timeline 1."""
    made = Server(tmp_path)
    for folder in ("base/1", "base/4", "base/5", "base/16384", "pg_wal"):
        (made.data / folder).mkdir(parents=True)
    (made.data / "PG_VERSION").write_text("15\n")
    (made.data / "pg_wal" / f"{1:08X}{0:08X}{3:08X}").touch()
    text = PROGRAM.read_text()
    text = text.replace("SILENT_SECONDS = 10.0", "SILENT_SECONDS = 0.7")
    text = text.replace("STARTING_SECONDS = 60.0", "STARTING_SECONDS = 4.0")
    for name, program in {"program": text, "psql": PSQL, "pg_controldata": CONTROL}.items():
        (tmp_path / name).write_text(program)
        (tmp_path / name).chmod(0o755)
    return made


@pytest.mark.parametrize(
    ("answers", "starts", "words"),
    [
        ({"data2": follows(1)}, True, ""),
        ({"data2": leads(2)}, False, "cloudexit failover database --rejoin data1"),
        ({"data2": leads(1)}, False, "data2 takes writes for database, on timeline 1"),
        ({"data2": follows(2), "data3": leads(2)}, False, "data3 takes writes"),
        ({"data2": REFUSED, "data3": leads(2)}, False, "data3 takes writes"),
        ({"data2": leads(2, ANOTHERS)}, True, ""),
        ({"data2": REFUSED}, True, "without a word from others of database: data2: psql: error: connection"),
        ({"data2": NO_PASSWORD}, True, ""),
        ({"data2": "echo what; echo off"}, True, "could not be asked"),
    ],
)
def test_a_server_starts_to_take_writes_where_no_other_with_its_data_does(
    server: Server, answers: dict[str, str], starts: bool, words: str
) -> None:
    started, said = server.starts(**answers)
    assert started is starts and words in said
    assert bool(said) is bool(words)


def test_the_newer_data_start_beside_the_older_ones_and_say_which_are_to_be_stopped(server: Server) -> None:
    """The old lead started first, unseen: the pools lead to the newer data, which must be there."""
    (server.data / "pg_wal" / f"{2:08X}{0:08X}{4:08X}").touch()
    started, said = server.starts(data2=leads(1))
    assert started and "Stop PostgreSQL there, then: cloudexit failover database --rejoin data2" in said


def test_one_that_starts_is_waited_for_longer_than_one_that_is_silent(server: Server) -> None:
    later = f'if [ "$(wc -l < {server.folder}/asked)" -lt 5 ]; then {STARTING}; fi; {leads(2)}'
    started, said = server.starts(data2=later)
    assert not started and "data2 takes writes" in said and server.asked == 5


def test_one_that_starts_without_end_is_not_waited_for_without_end(server: Server) -> None:
    started, said = server.starts(data2=STARTING)
    assert started and "starting up" in said


def test_a_standby_and_a_server_without_databases_start_without_asking_anyone(server: Server) -> None:
    (server.data / "standby.signal").touch()
    assert server.starts(data2=leads(2)) == (True, "")
    (server.data / "standby.signal").unlink()
    (server.data / "base" / "16384").rmdir()
    assert server.starts(data2=leads(2)) == (True, "")
    assert server.asked == 0


def test_data_that_cannot_be_read_are_postgresqls_own_business(server: Server) -> None:
    (server.folder / "pg_controldata").write_text("#!/bin/sh\nexit 1\n")
    started, said = server.starts(data2=leads(2))
    assert started and "could not be asked" in said
