"""Passwords that the operator's words hold, of a database or an endpoint: no part of one is ever said."""

import json
import os
import subprocess
from collections.abc import Iterator
from urllib.parse import quote

import botocore.exceptions as bad
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from migrate.adapters.aws_account.answers import NotSeen, identity_problem, not_seen
from migrate.adapters.database_leaks import leaks_of_database, require_connection
from migrate.assess.observed import Blindness
from migrate.errors import CloudexitError, UsageProblem
from migrate.secret import Secret
from tests.cloud_account import KEYS
from tests.drill import CLOUDEXIT

LONGEST_LOOKALIKE = 4
HOSTILE = st.text("QXZJK7@/:?#%[]= '\\\"&\t", min_size=4, max_size=24)
FORMS = (
    "postgresql://app:{}@127.0.0.1:1/db",
    "postgres://app:{}@127.0.0.1:1",
    "postgresql://127.0.0.1:1/db?user=app&password={}",
    "host=127.0.0.1 port=1 password={}",
    "host=127.0.0.1 port=1 password='{}'",
    "{}",
    "mysql://app:{}@127.0.0.1/db",
)


def parts(password: str) -> Iterator[str]:
    """Pieces that no message of ours holds by chance: four signs, of which at least two are letters or digits."""
    for begin in range(len(password) - LONGEST_LOOKALIKE + 1):
        piece = password[begin : begin + LONGEST_LOOKALIKE]
        if sum(sign.isalnum() for sign in piece) >= 2:
            yield piece


def everything(problem: CloudexitError) -> str:
    return f"{problem} {problem.as_document()}"


@settings(max_examples=150, deadline=None)
@given(password=HOSTILE, form=st.sampled_from(FORMS), encoded=st.booleans())
@example(password="QX7Z@XKJ7Q", form=FORMS[0], encoded=False)
@example(password="QX7Z%zzXKJ7Q", form=FORMS[0], encoded=False)
@example(password="7777/XKJ7Q", form=FORMS[0], encoded=False)
@example(password="QX7Z XKJ7Q", form=FORMS[3], encoded=False)
def test_no_part_of_a_databases_password_is_said(password: str, form: str, encoded: bool) -> None:
    url = form.format(quote(password, safe="") if encoded else password)
    with pytest.raises(CloudexitError) as refused:
        leaks_of_database(Secret(url), "PGURL")
    said = everything(refused.value)
    assert [piece for piece in parts(password) if piece in said] == []


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://app:Sup3r@S3cret@127.0.0.1:1/db", "postgresql://app:Sup3r%zzS3cret@127.0.0.1:1/db",
        "host=h password=Sup3r S3cret", "postgresql://app:1234/S3cret@h/db", "postgresql://app:S3cret@h:port/db",
        "postgresql://app:S3cret@h:99999/db", "postgresql://app:S3cret@[::1/db", "mysql://app:S3cret@h/db", "S3cret",
        "postgresql://app:S3cret@h/db?no_such=1", "postgresql://app:S3cret\udcff@h/db", "host='S3cret@h'",
    ],
)  # fmt: skip
def test_a_url_that_is_none_is_a_fault_of_the_variable(url: str) -> None:
    with pytest.raises(UsageProblem) as refused:
        require_connection(Secret(url), "PGURL")
    assert refused.value.where == "PGURL"
    assert "S3cret" not in everything(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://app:Sup3r%40S3cret@db-1.myapp.example:5432/app?sslmode=require", "postgresql:///app",
        "postgresql://app@/app?host=/var/run/postgresql&port=5433", "postgresql://app:a@h1:1,h2:2/app", "dbname=app",
        "host=h password='Sup3r S3cret'", "postgresql://app:pw@[::1]:5432/app", "service=app",
        "host=db_1 hostaddr=127.0.0.1 user=a@b",
    ],
)  # fmt: skip
def test_a_url_that_the_driver_takes_is_taken(url: str) -> None:
    require_connection(Secret(url), "PGURL")


ENDPOINTS = (
    "http://ops:S3cret@127.0.0.1:1/", "http://ops:Sup3r@S3cret@127.0.0.1:1/", "http://ops:Sup3r S3cret@127.0.0.1:1/",
    "http://ops:Sup3r/?S3cret@127.0.0.1:1/", 'http://ops:"S3cret@127.0.0.1:1/',
)  # fmt: skip


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("kind", [bad.EndpointConnectionError, bad.ReadTimeoutError, bad.ConnectTimeoutError])
def test_who_asks_at_an_endpoint_is_not_said(endpoint: str, kind: type[Exception]) -> None:
    problem = kind(endpoint_url=endpoint, error="x")  # type: ignore[call-arg]
    said = [
        everything(identity_problem(problem, "account")), not_seen(problem).said,
        NotSeen(Blindness.NO_ANSWER, str(problem)).said,
    ]  # fmt: skip
    for text in said:
        assert "S3cret" not in text
        assert "Sup3r" not in text
        assert "127.0.0.1:1" in text


@pytest.mark.parametrize(
    ("arguments", "environment", "code"),
    [
        (["--database", "PGURL"], {"PGURL": "postgresql://app:Sup3r@S3cret@127.0.0.1:1/db"}, 2),
        (["--database", "PGURL"], {"PGURL": "postgresql://app:Sup3r%zzS3cret@127.0.0.1:1/db"}, 2),
        (["--database", "PGURL"], {"PGURL": "host=127.0.0.1 password=Sup3r S3cret"}, 2),
        (["--database", "postgresql://app:S3cret@h/db"], {}, 2),
        (["--endpoint-url", "http://ops:S3cret@127.0.0.1:1"], {}, 2),
        ([], {"AWS_ENDPOINT_URL": "http://ops:Sup3r@S3cret@127.0.0.1:1"}, 2),
    ],
)
def test_the_command_says_no_part_of_a_password(arguments: list[str], environment: dict[str, str], code: int) -> None:
    done = subprocess.run(
        [str(CLOUDEXIT), "assess", "--region", "us-east-1", "--timeout", "2s", "--json", *arguments],
        capture_output=True, text=True, timeout=100, check=False, cwd="/",
        env={**os.environ, "AWS_ENDPOINT_URL": "http://127.0.0.1:1", **KEYS, **environment},
    )  # fmt: skip
    assert (done.returncode, json.loads(done.stdout)["exit_code"]) == (code, code), done.stderr
    assert "S3cret" not in done.stdout + done.stderr
    assert "Sup3r" not in done.stdout + done.stderr
    if "PGURL" in environment:
        assert "PGURL" in done.stderr
