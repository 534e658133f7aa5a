"""The worker, its queue and the timelines: what is lost, repeated or late comes right."""

import time

import pytest
import redis

from plaza import jobs, people, pictures, posts, timelines
from plaza.backends import Backends
from plaza.worker import Worker, catch_up
from support import Pristine, jpeg

ADA, GRACE = 1, 2


@pytest.fixture
def worker(backends: Backends) -> Worker:
    return Worker(backends, "worker-under-test")


def drain(worker: Worker) -> int:
    done = 0
    while worker.step(0.01):
        done += 1
    return done


def publish(backends: Backends, user_id: int = ADA, image: bytes | None = None, body: str = "Hello") -> int:
    author = people.person_by_id(backends.database, user_id)
    return posts.publish(backends, author, posts.Draft(body, image=image))


def image_of(backends: Backends, post_id: int) -> dict[str, str]:
    images: list[dict[str, str]] = posts.post_by_id(backends.database, post_id, ADA).images
    return images[0]


def home(backends: Backends, user_id: int) -> list[int]:
    return timelines.read_timeline(backends, user_id, None, 30)


def test_a_thumbnail_is_made_and_its_address_noted(worker: Worker, backends: Backends) -> None:
    post_id = publish(backends, image=jpeg())
    drain(worker)
    image = image_of(backends, post_id)
    key = pictures.thumbnail_key(image["key"])
    assert image["thumbnail_url"] == backends.media_url + key
    assert backends.media.get(key).startswith(b"\xff\xd8\xff")


def test_a_post_reaches_the_followers(worker: Worker, backends: Backends) -> None:
    assert home(backends, GRACE)
    post_id = publish(backends)
    assert home(backends, ADA)[0] == post_id
    assert post_id not in home(backends, GRACE)
    drain(worker)
    assert home(backends, GRACE)[0] == post_id


def test_a_timeline_that_is_missing_comes_from_the_database(backends: Backends) -> None:
    before = home(backends, GRACE)
    backends.cache.flushdb()
    assert home(backends, GRACE) == before
    assert backends.cache.zscore(timelines.timeline_key(GRACE), "built") is not None


def test_a_post_that_arrives_while_a_timeline_is_being_built_is_in_it(
    backends: Backends, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_from_sql = timelines.followed_posts
    arrived: list[int] = []

    def read_then_post(database: object, user_id: int) -> list[int]:
        ids = read_from_sql(backends.database, user_id)
        arrived.append(publish(backends))
        timelines.fan_out(backends, arrived[0])
        return ids

    monkeypatch.setattr(timelines, "followed_posts", read_then_post)
    assert home(backends, GRACE)[0] == arrived[0]


def test_a_build_that_died_is_started_again(backends: Backends) -> None:
    key = timelines.timeline_key(GRACE)
    backends.cache.zadd(key, {"building": timelines.FOREVER})
    assert len(home(backends, GRACE)) == 30
    assert backends.cache.ttl(key) == -1


def test_fanning_out_twice_shows_a_post_once(backends: Backends) -> None:
    home(backends, GRACE)
    post_id = publish(backends)
    for _ in range(2):
        timelines.fan_out(backends, post_id)
    assert home(backends, GRACE).count(post_id) == 1


def test_a_timeline_keeps_its_newest_posts_and_its_mark(backends: Backends, monkeypatch: pytest.MonkeyPatch) -> None:
    home(backends, GRACE)
    monkeypatch.setattr(timelines, "LENGTH", 5)
    newest = [publish(backends) for _ in range(7)]
    for post_id in newest:
        timelines.fan_out(backends, post_id)
    assert home(backends, GRACE)[:5] == newest[:1:-1]
    assert int(str(backends.cache.zcard(timelines.timeline_key(GRACE)))) <= 7
    assert backends.cache.zscore(timelines.timeline_key(GRACE), "built") is not None


def test_replies_do_not_fill_timelines(worker: Worker, backends: Backends) -> None:
    home(backends, GRACE)
    author = people.person_by_id(backends.database, ADA)
    reply = posts.publish(backends, author, posts.Draft("A reply", reply_to_id=1))
    drain(worker)
    assert reply not in home(backends, GRACE)


def test_jobs_of_a_dead_worker_are_done_by_the_next(worker: Worker, backends: Backends) -> None:
    post_id = publish(backends, image=jpeg())
    assert jobs.take(backends.cache, "worker-that-dies", 1) is not None
    assert drain(worker) == 2
    assert image_of(backends, post_id)["thumbnail_url"]
    assert jobs.backlog(backends.cache) == {"waiting": 0, "running": 0, "delayed": 0, "dead": 0}


def test_jobs_of_a_living_worker_are_left_alone(worker: Worker, backends: Backends) -> None:
    publish(backends, image=jpeg())
    jobs.beat(backends.cache, "worker-that-lives")
    jobs.take(backends.cache, "worker-that-lives", 1)
    drain(worker)
    assert jobs.backlog(backends.cache)["running"] == 1


def test_a_job_that_fails_for_now_is_done_later(worker: Worker, backends: Backends, pristine: Pristine) -> None:
    post_id = publish(backends, image=jpeg())
    media = pristine.live
    away = media.rename(media.with_name("away"))
    media.write_bytes(b"in the way")
    drain(worker)
    assert image_of(backends, post_id)["thumbnail_url"] is None
    assert jobs.backlog(backends.cache)["delayed"] == 1
    media.unlink()
    away.rename(media)
    time.sleep(1.05)
    assert drain(worker) == 1
    assert image_of(backends, post_id)["thumbnail_url"]


def test_a_job_that_keeps_failing_is_buried(backends: Backends) -> None:
    jobs.enqueue(backends.cache, "anything", 1)
    for attempt in range(jobs.ATTEMPTS):
        text = jobs.take(backends.cache, "worker", 0.1)
        assert text is not None, attempt
        jobs.try_later(backends.cache, "worker", text)
        for delayed in backends.cache.zrange(jobs.DELAYED, 0, -1):
            backends.cache.zadd(jobs.DELAYED, {str(delayed): 0})
        jobs.release_due(backends.cache)
    assert jobs.backlog(backends.cache) == {"waiting": 0, "running": 0, "delayed": 0, "dead": 1}


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"kind": "dance", "subject": 1, "id": "x", "attempts": 0}'])
def test_a_job_that_nobody_understands_is_buried(worker: Worker, backends: Backends, text: str) -> None:
    backends.cache.lpush(jobs.QUEUE, text)
    assert drain(worker) == 1
    assert jobs.backlog(backends.cache)["dead"] == 1


def test_a_missing_original_is_buried(worker: Worker, backends: Backends) -> None:
    post_id = publish(backends, image=jpeg())
    backends.media.delete(image_of(backends, post_id)["key"])
    drain(worker)
    assert jobs.backlog(backends.cache)["dead"] == 1


def test_deleting_a_post_removes_its_picture_unless_another_shows_it(worker: Worker, backends: Backends) -> None:
    first, second = (publish(backends, image=jpeg("navy")) for _ in range(2))
    drain(worker)
    key = image_of(backends, first)["key"]
    posts.remove_post(backends, ADA, first)
    drain(worker)
    assert backends.media.get(key)
    posts.remove_post(backends, ADA, second)
    drain(worker)
    assert not (backends.media.root / key).exists()  # type: ignore[attr-defined]
    assert not (backends.media.root / pictures.thumbnail_key(key)).exists()  # type: ignore[attr-defined]


def test_after_a_restore_the_worker_does_what_the_older_snapshot_lacks(worker: Worker, backends: Backends) -> None:
    home(backends, GRACE)
    timelines.fan_out(backends, publish(backends))
    snapshot = {key: backends.cache.dump(key) for key in backends.cache.scan_iter("timeline*")}
    lost = publish(backends, image=jpeg())
    backends.cache.flushdb()
    for key, value in snapshot.items():
        backends.cache.restore(key, 0, value or b"")
    assert lost not in home(backends, GRACE)
    assert catch_up(backends) == 2
    drain(worker)
    assert home(backends, GRACE)[0] == lost
    assert image_of(backends, lost)["thumbnail_url"]


def test_the_worker_waits_for_a_redis_that_is_away(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = iter([redis.ConnectionError("gone"), None])

    def step(_wait: float) -> bool:
        fault = next(steps)
        if fault is not None:
            raise fault
        worker.stopping = True
        return False

    monkeypatch.setattr(worker, "step", step)
    monkeypatch.setattr("plaza.worker.POLL_SECONDS", 0.01)
    worker.run()
    assert "gone" in capsys.readouterr().out
