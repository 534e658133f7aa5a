"""A plan and its forecast as one JSON document; its JSON Schema is docs/reference/plan.schema.json."""

from typing import Any, Literal

from migrate.fields import Part
from migrate.figures import Ground
from migrate.forecast.result import Forecast
from migrate.plan import PLAN_FORMAT, Effect, Phase, Plan


class LimitDocument(Part):
    """How long a stretch of work takes if this figure alone holds it up."""

    figure: str
    """Name of the figure: line, disk_write, processor, …"""
    seconds: float
    """Seconds at the median."""
    spread: float
    """The 90th percentile over the median."""
    ground: Ground
    """What it rests on."""
    source: str
    """Where the figure comes from."""
    formula: str
    """How the seconds were reckoned."""


class EstimateDocument(Part):
    """The predicted time of a step."""

    seconds: float
    """The median."""
    p90_seconds: float
    """Nine in ten end within."""
    ground: Ground
    """The weakest of what most of it rests on."""
    formula: str
    """How it was reckoned."""
    source: str
    """Where the figures come from."""
    stretches: tuple[tuple[LimitDocument, ...], ...]
    """Stretches one after the other, each as long as the slowest of its limits."""


class StepDocument(Part):
    """One step of the plan."""

    id: str
    """Its name in this plan."""
    phase: Phase
    """Its phase."""
    kind: str
    """What carries it out."""
    title: str
    """What it does, in words."""
    effect: Effect
    """`read`, `reversible` or `irreversible`."""
    requires: tuple[str, ...]
    """Steps that must be done before."""
    subject: str
    """What it works on: a bucket, a database, a service."""
    estimate: EstimateDocument | None
    """Its predicted time; empty where that cannot be told."""


class PlanDocument(Part):
    """What `cloudexit plan --json` prints, and `--out FILE` keeps."""

    format: Literal[2]
    """Version of this document."""
    digest: str
    """Covers stack, inventory and steps, and nothing else: no times, no counts, no secrets."""
    stack_digest: str
    """Of the manifest."""
    inventory_digest: str
    """Of the inventory."""
    steps: tuple[StepDocument, ...]
    """In an order that satisfies every `requires`."""
    stack: str
    """Path of the manifest."""
    inventory: str
    """Path of the inventory."""
    forecast: Forecast
    """What it takes."""
    holds: tuple[str, ...]
    """Why it must not be carried out as it is; the exit code is 3 where something stands here."""
    exit_code: int
    """0 or 3."""


def plan_document(plan: Plan, forecast: Forecast, stack: str, inventory: str) -> dict[str, Any]:
    """The document, as JSON takes it."""
    holds = forecast.holds
    document = PlanDocument.model_validate({
        **plan.as_document(), "stack": stack, "inventory": inventory, "forecast": forecast, "holds": holds,
        "exit_code": 3 if holds else 0,
    })  # fmt: skip
    assert document.format == PLAN_FORMAT
    return document.model_dump(mode="json")
