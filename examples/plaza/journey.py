#!/usr/bin/env python3
"""Walk a user's way through Plaza, from outside, and say step by step what held.

    journey.py --site http://HOST/

Signs in as an existing user, reads the timeline, holds an image in it against the archive byte for byte,
looks for addresses of the old home, posts with a new image, waits for its thumbnail, and finds the post in
a follower's timeline. One JSON line a step on standard output: step, verdict (pass or fail), detail,
seconds. Exit 0 only if every step passed. It may run any number of times against the same site.

Environment: PLAZA_DEMO_PASSWORD (all made-up people have it), CLOUDEXIT_ARCHIVE (a folder with
plaza-media/objects/KEY for every object of the old bucket). Needs httpx.
"""

import argparse
import hashlib
import json
import os
import re
import struct
import sys
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import httpx

Found = TypeVar("Found")

USERNAME = "ada"
DEMO_PASSWORD = "correct horse battery staple"
OLD_HOST = "plaza-media.s3.cloud.example"
REQUEST_SECONDS = 10.0
POLL_SECONDS = 0.2
WORKER_SECONDS = 30.0
PAGES = 20
JPEG_START = b"\xff\xd8\xff"


class StepFailed(Exception):
    """What was expected and what was found instead."""


class PageReader(HTMLParser):
    """The posts, pictures and form fields of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.posts = 0
        self.pictures: list[str] = []
        self.fields: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect what the steps ask for."""
        found = {name: value or "" for name, value in attrs}
        if tag == "article":
            self.posts += 1
        elif tag == "a" and found.get("class") == "picture":
            self.pictures.append(found["href"])
        elif tag == "input" and found.get("type") == "hidden":
            self.fields.setdefault(found["name"], found.get("value", ""))


@dataclass
class Journey:
    """One user at one site. Steps that need an earlier one's result find it here."""

    site: httpx.Client
    password: str
    archive: Path | None
    old_host: str
    token: str = ""
    page: str = ""
    posted: dict[str, Any] = field(default_factory=dict)

    def sign_in(self) -> str:
        """By the form, as in a browser, and by the API, as a client would."""
        form = PageReader(self._get("/sign-in").text).fields
        answer = self.site.post("/sign-in", data={**form, "next": "/", "username": USERNAME, "password": self.password})
        expect(answer.status_code == 303, f"the sign-in form answered {answer.status_code}, not 303")
        self.token = self._token_of(USERNAME)
        return f"signed in as {USERNAME}, by form and by API"

    def read_timeline(self) -> str:
        """The home page of the user who is signed in now."""
        self.page = self._get("/").text
        expect("/sign-out" in self.page, "the home page does not know who is signed in")
        posts = PageReader(self.page).posts
        expect(posts > 0, "there is no post in the timeline")
        return f"{posts} posts on the first page"

    def load_image(self) -> str:
        """The newest image in the timeline that stands in the archive, byte for byte."""
        expect(self.archive is not None, "CLOUDEXIT_ARCHIVE names no folder to compare with")
        path = "/"
        for _ in range(PAGES):
            page = self._get(path).text
            for url in PageReader(page).pictures:
                stored = self._stored(urlsplit(url).path)
                if stored is not None:
                    return self._compare(url, stored)
            older = re.search(r'href="(/\?before=\d+)"', page)
            if older is None:
                break
            path = unescape(older[1])
        raise StepFailed(f"no image of the timeline stands in {self.archive}")

    def find_no_old_address(self) -> str:
        """Neither the page nor the API may send a browser back to the old home."""
        answers = {"/": self.page or self._get("/").text, f"/@{USERNAME}": self._get(f"/@{USERNAME}").text}
        for path in ("/api/timeline?limit=100", "/api/posts?limit=100", f"/api/users/{USERNAME}"):
            answers[path] = self._get(path).text
        guilty = [path for path, text in answers.items() if self.old_host in text]
        expect(not guilty, f"{self.old_host} still stands in {', '.join(guilty)}")
        return f"{self.old_host} is nowhere in {len(answers)} answers"

    def post_with_image(self) -> str:
        """A picture that nobody has posted before, so that nothing can be answered from a cache."""
        picture = new_picture()
        body = f"The square has moved, and the lights are on. ✨ #harbour {time.strftime('%H:%M:%S')}"
        answer = self.site.post(
            "/api/posts",
            headers=self._bearer(self.token),
            data={"body": body, "alt_text": "A new picture"},
            files={"image": ("journey.png", picture, "image/png")},
        )
        expect(answer.status_code == 201, f"POST /api/posts answered {answer.status_code}: {answer.text[:200]}")
        self.posted = answer.json()["post"]
        image = self.posted["images"][0]
        data = self._get(image["url"]).content
        expect(hashlib.sha256(data).hexdigest() == image["sha256"], f"{image['url']} is not what was stored")
        return f"post {self.posted['id']} with {len(data)} bytes at {image['url']}"

    def see_thumbnail(self) -> str:
        """The worker makes it; wait for it, within a bound."""
        expect(bool(self.posted), "there is no new post to wait for")

        def thumbnail() -> str | None:
            post = self._get(f"/api/posts/{self.posted['id']}").json()["post"]
            url: str | None = post["images"][0]["thumbnail_url"]
            return url

        url = self._wait(thumbnail, "the worker has made no thumbnail")
        data = self._get(url).content
        expect(data.startswith(JPEG_START), f"{url} is no JPEG")
        return f"{len(data)} bytes at {url}"

    def see_it_as_follower(self) -> str:
        """Somebody who follows the user finds the post in their own timeline."""
        expect(bool(self.posted), "there is no new post to look for")
        followers = self._get(f"/api/users/{USERNAME}/followers?limit=1").json()["users"]
        expect(bool(followers), f"nobody follows {USERNAME}")
        name = followers[0]["username"]
        token = self._token_of(name)

        def seen() -> bool | None:
            posts = self._get("/api/timeline", token).json()["posts"]
            return any(post["id"] == self.posted["id"] for post in posts) or None

        self._wait(seen, f"post {self.posted['id']} is not in the timeline of {name}")
        return f"{name} sees post {self.posted['id']}"

    def _token_of(self, username: str) -> str:
        answer = self.site.post("/api/session", json={"username": username, "password": self.password})
        expect(answer.status_code == 201, f"POST /api/session for {username} answered {answer.status_code}")
        token: str = answer.json()["token"]
        return token

    def _get(self, url: str, token: str | None = None) -> httpx.Response:
        headers = self._bearer(token or self.token) if url.startswith("/api/") else {}
        answer = self.site.get(url, headers=headers)
        expect(answer.status_code == 200, f"GET {url} answered {answer.status_code}")
        return answer

    def _bearer(self, token: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {token}"}

    def _stored(self, url_path: str) -> Path | None:
        key = url_path[url_path.find("images/") :]
        expect(".." not in key, f"{url_path} leads out of the archive")
        stored = (self.archive or Path()) / "plaza-media" / "objects" / key
        return stored if key.startswith("images/") and stored.is_file() else None

    def _compare(self, url: str, stored: Path) -> str:
        served, kept = self._get(quote(url, safe=":/@[]%")).content, stored.read_bytes()
        expect(served == kept, f"{url} has {len(served)} bytes that differ from the {len(kept)} of {stored}")
        return f"{len(served)} bytes of {url}, same as in the archive"

    def _wait(self, look: Callable[[], Found | None], otherwise: str) -> Found:
        deadline = time.monotonic() + WORKER_SECONDS
        while True:
            found = look()
            if found is not None:
                return found
            expect(time.monotonic() < deadline, f"{otherwise} within {WORKER_SECONDS:.0f} s")
            time.sleep(POLL_SECONDS)


def expect(holds: bool, otherwise: str) -> None:
    """Raise StepFailed unless it holds."""
    if not holds:
        raise StepFailed(otherwise)


def new_picture(side: int = 320) -> bytes:
    """A PNG that was never there before: stripes in colours of the moment."""
    stamp = hashlib.sha256(str(time.time_ns()).encode()).digest()
    rows = b"".join(
        b"\0" + b"".join(stamp[(x // 40 + y // 40) % 10 * 3 :][:3] for x in range(side)) for y in range(side)
    )
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def walk(journey: Journey) -> bool:
    """Take every step, print what came of it, and return whether all held."""
    held = True
    for name, step in (
        ("sign-in", journey.sign_in),
        ("read-timeline", journey.read_timeline),
        ("load-image", journey.load_image),
        ("no-old-address", journey.find_no_old_address),
        ("post-with-image", journey.post_with_image),
        ("thumbnail", journey.see_thumbnail),
        ("follower-sees-post", journey.see_it_as_follower),
    ):
        started = time.monotonic()
        try:
            verdict, detail = "pass", step()
        except StepFailed as error:
            verdict, detail = "fail", str(error)
        except httpx.HTTPError as error:
            verdict, detail = "fail", f"{type(error).__name__}: {error}"
        except (ValueError, KeyError, TypeError, IndexError) as error:
            verdict, detail = "fail", f"the answer has not the form that was expected: {error!r}"
        held = held and verdict == "pass"
        seconds = round(time.monotonic() - started, 3)
        line = {"step": name, "verdict": verdict, "detail": detail, "seconds": seconds}
        print(json.dumps(line, ensure_ascii=False), flush=True)
    return held


def main() -> int:
    """Exit 0 if the whole way held, 1 if a step failed."""
    parser = argparse.ArgumentParser(description="Walk a user's way through Plaza.")
    parser.add_argument("--site", required=True, metavar="URL", help="as in http://10.0.0.4/")
    parser.add_argument("--old-host", default=OLD_HOST, help=f"must be nowhere (default: {OLD_HOST})")
    wanted = parser.parse_args()
    archive = os.environ.get("CLOUDEXIT_ARCHIVE")
    with httpx.Client(base_url=wanted.site, timeout=REQUEST_SECONDS, trust_env=False) as site:
        journey = Journey(
            site=site,
            password=os.environ.get("PLAZA_DEMO_PASSWORD", DEMO_PASSWORD),
            archive=Path(archive) if archive else None,
            old_host=wanted.old_host,
        )
        return 0 if walk(journey) else 1


if __name__ == "__main__":
    sys.exit(main())
