"""`/healthz` names the part that is down."""

import shutil
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient

from plaza import jobs
from plaza.application import create_app
from plaza.backends import Backends
from plaza.settings import Settings
from support import Pristine, document

NOWHERE: dict[str, dict[str, Any]] = {
    "database": {"database_url": "postgresql://plaza@127.0.0.1:9/plaza"},
    "cache": {"redis_url": "redis://:hush-hush@127.0.0.1:9/0"},
    "media": {"media_store": "http://media:hush-hush@127.0.0.1:9/plaza-media/"},
}


def test_everything_is_well(client: FlaskClient, backends: Backends) -> None:
    jobs.beat(backends.cache, "some-worker")
    answer = client.get("/healthz")
    assert answer.status_code == 200
    assert document(answer)["status"] == "ok"
    assert {name: part["status"] for name, part in document(answer)["parts"].items()} == dict.fromkeys(
        ("database", "cache", "media", "worker"), "ok"
    )
    assert document(answer)["parts"]["worker"]["age_seconds"] < 5


@pytest.mark.parametrize("part", NOWHERE)
def test_a_part_that_is_down_has_a_name(part: str, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plaza.health.PROBE_SECONDS", 0.3)
    app = create_app(replace(settings, **NOWHERE[part]))
    client = app.test_client()
    answer = client.get("/healthz")
    down = {name for name, found in document(answer)["parts"].items() if found["status"] == "down"}
    assert answer.status_code == 503
    assert document(answer)["status"] == "down"
    assert down == {part, "worker"}
    assert client.get(f"/healthz/{part}").status_code == 503
    assert "hush-hush" not in answer.text
    app.extensions["plaza.backends"].close()


def test_without_a_worker_plaza_still_serves(client: FlaskClient) -> None:
    answer = client.get("/healthz")
    assert (answer.status_code, document(answer)["status"]) == (200, "degraded")
    assert document(answer)["parts"]["worker"]["age_seconds"] is None
    assert client.get("/healthz/worker").status_code == 503
    assert client.get("/healthz/database").status_code == 200
    assert client.get("/healthz/kitchen").status_code == 404


def test_a_media_folder_that_is_gone_is_down(client: FlaskClient, pristine: Pristine) -> None:
    shutil.rmtree(pristine.live)
    assert document(client.get("/healthz"))["parts"]["media"]["status"] == "down"


def test_jobs_that_wait_are_counted(client: FlaskClient, backends: Backends) -> None:
    jobs.enqueue(backends.cache, "anything", 1)
    worker = document(client.get("/healthz"))["parts"]["worker"]
    assert worker["jobs"] == {"waiting": 1, "running": 0, "delayed": 0, "dead": 0}


def test_a_page_without_its_database_says_so(settings: Settings) -> None:
    app = create_app(replace(settings, **NOWHERE["cache"]))
    client = app.test_client()
    client.set_cookie("plaza_session", "x")
    answer = client.get("/")
    assert answer.status_code == 503
    assert "catching its breath" in answer.text
    app.extensions["plaza.backends"].close()
