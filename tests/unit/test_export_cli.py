"""The contract of `export`, `export-ls`, `verify` and `import`: documents, streams and every exit code."""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import migrate.cli
from migrate.export.lock import exclusive
from tests.hostile.faulty_server import FaultyServer, serving
from tests.hostile.memory_bucket import Fault, MemoryBucket, md5

REPOSITORY = Path(__file__).parents[2]
CONTRACT = ["listed", "verified", "quarantined", "archived", "gone", "skipped", "bytes", "seconds", "complete"]


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    bucket = MemoryBucket()
    for number in range(5):
        bucket.put(f"images/{number}.jpg", f"picture {number}".encode(), headers={"content-type": "image/jpeg"})
    bucket.put("new\nline", b"odd", metadata={"author": "mia"}, tags={"team": "blue"})
    with serving(bucket) as server:
        yield server


def cloudexit(*words: str | Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    surroundings = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(REPOSITORY),
        "HOME": "/nonexistent",
        "AWS_ACCESS_KEY_ID": "testaccess",
        "AWS_SECRET_ACCESS_KEY": "testsecret",
        "AWS_EC2_METADATA_DISABLED": "true",
        **environment,
    }
    return subprocess.run(
        [sys.executable, "-c", "from migrate.cli import main; main()", *map(str, words)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env=surroundings,
    )


def test_export_ls_verify_in_their_documents(server: FaultyServer, tmp_path: Path) -> None:
    done = cloudexit("export", "s3://bucket", tmp_path / "d", "--endpoint-url", server.url, "--tags", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert [name for name in result if name in CONTRACT] == CONTRACT
    assert (result["listed"], result["verified"], result["skipped"], result["complete"]) == (6, 6, 0, True)

    # The environment of the AWS CLI means the same here.
    again = cloudexit("export", "s3://bucket", tmp_path / "d", "--tags", "--json", AWS_ENDPOINT_URL=server.url)
    assert (again.returncode, json.loads(again.stdout)["skipped"]) == (0, 6)

    listing = cloudexit("export-ls", tmp_path / "d", "--json")
    objects = {found["key"]: found for found in json.loads(listing.stdout)["objects"]}
    assert len(objects) == 6
    plain, told = (cloudexit("export-ls", tmp_path / "d", *words).stdout.splitlines() for words in ((), ("-v",)))
    assert [line.count("\t") for line in plain] == [5] * 6
    assert [line.count("\t") for line in told] == [8] * 6
    assert sum("image/jpeg" in line for line in told) == 5
    odd = objects["new\nline"]
    assert (odd["metadata"], odd["tags"], odd["state"]) == ({"author": "mia"}, {"team": "blue"}, "verified")
    assert (tmp_path / "d" / odd["path"]).read_bytes() == b"odd"
    assert objects["images/3.jpg"]["content_type"] == "image/jpeg"

    lines = cloudexit("export-ls", tmp_path / "d").stdout.splitlines()
    assert len(lines) == 6
    assert lines[-1].split("\t")[0] == "new\\nline"
    assert lines[0].split("\t")[-1] == "verified"

    good = cloudexit("verify", tmp_path / "d", "--json")
    assert (good.returncode, json.loads(good.stdout)["matching"]) == (0, 6)
    (tmp_path / "d/objects/images/3.jpg").write_bytes(b"Picture 3")
    bad = cloudexit("verify", tmp_path / "d", "--json")
    document = json.loads(bad.stdout)
    assert bad.returncode == 4
    assert [(found["key"], found["path"]) for found in document["differences"]] == [
        ("images/3.jpg", "objects/images/3.jpg")
    ]


def test_incomplete_is_4_and_names_each_object(server: FaultyServer, tmp_path: Path) -> None:
    server.bucket.faults["images/3.jpg"] = Fault("wrong")
    done = cloudexit("export", "s3://bucket", tmp_path / "d", "--endpoint-url", server.url, "--json")
    assert (done.returncode, json.loads(done.stdout)["quarantined"]) == (4, 1)
    people = cloudexit("export", "s3://bucket", tmp_path / "d", "--endpoint-url", server.url)
    assert people.returncode == 4
    assert "1 quarantined" in people.stdout
    assert "export-ls" in people.stdout


def test_the_whole_life_of_an_archive(server: FaultyServer, tmp_path: Path) -> None:
    """Every state of the contract, each produced and shown."""
    bucket, dest, said = server.bucket, tmp_path / "d", ["--endpoint-url", server.url, "--json"]
    bucket.put("cold", b"brr", storage_class="GLACIER")
    bucket.put("broken", b"never arrives")
    bucket.put("unmatched", b"u" * 30, etag="0" * 32 + "-3")
    bucket.put("vanishing", b"v")
    bucket.faults |= {"images/3.jpg": Fault("wrong"), "broken": Fault("truncated")}
    first = cloudexit("export", "s3://bucket", dest, *said)
    document = json.loads(first.stdout)
    assert (first.returncode, document["complete"]) == (4, False)
    assert (document["cross_checked"], document["cross_check"][:17]) == (False, "not cross-checked")
    assert {offer["tier"] for offer in document["restore_offers"]} == {"expedited", "standard", "bulk"}
    bucket.remove("vanishing")
    cloudexit("export", "s3://bucket", dest, *said)
    listing = json.loads(cloudexit("export-ls", dest, "--json").stdout)["objects"]
    states = {found["key"]: found["state"] for found in listing}
    assert (states["cold"], states["broken"], states["unmatched"]) == ("archived", "listed", "fetched")
    assert (states["images/3.jpg"], states["images/4.jpg"], states["vanishing"]) == ("quarantined", "verified", "gone")
    people = cloudexit("export", "s3://bucket", dest, "--endpoint-url", server.url, "--prune")
    assert "1 files of objects that are gone were removed" in people.stdout
    assert "--restore-archived bulk takes up to 12 h" in people.stdout
    assert "not cross-checked: no inventory report" in people.stdout
    assert not (dest / "objects/vanishing").exists()


def test_a_listing_that_hides_objects_is_4_and_names_them(server: FaultyServer, tmp_path: Path) -> None:
    bucket = server.bucket
    packed = gzip.compress(b"".join(b'"bucket","images/%d.jpg","9"\n' % number for number in range(5)))
    bucket.put("reports/1.csv.gz", packed)
    manifest = {
        "sourceBucket": "bucket",
        "creationTimestamp": "1795000000000",
        "fileFormat": "CSV",
        "fileSchema": "Bucket, Key, Size",
        "files": [{"key": "reports/1.csv.gz", "MD5checksum": md5(packed)}],
    }
    bucket.put("reports/manifest.json", json.dumps(manifest).encode())
    words = ["export", "s3://bucket/images/", tmp_path / "d", "--endpoint-url", server.url,
             "--inventory-report", "s3://bucket/reports/manifest.json"]  # fmt: skip
    agreeing = cloudexit(*words)
    assert agreeing.returncode == 0, agreeing.stderr
    assert "cross-checked against s3://bucket/reports/manifest.json" in agreeing.stdout
    bucket.listing_order = [f"images/{number}.jpg" for number in range(4)]
    hiding = cloudexit(*words, "--json")
    document = json.loads(hiding.stdout)
    assert (hiding.returncode, document["complete"], document["verified"]) == (4, False, 5)
    assert document["cross_check"]["hidden_keys"] == ["images/4.jpg"]
    assert "THE LISTING DOES NOT SHOW 1 OBJECTS" in " ".join(cloudexit(*words).stdout.split())


def test_a_bug_is_1_and_leaves_a_traceback_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("migrate.cli.export.export_bucket", lambda *given, **named: 1 / 0)
    monkeypatch.setattr(sys, "argv", ["cloudexit", "export", "s3://bucket", str(tmp_path / "d"), "--no-sign-request"])
    assert migrate.cli._exit_code() == 1
    file = Path(capsys.readouterr().err.strip().rsplit("traceback: ", 1)[1])
    assert "ZeroDivisionError" in file.read_text()
    file.unlink()


def test_a_dry_run_writes_nothing(server: FaultyServer, tmp_path: Path) -> None:
    done = cloudexit(
        "export", "s3://bucket/images/", tmp_path / "d", "--endpoint-url", server.url, "--dry-run", "--json"
    )
    document = json.loads(done.stdout)
    assert (done.returncode, document["listed"], document["remaining_objects"]) == (0, 5, 5)
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["export", "s3://", "DEST"], "is no bucket"),
        (["export", "s3://bucket"], "DEST is missing"),
        (["export", "s3://bucket", "DEST", "--bandwidth", "fast"], "no bandwidth"),
        (["export", "s3://bucket", "DEST", "--deadline", "soon"], "no deadline"),
        (["export", "s3://bucket", "DEST", "--order", "random"], "order"),
        (["export", "s3://bucket", "DEST", "--restore-archived", "now"], "restore-archived"),
        (["export", "s3://bucket", "DEST", "--inventory-report", "manifest.json"], "is no bucket"),
        (["export", "stack.yaml", "--prune"], "--prune belongs to the export of one bucket"),
        (["export", "s3://bucket", "DEST", "--profile", "none"], "none"),
        (["export", "s3://bucket", "DEST", "--endpoint-url", "nonsense"], "no address of a store"),
        (["export", "stack.yaml", "--tags"], "--tags belongs to the export of one bucket"),
        (["export", "s3://bucket", "DEST", "--unknown"], "unknown"),
        (["export-ls", "DEST"], "no archive here"),
        (["verify", "DEST"], "no archive here"),
        (["import", "DEST", "s3://bucket"], "no archive here"),
    ],
)
def test_a_mistake_in_the_command_is_2_and_touches_nothing(
    tmp_path: Path,
    words: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [str(tmp_path / "d") if word == "DEST" else word for word in words]
    monkeypatch.setattr(sys, "argv", ["cloudexit", *given])
    assert migrate.cli._exit_code() == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert said in shown.err
    assert not (tmp_path / "d").exists()


def test_an_archive_in_use_is_3(server: FaultyServer, tmp_path: Path) -> None:
    with exclusive(tmp_path):
        done = cloudexit("export", "s3://bucket", tmp_path, "--endpoint-url", server.url)
    assert done.returncode == 3
    assert f"process {os.getpid()}" in done.stderr


@pytest.mark.parametrize(
    ("bucket", "answer", "said"),
    [
        ("none", None, "there is no such bucket"),
        ("bucket", (403, "AccessDenied"), "may not be read"),
        ("bucket", "silent", "does not answer"),
    ],
)
def test_missing_forbidden_and_silent_are_5_with_three_messages(
    server: FaultyServer, tmp_path: Path, bucket: str, answer: object, said: str
) -> None:
    url = "http://127.0.0.1:9" if answer == "silent" else server.url
    server.listing_answer = answer if isinstance(answer, tuple) else None
    done = cloudexit("export", f"s3://{bucket}", tmp_path / "d", "--endpoint-url", url, "--json")
    assert done.returncode == 5
    assert said in done.stderr
    assert json.loads(done.stdout)["exit_code"] == 5


def test_no_credentials_is_5_unless_none_are_wanted(server: FaultyServer, tmp_path: Path) -> None:
    words = ["export", "s3://bucket", tmp_path / "d", "--endpoint-url", server.url]
    bare = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    refused = cloudexit(*words, **bare)
    assert refused.returncode == 5
    assert "--no-sign-request" in refused.stderr
    assert cloudexit(*words, "--no-sign-request", **bare).returncode == 0
