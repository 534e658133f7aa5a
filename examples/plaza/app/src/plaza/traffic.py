"""`python -m plaza.traffic`: made-up people who use a Plaza over its API until told to stop.

Settings: PLAZA_SITE (base URL), PLAZA_DEMO_PASSWORD, PLAZA_TRAFFIC_SECONDS (between two posts, 2 by
default). One JSON line for every post that the server has accepted: the newest of them is what a restore
must be held against.
"""

import json
import os
import random
import signal
import sys
import threading
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import httpx

from plaza.community import art
from plaza.community.__main__ import DEMO_PASSWORD
from plaza.community.phrases import BY_LANGUAGE, EMOJI

FIRST_USER = "ada"
PEOPLE = 12
IMAGE_SHARE = 0.3
REQUEST_SECONDS = 10.0


@dataclass
class Crowd:
    """People with their tokens; signing in happens once, as in an app on a phone."""

    site: httpx.Client
    password: str
    dice: random.Random = field(default_factory=random.Random)
    tokens: dict[str, str] = field(default_factory=dict)
    languages: dict[str, str] = field(default_factory=dict)

    def gather(self) -> None:
        """Sign in the first user and some of those they follow; raise httpx.HTTPError."""
        first = self.sign_in(FIRST_USER)
        answer = self.site.get(f"/api/users/{FIRST_USER}/following", params={"limit": PEOPLE}, headers=bearer(first))
        for person in answer.raise_for_status().json()["users"]:
            self.sign_in(person["username"])

    def sign_in(self, username: str) -> str:
        """Return a new token; raise httpx.HTTPError."""
        answer = self.site.post("/api/session", json={"username": username, "password": self.password})
        found = answer.raise_for_status().json()
        token: str = found["token"]
        self.tokens[username] = token
        self.languages[username] = found["user"]["profile"].get("languages", ["en"])[0]
        return token

    def act(self) -> dict[str, Any]:
        """One person posts and likes what another wrote; return the line to log. Raise httpx.HTTPError."""
        username = self.dice.choice(list(self.tokens))
        headers = bearer(self.tokens[username])
        language = self.languages[username]
        phrases = BY_LANGUAGE[language]
        body = f"{self.dice.choice(phrases.beginnings)} {self.dice.choice(EMOJI)}"
        files = {"image": ("photo.jpg", self.photo(), "image/jpeg")} if self.dice.random() < IMAGE_SHARE else None
        answer = self.site.post("/api/posts", headers=headers, data={"body": body, "language": language}, files=files)
        post = answer.raise_for_status().json()["post"]
        seen = self.site.get("/api/timeline", params={"limit": 10}, headers=headers)
        for other in seen.raise_for_status().json()["posts"][1:2]:
            self.site.put(f"/api/posts/{other['id']}/like", headers=headers).raise_for_status()
        return {
            "event": "posted",
            "post": post["id"],
            "by": username,
            "created_at": post["created_at"],
            "images": [image["key"] for image in post["images"]],
        }

    def photo(self) -> bytes:
        """A picture that nobody has posted before."""
        buffer = BytesIO()
        art.draw_picture(str(self.dice.getrandbits(64))).save(buffer, "JPEG", quality=90)
        return buffer.getvalue()


def bearer(token: str) -> dict[str, str]:
    """The header that carries a token."""
    return {"Authorization": f"Bearer {token}"}


def main() -> int:
    """Run until SIGTERM or SIGINT. Failures are logged and tried again: people do not give up either."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    pause = float(os.environ.get("PLAZA_TRAFFIC_SECONDS", "2"))
    base_url = os.environ.get("PLAZA_SITE", "http://127.0.0.1/")
    password = os.environ.get("PLAZA_DEMO_PASSWORD", DEMO_PASSWORD)
    with httpx.Client(base_url=base_url, timeout=REQUEST_SECONDS, trust_env=False) as site:
        crowd = Crowd(site, password)
        while not stop.is_set():
            try:
                if not crowd.tokens:
                    crowd.gather()
                line = crowd.act()
            except httpx.HTTPError as error:
                crowd.tokens.clear()
                line = {"event": "failed", "reason": f"{type(error).__name__}: {error}"}
            print(json.dumps(line), flush=True)
            stop.wait(pause)
    return 0


if __name__ == "__main__":
    sys.exit(main())
