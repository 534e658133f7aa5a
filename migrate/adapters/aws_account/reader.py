"""What a reader is: its calls, the permission that each needs, and how what it sees becomes a resource."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from migrate.adapters.aws_account.answers import NotSeen
from migrate.assess.observed import Blindness, Fact, Resource, Unseen

HOME = "us-east-1"
"""Region that global services are asked in."""
ODD = (KeyError, IndexError, TypeError, ValueError, AttributeError)
"""What reading an answer of another shape raises."""


class Asks(Protocol):
    """Calls of one region, bounded. Raises NotSeen."""

    def __call__(self, client: str, region: str, method: str, params: Mapping[str, Any]) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class Reader:
    """Reads one service. `actions`: `client.method` -> permission; a call that is not among them cannot be made."""

    service: str
    actions: Mapping[str, str]
    read: "Callable[[Look], Iterator[Resource]]"
    regional: bool = True


@dataclass
class Look:
    """One reader in one region. Calls name `client.method` of the reader's own table."""

    reader: Reader
    region: str
    """Region, or `global`."""
    asks: Asks
    unseen: list[Unseen] = field(default_factory=list)
    not_signed_up: list[Unseen] = field(default_factory=list)
    """Refusals that say that the account never asked for the service."""
    last_action: str = ""

    @property
    def home(self) -> str:
        return self.region if self.reader.regional else HOME

    def ask(self, call: str, *, region: str = "", **params: Any) -> Mapping[str, Any]:
        """One answer. Raises NotSeen."""
        action = self.last_action = self.reader.actions[call]
        client, _, method = call.partition(".")
        try:
            return self.asks(client, region or self.home, method, params)
        except NotSeen as blind:
            raise blind.about(action) from blind

    def pages(
        self, call: str, items: str, *, token: str = "NextToken", asked: str = "", region: str = "", **params: Any
    ) -> Iterator[Any]:
        """Items of all pages; `token` is where an answer says how to go on, `asked` where the next question does.

        Where an answer does not come, that is noted, and there are no further items."""
        given: dict[str, Any] = {}
        while True:
            try:
                answer = self.ask(call, region=region, **params, **given)
            except NotSeen as blind:
                self.note(blind)
                return
            yield from _within(answer, items) or ()
            following = _within(answer, token)
            if not following or following == given.get(asked or token):
                return
            given = {asked or token: following}

    def sheet(self, kind: str, name: str, **facts: Fact) -> "Sheet":
        return Sheet(self, kind, name, dict(facts))

    def note(self, blind: NotSeen, about: str = "", *, region: str = "") -> None:
        where = region or self.region
        service, action, reason, said = self.reader.service, blind.action, blind.reason, blind.said
        unseen = Unseen(service=service, region=where, action=action, reason=reason, said=said, about=about)
        (self.not_signed_up if blind.never_signed_up else self.unseen).append(unseen)


@dataclass
class Sheet:
    """A resource while it is being read."""

    look: Look
    kind: str
    name: str
    facts: dict[str, Fact] = field(default_factory=dict)
    unseen: list[str] = field(default_factory=list)
    region: str = ""
    """Where the resource is, if not in the region of the look."""

    def ask(
        self, facts: str, call: str, absent: Mapping[str, Any] | None = None, **params: Any
    ) -> Mapping[str, Any] | None:
        """The answer that gives `facts` (names, by spaces), or None where we were not let see them.

        `absent`: codes of errors that mean `there is none` -> the answer that stands for it."""
        try:
            return self.look.ask(call, region="" if self.region == "global" else self.region, **params)
        except NotSeen as blind:
            if absent and blind.code in absent:
                answer: Mapping[str, Any] = absent[blind.code]
                return answer
            self.unseen += facts.split()
            self.look.note(blind, self.name, region=self.region)
            return None

    def resource(self) -> Resource:
        return Resource(
            service=self.look.reader.service, kind=self.kind, region=self.region or self.look.region, name=self.name,
            facts=self.facts, unseen=tuple(self.unseen),
        )  # fmt: skip


def another_shape(odd: Exception, action: str) -> NotSeen:
    return NotSeen(Blindness.NOT_UNDERSTOOD, f"an answer of another shape: {odd!r}", action=action)


def _within(answer: Any, path: str) -> Any:
    for part in path.split("."):
        answer = answer.get(part) if isinstance(answer, Mapping) else None
    return answer
