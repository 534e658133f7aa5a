"""The plan: ordered steps and a digest that binds an execution to what was reviewed. Pure data."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any, Self

from migrate.errors import UsageProblem
from migrate.figures import Estimate

PLAN_FORMAT = 2
SIDE_BY_SIDE = 4
"""Steps that the runner carries out at once, beside those that need the old home."""
OF_THE_OLD_HOME = frozenset({"preflight.source", "export.bucket"})
"""Kinds of steps that cannot be done any more when the old home is gone."""
LAG = "cutover.lag"
"""Kind of the steps that ask the old home without the data waiting for them."""


class Effect(StrEnum):
    READ = "read"
    REVERSIBLE = "reversible"
    IRREVERSIBLE = "irreversible"


class Phase(StrEnum):
    """The phases in their order; a command such as `cloudexit export` carries out one of them."""

    LAB = "lab"
    PREFLIGHT = "preflight"
    PROVISION = "provision"
    EXPORT = "export"
    RESTORE = "restore"
    START = "start"
    CUTOVER = "cutover"
    PROVE = "prove"


@dataclass(frozen=True)
class Step:
    """One idempotent effect. `kind` names the action that carries it out, `subject` what it works on."""

    id: str
    phase: Phase
    kind: str
    title: str
    effect: Effect
    requires: tuple[str, ...] = ()
    subject: str = ""
    estimate: Estimate | None = None
    """None where the time cannot be told; never part of the digest."""

    @property
    def needs_old_home(self) -> bool:
        """The deadline binds these: they never wait behind the work of the new home."""
        return self.kind in OF_THE_OLD_HOME

    def as_document(self) -> dict[str, Any]:
        return {**self.identity(), "estimate": self.estimate.as_document() if self.estimate else None}

    def identity(self) -> dict[str, Any]:
        """What the digest covers: everything but the estimate."""
        kept = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "estimate"}
        return {**kept, "requires": list(self.requires)}


@dataclass(frozen=True)
class Plan:
    """Steps in an order that satisfies every `requires`. The digest covers stack, inventory and steps, and
    never lag, counts, secrets or times."""

    stack_digest: str
    inventory_digest: str
    steps: tuple[Step, ...] = field(default=())

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for step in self.steps:
            unmet = [required for required in step.requires if required not in seen]
            if unmet:
                raise ValueError(f"step {step.id} stands before what it requires: {', '.join(unmet)}")
            if step.id in seen:
                raise ValueError(f"step {step.id} stands twice")
            seen.add(step.id)

    @property
    def digest(self) -> str:
        steps = [step.identity() for step in self.steps]
        return digest_of({"stack": self.stack_digest, "inventory": self.inventory_digest, "steps": steps})

    def only(self, phase: Phase) -> "Plan":
        """The steps of one phase; what they require of other phases is left to their own verification."""
        return self._keeping([step for step in self.steps if step.phase is phase])

    def having(self, kinds: Sequence[str]) -> "Plan":
        """The steps of some kinds, as `only`."""
        return self._keeping([step for step in self.steps if step.kind in kinds])

    def _keeping(self, kept: list[Step]) -> "Plan":
        ids = {step.id for step in kept}
        steps = [replace(step, requires=tuple(r for r in step.requires if r in ids)) for step in kept]
        return Plan(self.stack_digest, self.inventory_digest, tuple(steps))

    def as_document(self) -> dict[str, Any]:
        return {
            "format": PLAN_FORMAT,
            "digest": self.digest,
            "stack_digest": self.stack_digest,
            "inventory_digest": self.inventory_digest,
            "steps": [step.as_document() for step in self.steps],
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any], where: str) -> Self:
        """Raises UsageProblem where the document is no plan, or was changed after it was made."""
        try:
            if document["format"] != PLAN_FORMAT:
                raise UsageProblem(
                    f"plan format {document['format']} is not known", where=where, expected=str(PLAN_FORMAT)
                )
            plan = cls(
                document["stack_digest"],
                document["inventory_digest"],
                tuple(_step(entry) for entry in document["steps"]),
            )
        except (KeyError, TypeError, ValueError) as fault:
            raise UsageProblem(
                f"this is no plan: {fault}", where=where, hint="make it with: cloudexit plan --out FILE"
            ) from fault
        if plan.digest != document.get("digest"):
            raise UsageProblem(
                "the plan was changed after it was made", where=where, hint="make it anew: cloudexit plan --out"
            )
        return plan


def _step(entry: Mapping[str, Any]) -> Step:
    return Step(
        **{
            **entry,
            "phase": Phase(entry["phase"]),
            "effect": Effect(entry["effect"]),
            "requires": tuple(entry["requires"]),
            "estimate": Estimate.from_document(entry["estimate"]) if entry["estimate"] else None,
        }
    )


def digest_of(document: Mapping[str, Any] | Sequence[Any]) -> str:
    """SHA-256 over the canonical JSON of a document."""
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
