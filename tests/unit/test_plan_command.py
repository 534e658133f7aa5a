"""`cloudexit plan`, by the command itself: bad input, exit codes, documents, the page."""

import json
import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from migrate.journal import Event, Journal
from migrate.plan import Plan
from tests.drill import PLAZA, cloudexit

CHECKOUT = Path(__file__).parents[2]
HOSTS = """\
all:
  vars: {cloudexit_known_hosts: known_hosts}
  children:
    database: {hosts: {one: {ansible_host: 127.0.0.1, ansible_port: 1}}}
    cache: {hosts: {one: {}}}
    media: {hosts: {one: {}}}
    worker: {hosts: {one: {}}}
    app: {hosts: {one: {}}}
    edge: {hosts: {one: {}}}
    mail: {hosts: {one: {}}}
"""
FACTS = """\
buckets:
  plaza-backups: {objects: 8, bytes: 8MB}
  plaza-releases: {objects: 1, bytes: 30MB}
  plaza-media: {objects: 2500, bytes: 30MB, source: counted}
databases: {plaza: {bytes: 20MB}}
caches: {plaza: {bytes: 100kB}}
"""


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    shutil.copy(PLAZA, tmp_path / "stack.yaml")
    (tmp_path / "inventory").mkdir()
    (tmp_path / "inventory" / "hosts.yml").write_text(HOSTS)
    (tmp_path / "inventory" / "known_hosts").touch()
    (tmp_path / "facts.yaml").write_text(FACTS)
    return tmp_path / "stack.yaml"


def plan(stack: Path, *words: str | Path) -> dict[str, Any]:
    done = cloudexit("plan", stack, *words, "--json")
    document: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == document["exit_code"], done.stderr
    return document


def facts_of(stack: Path) -> Path:
    return stack.with_name("facts.yaml")


@pytest.mark.parametrize(
    ("deadline", "says"),
    [
        ("2026-01-10T23:59:00", "has no time zone"),
        ("2026-01-10T23:59:00-08:00", "is in the past"),
        ("soon", "is no moment"),
        ("", "is no moment"),
        ("0h", "is in the past"),
    ],
)
def test_a_deadline_that_is_none_is_exit_2_and_touches_nothing(stack: Path, deadline: str, says: str) -> None:
    done = cloudexit("plan", stack, f"--deadline={deadline}", "--out", stack.with_name("plan.json"))
    assert done.returncode == 2
    assert says in done.stderr
    assert "--deadline" in done.stderr
    assert done.stdout == ""
    assert not stack.with_name("plan.json").exists()
    assert not stack.with_name(".cloudexit").exists()


@pytest.mark.parametrize("name", ["single", "fleet"])
def test_the_documented_inventories_can_be_planned_for(stack: Path, name: str) -> None:
    document = plan(stack, "-i", CHECKOUT / "inventories" / name)
    assert document["exit_code"] == 0
    groups = set(yaml.safe_load((CHECKOUT / "inventories" / name / "hosts.yml").read_text())["all"]["children"])
    assert {group for line in document["forecast"]["room"] for group in line["where"].split("+")} >= groups


def test_a_deadline_before_the_go_is_exit_2(stack: Path) -> None:
    done = cloudexit("plan", stack, "--deadline", "2h", "--go", "3h")
    assert done.returncode == 2
    assert "before the go" in done.stderr


def test_with_the_facts_the_deadline_is_met(stack: Path) -> None:
    done = cloudexit("plan", stack, "--facts", facts_of(stack), "--deadline", "30h")
    assert done.returncode == 0, done.stderr
    assert "MET" in done.stdout
    assert "\x1b" not in done.stdout


def test_what_cannot_be_told_is_not_taken_for_met(stack: Path) -> None:
    document = plan(stack, "--deadline", "30h")
    assert document["exit_code"] == 3
    assert document["forecast"]["deadline"]["standing"] == "unknown"
    assert document["forecast"]["deadline"]["chance"] is None
    assert "export.plaza-media" in document["forecast"]["untold"]


@pytest.mark.parametrize(
    ("sound", "spoilt", "says"),
    [
        ("plaza-media:", "plaza-medea:", "facts.yaml:4: buckets.plaza-medea: the manifest has no bucket"),
        ("databases: {plaza:", "databases: {plazza:", "the manifest has no database 'plazza'"),
        ("8MB", "8 horses", "not a size: '8 horses'"),
        ("source: counted", "source: counted, at: 2026-01-01T00:00:00", "buckets.plaza-media.at"),
        ("source: counted", "classes: {GLACIER: {objects: 3000, bytes: 1}}", "3,000 objects are more than the bucket"),
        ("caches:", "hosts: {nowhere: {cores: 1}}\ncaches:", "the manifest has no group 'nowhere'"),
        ("caches:", "line: {rate: fast}\ncaches:", "not a rate: 'fast'"),
        ("caches:", "lime: {rate: 1Gbit/s}\ncaches:", "unknown key"),
    ],
)
def test_facts_that_do_not_fit_are_named_by_line_and_field(stack: Path, sound: str, spoilt: str, says: str) -> None:
    assert sound in FACTS
    facts_of(stack).write_text(FACTS.replace(sound, spoilt, 1))
    done = cloudexit("plan", stack, "--facts", facts_of(stack))
    assert done.returncode == 2
    assert says in done.stderr


def test_facts_that_are_not_there_are_exit_2(stack: Path) -> None:
    assert cloudexit("plan", stack, "--facts", "nowhere.yaml").returncode == 2


NARROW = ("ansible_port: 1", "ansible_port: 1, cloudexit_disk: 1GB")
MISSED_HINT, UNKNOWN_HINT, SHORT_HINT = "would make the deadline", "--probe", "give the hosts more room"


@pytest.mark.parametrize(
    ("narrow", "words", "hints"),
    [
        (True, ["--facts"], {SHORT_HINT}),
        (False, ["--facts", "--deadline", "1s"], {MISSED_HINT}),
        (False, ["--deadline", "30h"], {UNKNOWN_HINT}),
        (True, ["--facts", "--deadline", "1s"], {MISSED_HINT, SHORT_HINT}),
        (True, ["--facts", "--deadline", "30h"], {SHORT_HINT}),
    ],
    ids=["room", "missed", "unknown", "missed and room", "met and room"],
)
def test_the_hint_follows_from_what_holds(stack: Path, narrow: bool, words: list[str], hints: set[str]) -> None:
    if narrow:
        (stack.parent / "inventory" / "hosts.yml").write_text(HOSTS.replace(*NARROW, 1))
    filled = [word for one in words for word in ((one, facts_of(stack)) if one == "--facts" else (one,))]
    done = cloudexit("plan", stack, *filled)
    assert done.returncode == 3
    hint = done.stderr.split("  do: ", 1)[1]
    assert {text for text in (MISSED_HINT, UNKNOWN_HINT, SHORT_HINT) if text in hint} == hints
    assert ("too little disk" in done.stderr) is narrow
    if narrow:
        assert re.search(r"needs [\d.]+ GB disk and has 1.0 GB", hint)


def test_the_document_is_what_its_schema_says(stack: Path) -> None:
    schema = json.loads((CHECKOUT / "docs" / "reference" / "plan.schema.json").read_text())
    for words in (("--facts", facts_of(stack), "--deadline", "1s"), ("--deadline", "30h"), ("--simulate", "5")):
        jsonschema.Draft202012Validator(schema).validate(plan(stack, *words))


def test_a_kept_plan_is_not_stale_for_other_times(stack: Path) -> None:
    kept = stack.with_name("plan.json")
    assert cloudexit("plan", stack, "--facts", facts_of(stack), "--deadline", "30h", "--out", kept).returncode == 0
    document = json.loads(kept.read_text())
    assert document["digest"] == plan(stack)["digest"]
    run = cloudexit("run", kept)
    assert run.returncode == 5, run.stderr
    assert "the plan is stale" not in run.stderr


@pytest.mark.parametrize(
    ("command", "skipped", "seconds", "named"),
    [
        ("run", 0, 11.0, "run 1, cloudexit run"),
        ("run", 2000, None, "run 1, cloudexit run"),
        ("rehearse", 0, None, "run 1, drill on disposable hosts"),
    ],
    ids=["whole", "went on where another stopped", "a drill, whose old home may be its own"],
)
def test_times_of_an_earlier_run_are_known_and_its_sizes_where_they_are_the_real_ones(
    stack: Path, command: str, skipped: int, seconds: float | None, named: str
) -> None:
    made = Plan.from_document(plan(stack), "plan")
    folder = stack.with_name(".cloudexit")
    folder.mkdir()
    journal = Journal(folder / "journal.sqlite")
    run = journal.begin_or_resume(command, made.digest, made.as_document())
    journal.write(run, "preflight.hosts", Event.DONE, {"hosts": 3}, 2.0)
    journal.write(run, "provision.hosts", Event.DONE, {}, 44.0)
    fetched = {"verified": 2500, "skipped": skipped, "bytes": 30_000_000}
    journal.write(run, "export.plaza-media", Event.DONE, fetched, 11.0)
    journal.close()
    steps = {step["id"]: step["estimate"] for step in plan(stack)["steps"]}
    assert (steps["provision.hosts"]["ground"], steps["provision.hosts"]["seconds"]) == ("known", 44.0)
    assert named in steps["provision.hosts"]["source"]
    export = steps["export.plaza-media"]
    assert (export and (export["ground"], export["seconds"])) == (seconds and ("known", seconds))
    assert steps["export.plaza-backups"] is None


def test_a_plan_of_several_export_hosts_is_not_kept_for_a_run_that_drives_one(stack: Path) -> None:
    with facts_of(stack).open("a") as facts:
        facts.write("export: {hosts: 3, disk: 200GB}\n")
    kept = stack.with_name("kept.json")
    done = cloudexit("plan", stack, "--facts", facts_of(stack), "--out", kept)
    assert done.returncode == 2, done.stderr
    assert "`run` drives one" in done.stderr
    assert not kept.exists()


def test_asking_the_old_home_after_its_end_is_said_to_be_too_late(stack: Path) -> None:
    text = facts_of(stack).read_text()
    facts_of(stack).write_text(re.sub(r"databases:.*", "databases: {plaza: {bytes: 9TB}}", text))
    done = cloudexit("plan", stack, "--facts", facts_of(stack), "--deadline", "30h")
    assert "LATE  cutover.lag.plaza: it would ask the old home after its end" in " ".join(done.stdout.split("\n"))
    lag = next(row for row in plan(stack, "--facts", facts_of(stack), "--deadline", "30h")["forecast"]["steps"]
               if row["id"] == "cutover.lag.plaza")  # fmt: skip
    assert lag["begins_seconds"] > 30 * 3600
    assert datetime.fromisoformat(lag["last_begin"]) < datetime.now(UTC) + timedelta(hours=30)


def test_the_go_counts_and_not_the_moment_of_asking(stack: Path) -> None:
    go = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=10)
    words = ("--facts", facts_of(stack), "--go", go.isoformat(), "--deadline", (go + timedelta(hours=2)).isoformat())
    found = plan(stack, *words)["forecast"]
    assert datetime.fromisoformat(found["go_at"]) == go
    assert found["deadline"]["available_seconds"] == 7200


def test_every_step_says_its_effect_and_what_cannot_be_known(stack: Path) -> None:
    document = plan(stack)
    for step, found in zip(document["steps"], document["forecast"]["steps"], strict=True):
        assert step["effect"] in ("read", "reversible", "irreversible")
        assert found["unknowable"]
        assert found["rollback"]
    assert "no change" not in json.dumps(document)


def test_the_page_is_self_contained(stack: Path) -> None:
    page = stack.with_name("plan.html")
    done = cloudexit("plan", stack, "--facts", facts_of(stack), "--deadline", "30h", "--html", page)
    assert done.returncode == 0, done.stderr
    text = page.read_text()
    assert "<script" not in text
    assert not re.search(r"""(?:src|href)=|url\((?!#)|@import""", text)
    assert "The data is out before the old home ends." in text
    assert all(step_id in text for step_id in ("export.plaza-media", "prove.drift"))


def test_the_page_of_a_plan_that_is_in_time_and_has_no_room_is_not_green(stack: Path) -> None:
    (stack.parent / "inventory" / "hosts.yml").write_text(HOSTS.replace(*NARROW, 1))
    page = stack.with_name("plan.html")
    done = cloudexit("plan", stack, "--facts", facts_of(stack), "--deadline", "30h", "--html", page)
    assert done.returncode == 3
    assert re.search('<header class="bad">.*<h1>The new home has too little room.</h1>', page.read_text(), re.S)
    assert re.search(r"<header.*needs [\d.]+ GB disk and has 1.0 GB.*</header>", page.read_text(), re.S)


def test_a_deadline_of_another_year_shows_its_year_everywhere(stack: Path) -> None:
    page = stack.with_name("plan.html")
    year = datetime.now(UTC).year + 2
    words = ("--facts", facts_of(stack), "--deadline", f"{year}-06-01T12:00:00+00:00")
    done = cloudexit("plan", stack, *words, "--html", page)
    assert done.returncode == 0, done.stderr
    assert re.search(rf"deadline  \w+ 01 Jun {year} 12:00 UTC", done.stdout)
    assert f"01 Jun {year} 12:00</p>" in page.read_text()
    assert re.search(rf"latest begin.*\n(.*\n)*.*\d\d \w+ {year} \d\d:\d\d", done.stdout)


def test_names_of_others_do_not_become_markup(stack: Path) -> None:
    folder = stack.parent / "<b>"
    folder.mkdir()
    for name in ("stack.yaml", "facts.yaml", "inventory"):
        shutil.move(stack.with_name(name), folder / name)
    page = folder / "plan.html"
    assert cloudexit("plan", folder / "stack.yaml", "--html", page).returncode == 0
    assert "<b>:" not in page.read_text()


@pytest.mark.skipif(not shutil.which("chromium"), reason="chromium is not installed: apt-get install chromium")
def test_a_browser_draws_the_page(tmp_path: Path) -> None:
    fleet = CHECKOUT / "examples" / "fleet"
    page, picture = tmp_path / "plan.html", tmp_path / "plan.png"
    cloudexit("plan", fleet / "stack.yaml", "-i", fleet / "inventory", "--facts", fleet / "facts.yaml",
              "--deadline", "30h", "--html", page)  # fmt: skip
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
    subprocess.run(
        ["chromium", *flags, f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1280,1200",
         f"--screenshot={picture}", page.as_uri()],
        capture_output=True, timeout=120, check=True,
    )  # fmt: skip
    dumped = subprocess.run(
        ["chromium", *flags, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    ).stdout  # fmt: skip
    assert picture.stat().st_size > 50_000
    assert "the old home ends" in dumped
    assert dumped.count('class="bar') > 10


SCROLLBAR = 30
FRAME = """<!doctype html><iframe id="page" src="plan.html" style="width:{width}px;height:800px;border:0"></iframe>
<script>onload = () => {{
  const root = document.getElementById("page").contentDocument.documentElement;
  document.title = root.scrollWidth + " in " + root.clientWidth;
}}</script>"""


@pytest.mark.skipif(not shutil.which("chromium"), reason="chromium is not installed: apt-get install chromium")
@pytest.mark.parametrize("width", [390, 760, 1280])
def test_the_page_is_no_wider_than_what_shows_it(tmp_path: Path, width: int) -> None:
    fleet = CHECKOUT / "examples" / "fleet"
    cloudexit("plan", fleet / "stack.yaml", "-i", fleet / "inventory", "--facts", fleet / "facts.yaml",
              "--deadline", "30h", "--html", tmp_path / "plan.html")  # fmt: skip
    frame = tmp_path / "frame.html"
    frame.write_text(FRAME.format(width=width))
    dumped = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync",
         "--allow-file-access-from-files", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", frame.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    ).stdout  # fmt: skip
    found = re.search(r"<title>(\d+) in (\d+)</title>", dumped)
    assert found and found[1] == found[2]
    assert 0 <= width - int(found[2]) < SCROLLBAR
