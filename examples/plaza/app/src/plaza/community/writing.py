"""The rows of a made-up community, from dice that are seeded: no clock, no database, no network."""

import random
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any

from plaza.community.names import EPITHETS, GIVEN, KNOWN, PLACES, Name
from plaza.community.phrases import BY_LANGUAGE, CARDS, DECOMPOSABLE, EMOJI, Phrases
from plaza.pictures import thumbnail_key
from plaza.posts import tags_in

DAYS = 120
REPLY_SHARE = 0.3
NOTIFICATIONS = 1500
KNOWN_FOLLOWS = 40


@dataclass(frozen=True)
class Size:
    """How many there are of each; `reactions` are likes and follows together."""

    users: int
    posts: int
    reactions: int
    images: int


@dataclass(frozen=True)
class StoredImage:
    """A picture that lies in the media store already."""

    key: str
    sha256: str
    width: int
    height: int
    bytes: int


@dataclass
class Community:
    """Rows by table, in the order of the tables' columns as `loading` copies them."""

    users: list[tuple[Any, ...]] = field(default_factory=list)
    posts: list[tuple[Any, ...]] = field(default_factory=list)
    images: list[tuple[Any, ...]] = field(default_factory=list)
    likes: list[tuple[Any, ...]] = field(default_factory=list)
    follows: list[tuple[Any, ...]] = field(default_factory=list)
    tags: list[tuple[Any, ...]] = field(default_factory=list)
    post_tags: list[tuple[Any, ...]] = field(default_factory=list)
    notifications: list[tuple[Any, ...]] = field(default_factory=list)


@dataclass(frozen=True)
class Author:
    """What a writer of posts needs to know about a person."""

    id: int
    username: str
    language: str


@dataclass(frozen=True)
class Writer:
    """Writes one community; everything that varies is given here."""

    seed: int
    size: Size
    until: datetime
    media_url: str

    def dice(self, what: str) -> random.Random:
        """Dice of their own for every kind of row, so that more posts leave the people as they are."""
        return random.Random(f"{self.seed}:{what}")  # noqa: S311 -- nothing here is secret

    def write(self, password_hashes: list[str], avatar_keys: list[str], images: list[StoredImage]) -> Community:
        """Return all rows; lists are as long as there are users and images."""
        community = Community()
        authors = self.write_people(community, password_hashes, avatar_keys, images)
        self.write_follows(community, authors)
        self.write_posts(community, authors, images)
        self.write_tags(community)
        self.write_likes(community)
        self.write_notifications(community)
        return community

    def write_people(
        self,
        community: Community,
        password_hashes: list[str],
        avatar_keys: list[str],
        images: list[StoredImage],
    ) -> list[Author]:
        """Add the users; the known ones come first."""
        dice = self.dice("people")
        authors = []
        names = people_names(dice, self.size.users)
        for number, (name, username, shown) in enumerate(names):
            phrases = BY_LANGUAGE[name.language]
            bio = f"{dice.choice(phrases.beginnings)} {dice.choice(EMOJI)}" if dice.random() < 0.8 else ""
            profile: dict[str, Any] = {"place": PLACES[name.language], "languages": [name.language, "en"]}
            if images and (dice.random() < 0.5 or number < len(KNOWN)):
                profile["header_url"] = self.media_url + dice.choice(images).key
            if dice.random() < 0.4:
                profile["links"] = [
                    {"label": f"{username}.example", "url": f"https://{username}.example/"},
                    {"label": "album", "url": f"{self.media_url}{dice.choice(avatar_keys)}"},
                ]
            joined = self.until - timedelta(days=DAYS + dice.uniform(1, 700))
            avatar_url = self.media_url + avatar_keys[number]
            row = (number + 1, username, shown, bio, avatar_url, password_hashes[number], profile, joined)
            community.users.append(row)
            authors.append(Author(number + 1, username, name.language))
        return authors

    def write_follows(self, community: Community, authors: list[Author]) -> None:
        """Follows: a few people have many followers; the known ones follow and are followed."""
        dice = self.dice("follows")
        count = len(authors)
        wanted = min(self.size.reactions * 2 // 5, count * (count - 1) // 2)
        weights = list(accumulate(1 / (rank + 3) ** 0.6 for rank in range(count)))
        pairs: dict[tuple[int, int], None] = {}
        if wanted and count > 1:
            pairs[2, 1] = None
            for number in range(2, min(count, KNOWN_FOLLOWS) + 1):
                pairs[1, number] = None
                pairs[number, 1] = None
        while len(pairs) < wanted:
            follower = dice.randint(1, count)
            followed = dice.choices(range(1, count + 1), cum_weights=weights)[0]
            if follower != followed:
                pairs[follower, followed] = None
        start = self.until - timedelta(days=DAYS)
        step = timedelta(days=DAYS) / (len(pairs) + 1)
        for number, (follower, followed) in enumerate(pairs):
            community.follows.append((follower, followed, start + step * number))

    def write_posts(self, community: Community, authors: list[Author], images: list[StoredImage]) -> None:
        """Posts in order of time, replies among them, and the images that they show."""
        dice = self.dice("posts")
        weights = list(accumulate(1 / (rank + 5) ** 0.5 for rank in range(len(authors))))
        shown_at = image_places(self.dice("images"), self.size.posts, len(images))
        twin: tuple[str, Author] | None = None
        for number, moment in enumerate(self.moments(dice)):
            post_id = number + 1
            author = dice.choices(authors, cum_weights=weights)[0]
            here = [images[index] for index in shown_at.get(post_id, ())]
            reply_to = None
            if not here and number > 20 and dice.random() < REPLY_SHARE:
                parent = community.posts[-min(len(community.posts), int(dice.expovariate(1 / 60)) + 1)]
                reply_to, language = parent[2] or parent[0], parent[4]
                body = self.reply_text(dice, language)
            elif twin:
                (body, author), language = twin, twin[1].language
                twin = None
            else:
                language = author.language if dice.random() < 0.85 else "en"
                body = self.post_text(dice, language, images)
                decomposed = unicodedata.normalize("NFD", body)
                if decomposed != body and language in DECOMPOSABLE and dice.random() < 0.08:
                    twin = (decomposed, Author(author.id, author.username, language))
            card = self.card(dice, images) if reply_to is None and not here and dice.random() < 0.14 else None
            community.posts.append((post_id, author.id, reply_to, body, language, card, moment))
            for image in here:
                self.add_image(community, post_id, image, moment, language)

    def moments(self, dice: random.Random) -> Iterator[datetime]:
        """Times of posts, growing, with more of them lately and fewer at night."""
        offsets = sorted(dice.random() ** 1.6 for _ in range(self.size.posts))
        for offset in reversed(offsets):
            yield self.until - timedelta(seconds=60) - timedelta(days=DAYS) * offset

    def post_text(self, dice: random.Random, language: str, images: list[StoredImage]) -> str:
        """A beginning, perhaps an ending, emoji, hashtags, a mention or a link."""
        phrases = BY_LANGUAGE[language]
        parts = [dice.choice(phrases.beginnings)]
        if dice.random() < 0.75:
            parts.append(dice.choice(phrases.endings))
        if dice.random() < 0.35:
            parts.append("".join(dice.choices(EMOJI, k=dice.randint(1, 3))))
        if dice.random() < 0.08 and images:
            parts.append(self.media_url + dice.choice(images).key)
        elif dice.random() < 0.06:
            parts.append(f"https://{dice.choice(CARDS)[1]}/{dice.randint(2019, 2026)}/{dice.randint(1, 999)}")
        text = ("\n" if dice.random() < 0.1 else " ").join(parts)
        return text + self.hashtags(dice, phrases)

    def hashtags(self, dice: random.Random, phrases: Phrases) -> str:
        """None, one or two."""
        count = dice.choices((0, 1, 2), (6, 3, 1))[0]
        return "".join(f" #{tag}" for tag in dice.sample(phrases.tags, count))

    def reply_text(self, dice: random.Random, language: str) -> str:
        """A short sentence, often with an emoji."""
        sentence = dice.choice(BY_LANGUAGE[language].replies)
        return f"{sentence} {dice.choice(EMOJI)}" if dice.random() < 0.4 else sentence

    def card(self, dice: random.Random, images: list[StoredImage]) -> dict[str, Any]:
        """The preview of a link, as it stands in the jsonb column."""
        title, site = dice.choice(CARDS)
        card: dict[str, Any] = {"kind": "link", "title": title, "site": site, "href": f"https://{site}/"}
        if images:
            image = dice.choice(images)
            card["image"] = {"url": self.media_url + thumbnail_key(image.key), "width": 480}
            card["sources"] = [f"https://{site}/", self.media_url + image.key]
        return card

    def add_image(
        self, community: Community, post_id: int, image: StoredImage, moment: datetime, language: str
    ) -> None:
        """One row of images, with absolute addresses as real apps have them."""
        alt_text = f"{PLACES[language]}, {moment:%Y}"
        community.images.append(
            (
                len(community.images) + 1,
                post_id,
                image.key,
                self.media_url + image.key,
                self.media_url + thumbnail_key(image.key),
                image.sha256,
                image.width,
                image.height,
                image.bytes,
                alt_text,
                moment,
            )
        )

    def write_tags(self, community: Community) -> None:
        """Tags as the app would have found them in the texts."""
        ids: dict[str, int] = {}
        for post in community.posts:
            for name in tags_in(post[3]):
                tag_id = ids.setdefault(name, len(ids) + 1)
                community.post_tags.append((post[0], tag_id))
        community.tags.extend((tag_id, name) for name, tag_id in ids.items())

    def write_likes(self, community: Community) -> None:
        """Likes: what is not a follow; some posts get most of them."""
        dice = self.dice("likes")
        users, posts = len(community.users), len(community.posts)
        wanted = min(self.size.reactions - len(community.follows), users * posts // 2)
        pairs: dict[tuple[int, int], None] = {}
        while len(pairs) < wanted:
            post_number = min(posts, int(posts * dice.random() ** 0.8) + 1)
            popular = post_number - post_number % dice.choice((1, 1, 7, 29))
            pairs[dice.randint(1, users), max(1, popular)] = None
        for user_id, post_id in pairs:
            posted: datetime = community.posts[post_id - 1][6]
            delay = timedelta(seconds=min(dice.expovariate(1 / 7200), (self.until - posted).total_seconds()))
            community.likes.append((user_id, post_id, posted + delay))

    def write_notifications(self, community: Community) -> None:
        """What the newest replies, likes and follows have told people."""
        author_of = {post[0]: post[1] for post in community.posts}
        events = [(author_of[post[2]], post[1], post[0], "reply", post[6]) for post in community.posts if post[2]]
        events += [(author_of[post_id], user, post_id, "like", at) for user, post_id, at in community.likes]
        events += [(followed, follower, None, "follow", at) for follower, followed, at in community.follows]
        events = sorted((event for event in events if event[0] != event[1]), key=lambda event: event[4])
        for number, (user, actor, post_id, kind, at) in enumerate(events[-NOTIFICATIONS:]):
            read_at = at + timedelta(hours=1) if number % 3 else None
            community.notifications.append((number + 1, user, actor, post_id, kind, read_at, at))


def people_names(dice: random.Random, count: int) -> Iterator[tuple[Name, str, str]]:
    """Yield a name, a user name that nobody else has, and how it is shown."""
    taken = set()
    for number in range(count):
        if number < len(KNOWN):
            name = KNOWN[number]
            shown, username = name.shown, name.latin
        else:
            name = dice.choice(GIVEN)
            epithet = dice.choice(EPITHETS[name.language])
            shown, username = f"{name.shown} {epithet}", name.latin
            while username in taken:
                username = f"{name.latin}{dice.choice(('', '_'))}{dice.randint(2, 99 + count)}"
        taken.add(username)
        yield name, username, shown


def image_places(dice: random.Random, posts: int, images: int) -> dict[int, list[int]]:
    """Say which post shows which images: mostly one, the last post always one."""
    places: dict[int, list[int]] = {}
    for index in range(images if posts else 0):
        post_id = posts if index == 0 else dice.randint(1, posts)
        if len(places.get(post_id, ())) >= 2:
            post_id = dice.randint(1, posts)
        places.setdefault(post_id, []).append(index)
    return places
