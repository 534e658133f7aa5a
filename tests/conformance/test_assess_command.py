"""`cloudexit assess` and `init` as commands, against an account on moto's server."""

import json
import re
import subprocess
import time
from pathlib import Path

import jsonschema
import pytest

from migrate.adapters.aws_account.policy import least_policy
from migrate.assess.findings import Assessment
from migrate.facts import read_facts
from migrate.manifest import read_stack
from tests.cloud_account import REGION, Cloud, silent_region
from tests.drill import CLOUDEXIT, PLAZA

SCHEMA = Path(__file__).parents[2] / "docs" / "reference" / "assessment.schema.json"


def command(cloud: Cloud, *arguments: str | Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(CLOUDEXIT), "assess", *map(str, arguments)], capture_output=True, text=True, timeout=200, check=False,
        env={**cloud.environment, **environment}, cwd=environment.get("FOLDER", "/"),
    )  # fmt: skip


def test_json_is_one_document_of_the_published_schema(cloud: Cloud, tmp_path: Path) -> None:
    done = command(cloud, "--region", REGION, "--json", FOLDER=str(tmp_path))
    assert done.returncode == 3, done.stderr
    document = json.loads(done.stdout)
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    assert (document["verdict"], document["exit_code"], document["stack"]) == ("held", 3, "")
    assert Assessment.model_validate(document).totals.captive == document["totals"]["captive"] > 0
    assert "looked at" in done.stderr


def test_the_page_begins_with_the_verdict_and_has_no_colour_on_a_pipe(cloud: Cloud, tmp_path: Path) -> None:
    done = command(cloud, "--region", REGION, "--without", "ses,route53", FOLDER=str(tmp_path))
    assert done.returncode == 3
    assert done.stdout.startswith("HELD  (exit 3)")
    headings = ["WITHOUT ses, route53", "WHAT HOLDS US", "IN THE FIRST HOUR", "WHAT WOULD LEAK", "NOT SEEN"]
    places = [done.stdout.index(heading) for heading in headings]
    assert places == sorted(places)
    assert "\x1b" not in done.stdout + done.stderr


def test_answers_of_the_manifest_let_it_go_and_a_missing_bucket_is_exit_2(cloud: Cloud, tmp_path: Path) -> None:
    text = PLAZA.read_text()
    for name in ("backups", "releases", "media"):
        text = text.replace(f"plaza-{name}", {"backups": "app-backups", "releases": "app-young"}.get(name, "app-media"))
    globs = ("acm", "cognito", "ec2", "glue", "kms", "rds", "sns", "nothing/here")
    answers = "".join(f"  {json.dumps(glob)}: drilled on 2026-10-02\n" for glob in globs)
    manifest = tmp_path / "stack.yaml"
    manifest.write_text(f"{text}\nanswers:\n{answers}")
    read_stack(manifest)
    done = command(cloud, manifest, "--region", REGION, "--json", "--sample", "0")
    document = json.loads(done.stdout)
    # Everything captive is answered; what moto does not know is left: not seen is not free.
    assert (document["verdict"], done.returncode) == ("not known", 5)
    assert document["unused_answers"] == ["nothing/here"]
    manifest.write_text(manifest.read_text().replace("app-media", "app-medium"))
    wrong = command(cloud, manifest, "--region", REGION, "--sample", "0", "--json")
    assert wrong.returncode == 2
    (fault,) = json.loads(wrong.stdout)["faults"]
    assert fault["where"].startswith(f"{manifest}:") and fault["where"].endswith("buckets.app-medium")
    assert fault["what"] == "the account holds no bucket 'app-medium'"


def own_manifest(folder: Path) -> Path:
    """The example's manifest with the account's own buckets in it."""
    text = PLAZA.read_text()
    for name, own in (("backups", "app-backups"), ("releases", "app-archive"), ("media", "app-media")):
        text = text.replace(f"plaza-{name}", own)
    (folder / "stack.yaml").write_text(text)
    return folder / "stack.yaml"


def test_facts_are_written_for_the_plan_and_never_over_a_file(cloud: Cloud, tmp_path: Path) -> None:
    manifest, path = own_manifest(tmp_path), tmp_path / "facts.yaml"
    done = command(cloud, manifest, "--region", REGION, "--sample", "0", "--json", "--facts", path)
    assert done.returncode == json.loads(done.stdout)["exit_code"] == 3
    assert "written" in done.stderr
    facts = read_facts(path, read_stack(manifest))
    assert (facts.buckets["app-media"].objects, facts.buckets["app-media"].bytes) == (1_200_000, 42 * 10**9)
    assert set(facts.buckets) == {"app-media", "app-archive"}  # versions of app-backups cannot be told apart
    before = path.read_text()
    assert "goes by this name, and not every region was looked at for another" in before
    assert not facts.databases
    assert "STANDARD_IA 2,000,000,000 bytes" in before
    again = command(Cloud("http://127.0.0.1:1"), manifest, "--facts", path, "--json")
    assert again.returncode == 2, again.stderr
    assert "stands there already" in json.loads(again.stdout)["what"]
    assert path.read_text() == before


@pytest.mark.parametrize(("named", "says"), [("none/facts.yaml", "no such folder"), ("gone", "stands there already")])
def test_facts_that_have_no_place_are_refused_before_anybody_is_asked(tmp_path: Path, named: str, says: str) -> None:
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    done = command(Cloud("http://127.0.0.1:1"), own_manifest(tmp_path), "--facts", tmp_path / named)
    assert (done.returncode, says in done.stderr) == (2, True)


def test_facts_without_a_manifest_are_refused(tmp_path: Path) -> None:
    done = command(Cloud("http://127.0.0.1:1"), "--facts", tmp_path / "facts.yaml", FOLDER=str(tmp_path))
    assert (done.returncode, "of a manifest" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--without", "sess"], 2, "no vendor is called 'sess'"), (["--notice", "soon"], 2, "not a duration"),
        (["--region", "mars-1"], 2, "no region is called 'mars-1'"), (["nowhere.yaml"], 2, "no such file"),
        (["--dump", "nowhere.dump"], 2, "no such file"), (["--database", "NO_SUCH"], 2, "has no NO_SUCH"),
        (["--profile", "none"], 2, "none"), (["--endpoint-url", "http://127.0.0.1:1"], 5, "does not answer"),
    ],
)  # fmt: skip
def test_bad_input_says_what_and_where(
    cloud: Cloud, tmp_path: Path, arguments: list[str], code: int, says: str
) -> None:
    done = command(cloud, *arguments, "--json", FOLDER=str(tmp_path))
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert json.loads(done.stdout)["exit_code"] == code


def test_without_credentials_it_is_exit_5(cloud: Cloud, tmp_path: Path) -> None:
    done = command(cloud, FOLDER=str(tmp_path), AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
    assert done.returncode == 5
    assert "cloudexit assess --policy" in done.stderr


def test_the_policy_is_printed_without_asking_anybody(tmp_path: Path) -> None:
    done = command(Cloud("http://127.0.0.1:1"), "--policy", FOLDER=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == least_policy()


def test_a_silent_region_is_exit_5_or_3_and_named(cloud: Cloud, tmp_path: Path) -> None:
    with silent_region(cloud, "ap-south-1") as (url, _):
        begun = time.monotonic()
        done = command(
            cloud, "--region", REGION, "--region", "ap-south-1", "--timeout", "2s", "--endpoint-url", url,
            FOLDER=str(tmp_path),
        )  # fmt: skip
        assert time.monotonic() - begun < 120
    assert done.returncode == 3
    assert "no answer from ap-south-1: what is there is not known" in done.stdout
    assert "WHAT HOLDS US" in done.stdout


def test_init_fills_manifest_and_inventory_from_the_account(cloud: Cloud, tmp_path: Path) -> None:
    done = subprocess.run(
        [str(CLOUDEXIT), "init", str(tmp_path / "mine")], capture_output=True, text=True, timeout=200, check=False,
        env=cloud.environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    path = tmp_path / "mine" / "stack.yaml"
    stack = read_stack(path)
    assert {name: bucket.holds for name, bucket in stack.buckets.items()} == {
        "myapp-releases": "releases", "app-media": "media", "app-backups": "backups", "app-archive": "other",
        "app-empty": "other", "app-europe": "other", "app-young": "other",
    }  # fmt: skip
    assert stack.databases["myapp"].dump.bucket == "app-backups"
    assert "https://app-media.s3.us-east-1.amazonaws.com/" in stack.media["myapp"].old_urls
    assert any(url.endswith("cloudfront.net/") for url in stack.media["myapp"].old_urls)
    assert stack.vendors["dns"].provider == "route53"
    text = path.read_text()
    assert "# Found in the account: rds/app-main, postgres" in text
    assert '#   "kms/alias/app": ' in text
    assert re.search("@[A-Z_]+@", text) is None
    hosts = (tmp_path / "mine" / "inventory" / "hosts.yml").read_text()
    assert "# At the old home: 2 × c6g.xlarge." in hosts
