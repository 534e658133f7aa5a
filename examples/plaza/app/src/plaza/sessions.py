"""Sessions in Redis. Only the hash of a token is stored, so a leaked snapshot signs nobody in."""

import hashlib
import hmac
import secrets

import redis

from plaza.errors import TooManyAttempts

LIFETIME_SECONDS = 30 * 24 * 3600
FAILURES_ALLOWED = 20
FAILURE_WINDOW_SECONDS = 300


def session_key(token: str) -> str:
    """The Redis key of a session."""
    return "session:" + hashlib.sha256(token.encode()).hexdigest()


def start_session(cache: redis.Redis, user_id: int) -> str:
    """Return the token of a new session."""
    token = secrets.token_urlsafe(32)
    cache.set(session_key(token), user_id, ex=LIFETIME_SECONDS)
    return token


def session_user(cache: redis.Redis, token: str) -> int | None:
    """Return whose session it is, and keep it alive; None if it has ended."""
    user_id = cache.getex(session_key(token), ex=LIFETIME_SECONDS)
    return int(str(user_id)) if user_id is not None else None


def end_session(cache: redis.Redis, token: str) -> None:
    """Sign out."""
    cache.delete(session_key(token))


def form_token(secret_key: str, visit: str) -> str:
    """The token that a form must bring back, bound to the visitor's cookie."""
    return hmac.new(secret_key.encode(), visit.encode(), hashlib.sha256).hexdigest()


def refuse_guessing(cache: redis.Redis, username: str) -> None:
    """Raise TooManyAttempts after FAILURES_ALLOWED failures within the window."""
    failures = cache.get(f"sign-in-failures:{username}")
    if failures is not None and int(str(failures)) >= FAILURES_ALLOWED:
        raise TooManyAttempts("Too many failed attempts. Try again in a few minutes.")


def count_failure(cache: redis.Redis, username: str) -> None:
    """Remember a failed sign-in."""
    key = f"sign-in-failures:{username}"
    with cache.pipeline() as pipe:
        pipe.incr(key)
        pipe.expire(key, FAILURE_WINDOW_SECONDS)
        pipe.execute()
