"""Calls to the provider, each bounded; a region that stays silent is not asked a third time."""

import os
import random
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import boto3
import botocore.exceptions as bad
from botocore.config import Config

from migrate.adapters.aws_account.answers import PROBLEMS, PUT_OFF, NotSeen, identity_problem, not_seen
from migrate.adapters.aws_account.reader import HOME
from migrate.adapters.endpoints import require_endpoint
from migrate.adapters.s3_errors import session_problem
from migrate.assess.observed import Blindness
from migrate.errors import UsageProblem

CONNECT_SECONDS = 5.0
READ_SECONDS = 20.0
TRIES = 2
SILENT_SERVICES = 2
"""So many services of a region without an answer, and the region counts as silent."""
ALWAYS_ASKED = ("s3", "cloudwatch", "cloudfront", "iam", "route53", "route53domains")
"""The data itself and its sizes, and services that are no region's own: asked until they are silent themselves."""
LOOK_SECONDS = 900.0
PAUSES_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Between tries of a call that is put off because there were too many."""
CLIENT_NAMES = {"ses": "sesv2"}


@dataclass(frozen=True)
class Identity:
    account: str
    arn: str


@dataclass(frozen=True)
class Bounds:
    """In seconds: until a connection stands, until an answer comes, and for the whole look."""

    connect: float = CONNECT_SECONDS
    read: float = READ_SECONDS
    whole: float = LOOK_SECONDS


class Calls:
    """Clients by service and region, for many threads."""

    def __init__(self, profile: str | None = None, endpoint_url: str | None = None, bounds: Bounds = Bounds()) -> None:
        """Raises UsageProblem for a profile that does not exist or an address that is none; speaks to nobody yet."""
        require_endpoint(endpoint_url)
        try:
            self._session = boto3.Session(profile_name=profile)
        except bad.BotoCoreError as problem:
            raise session_problem(problem) from problem
        self._endpoint_url = endpoint_url
        self._own_endpoint = bool(endpoint_url or os.environ.get("AWS_ENDPOINT_URL"))
        self._config = Config(
            connect_timeout=bounds.connect,
            read_timeout=bounds.read,
            retries={"mode": "standard", "total_max_attempts": TRIES},
            max_pool_connections=32,
            user_agent_extra="cloudexit-assess",
        )
        self._until = time.monotonic() + bounds.whole
        self._clients: dict[tuple[str, str], Any] = {}
        self._lock = threading.Lock()
        self._silent: dict[str, set[str]] = defaultdict(set)

    def __call__(self, client: str, region: str, method: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """One answer of the provider. Raises NotSeen."""
        for pause in (*PAUSES_SECONDS, None):
            self._require_hope(client, region)
            try:
                return self._once(client, region, method, params)
            except NotSeen as blind:
                if blind.code not in PUT_OFF or pause is None:
                    raise
                time.sleep(pause * random.uniform(0.5, 1.5))
        raise AssertionError("unreachable")

    def _once(self, client: str, region: str, method: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            answer: Mapping[str, Any] = getattr(self.client(client, region), method)(**params)
        except PROBLEMS as problem:
            blind = not_seen(problem)
            if blind.reason is Blindness.NO_ANSWER:
                self._silent[region].add(client)
            raise blind from problem
        return answer

    def body(self, answer: Mapping[str, Any], limit: int) -> bytes:
        """The first `limit` bytes of an answer's body. Raises NotSeen."""
        stream = answer["Body"]
        try:
            content: bytes = stream.read(limit)
        except (*PROBLEMS, OSError) as problem:
            raise NotSeen(Blindness.NO_ANSWER, str(problem)) from problem
        finally:
            stream.close()
        return content

    def client(self, service: str, region: str) -> Any:
        """A client; making one is not safe in several threads, using it is. Raises UsageProblem."""
        with self._lock:
            if (service, region) not in self._clients:
                try:
                    made = self._session.client(  # type: ignore[call-overload]
                        CLIENT_NAMES.get(service, service), region_name=region, endpoint_url=self._endpoint_url,
                        config=self._config,
                    )  # fmt: skip
                except (bad.BotoCoreError, ValueError) as problem:
                    raise session_problem(problem) from problem
                if self._own_endpoint:
                    made.meta.events.register("before-call.s3-control", _without_account)
                self._clients[service, region] = made
            return self._clients[service, region]

    def identity(self) -> Identity:
        """Who we are. Raises Refused (no credentials, or none that are accepted), Unreachable."""
        try:
            answer = self.client("sts", self.home).get_caller_identity()
        except PROBLEMS as problem:
            raise identity_problem(problem, f"account of {self._profile}") from problem
        return Identity(str(answer["Account"]), str(answer["Arn"]))

    def regions(self) -> tuple[str, ...]:
        """Regions that the account has switched on. Raises NotSeen where it does not say."""
        answer = self("ec2", self.home, "describe_regions", {})
        return tuple(sorted(region["RegionName"] for region in answer["Regions"]))

    def usual_regions(self) -> tuple[str, ...]:
        """Regions that the provider offers, by the library's own list."""
        return tuple(sorted(self._session.get_available_regions("ec2")))

    def offered(self, service: str, region: str) -> bool:
        """Whether the provider offers the service there, by the library's own list; unknown regions count as yes."""
        if region not in self.usual_regions():
            return True
        available = self._session.get_available_regions(CLIENT_NAMES.get(service, service))
        return not available or region in available

    @property
    def seconds_left(self) -> float:
        """Of the time for the whole look."""
        return max(0.0, self._until - time.monotonic())

    @property
    def home(self) -> str:
        """Region that is asked first."""
        return self._session.region_name or HOME

    @property
    def _profile(self) -> str:
        return f"profile {self._session.profile_name}"

    def _require_hope(self, client: str, region: str) -> None:
        silent = self._silent[region]
        if len(silent) >= SILENT_SERVICES and client not in ALWAYS_ASKED:
            raise NotSeen(Blindness.NO_ANSWER, f"not asked: {', '.join(sorted(silent))} there did not answer either")
        if client in silent:
            raise NotSeen(Blindness.NO_ANSWER, "not asked again: it did not answer before")
        if time.monotonic() > self._until:
            raise NotSeen(Blindness.NO_ANSWER, "not asked: the time for the whole look was over")


def require_known(regions: tuple[str, ...], calls: Calls) -> None:
    """Raises UsageProblem for a region that the provider does not have."""
    known = calls.usual_regions()
    for region in regions:
        if known and region not in known:
            raise UsageProblem(
                f"no region is called {region!r}", where="--region", expected=", ".join(known[:8]) + ", …"
            )


def _without_account(params: dict[str, Any], **_: object) -> None:
    """The library puts the account before the host's name; an endpoint of one's own has no such names."""
    account = params["headers"].get("x-amz-account-id", "")
    params["url"] = params["url"].replace(f"//{account}.", "//", 1)
