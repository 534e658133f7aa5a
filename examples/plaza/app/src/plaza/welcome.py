"""A welcome by mail for who signs up with an address. The address is kept for that one message, and no longer."""

from redis import Redis

from plaza.mail import Mailer

WAITING = "mail:welcome:"
WAITING_SECONDS = 2 * 24 * 3600


def keep_address(cache: Redis, user_id: int, address: str) -> None:
    """Keep an address until the welcome is sent, and no longer."""
    cache.set(f"{WAITING}{user_id}", address, ex=WAITING_SECONDS)


def send_welcome(mailer: Mailer | None, cache: Redis, user_id: int, name: str) -> None:
    """Greet somebody who has joined; nothing to do if the welcome went out before."""
    address = cache.get(f"{WAITING}{user_id}")
    if mailer is None or address is None:
        return
    text = f"Hello {name},\n\nwelcome to Plaza. We keep this address for nothing else.\n"
    mailer.send(str(address), "Welcome to Plaza", text, f"welcome-{user_id}")
    cache.delete(f"{WAITING}{user_id}")
