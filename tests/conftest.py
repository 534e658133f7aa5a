"""Fixtures shared by all layers."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from hypothesis import settings
from moto.server import ThreadedMotoServer

from migrate.lab.lab import DEFAULT_ROOT
from migrate.lab.requirements import doctor
from tests.drill import PLAZA, Drill, cloudexit, lab_of

# How long an example takes on a busy machine says nothing about the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
# What a shell starts in its background ignores Ctrl-C, and so would everything that is started here.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


LANES = ("fleet", "hosts")
"""What a run side by side does one after the other: tests on the shared fleet, and those that make hosts of their own.
All others are dealt out one by one."""
FOLDERS_OF_HOSTS = {"lab", "interrupt", "trixie"}


def lane_of(item: pytest.Item) -> str:
    if "fleet" in getattr(item, "fixturenames", ()):
        return "fleet"
    return "hosts" if item.path.parent.name in FOLDERS_OF_HOSTS else ""


@pytest.hookimpl(tryfirst=True)  # before the groups are read
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`-n 2 --dist loadgroup` then takes about as long as the longer lane."""
    for item in items:
        if lane := lane_of(item):
            item.add_marker(pytest.mark.xdist_group(lane))
    places = {lane: place for place, lane in enumerate(LANES)}
    items.sort(key=lambda item: places.get(lane_of(item), len(LANES)))


def pytest_collection_finish(session: pytest.Session) -> None:
    """A lane that does not hold would make its hosts twice, and be slow and red for no reason that shows."""
    if session.config.getoption("loadgroup", False):
        loose = [item.nodeid for item in session.items if lane_of(item) and "@" not in item.nodeid]
        if loose:
            raise pytest.UsageError(f"pytest-xdist keeps no groups with pytest {pytest.__version__}: {loose[0]}")


@pytest.fixture(scope="session")
def can_hold_hosts() -> None:
    """Skips with everything that this machine lacks for disposable hosts."""
    lacking = [result for result in doctor(DEFAULT_ROOT) if result.holds]
    if lacking:
        pytest.skip("no disposable hosts here: " + "; ".join(f"{r.name}: {r.detail} ({r.hint})" for r in lacking))


@pytest.fixture(scope="session")
def undisturbed(can_hold_hosts: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drill]:
    """One whole rehearsal by the command itself, hosts kept until the session ends."""
    state = tmp_path_factory.mktemp("undisturbed") / "state"
    lab = lab_of(state)
    try:
        done = cloudexit("rehearse", PLAZA, "--state", state, "--keep", "--json")
        assert done.returncode == 0, done.stderr[-6000:]
        page = cloudexit("report", "--stack", PLAZA, "--state", state)
        assert page.returncode == 0, page.stderr
        yield Drill(state, lab, json.loads(done.stdout), page.stdout)
    finally:
        lab.down()


@pytest.fixture
def state(can_hold_hosts: None, tmp_path: Path) -> Iterator[Path]:
    """A state folder for one rehearsal; its lab is gone afterwards."""
    folder = tmp_path / "state"
    yield folder
    lab_of(folder).down()


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The example's buckets at a real S3 server."""
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    for name, value in (("AWS_ENDPOINT_URL", endpoint), ("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b"),
                        ("AWS_REGION", "us-east-1")):  # fmt: skip
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    for bucket in ("plaza-backups", "plaza-releases", "plaza-media"):
        client.create_bucket(Bucket=bucket)
    for number in range(30):
        client.put_object(Bucket="plaza-media", Key=f"images/{number}.png", Body=b"p" * 4000)
    client.put_object(Bucket="plaza-backups", Key="postgresql/plaza-1.dump", Body=b"d" * 90_000)
    client.put_object(Bucket="plaza-backups", Key="redis/plaza-1.rdb", Body=b"r" * 1000)
    client.put_object(Bucket="plaza-releases", Key="plaza/plaza-1.tar.gz", Body=b"t" * 50_000)
    yield endpoint
    server.stop()
