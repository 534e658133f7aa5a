"""CloudWatch: the newest value of each of many series."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from migrate.adapters.aws_account.answers import NotSeen
from migrate.adapters.aws_account.reader import ODD, Look, another_shape

METRIC_DATA = {"cloudwatch.get_metric_data": "cloudwatch:GetMetricData"}
QUERIES = 500
"""At most so many in one GetMetricData."""
TOLD = ("Complete", "PartialData")


@dataclass(frozen=True)
class Series:
    """One metric of one thing."""

    namespace: str
    metric: str
    dimensions: tuple[tuple[str, str], ...]

    def dimension(self, name: str) -> str:
        return dict(self.dimensions).get(name, "")


@dataclass(frozen=True)
class Value:
    value: int
    at: datetime


@dataclass(frozen=True)
class Every:
    """How often a value comes, and how far back to look for the newest, in seconds."""

    seconds: int
    back: int


def newest(
    look: Look, region: str, series: Sequence[Series], every: Every, about: str
) -> tuple[dict[Series, Value], set[Series]]:
    """Newest value of each series that has one, and the series that were refused; a refusal is noted."""
    found: dict[Series, Value] = {}
    refused: set[Series] = set()
    waiting = iter(series)
    while some := list(islice(waiting, QUERIES)):
        try:
            for result in _results(look, region, some, every):
                one = some[int(result["Id"][1:])]
                if result.get("StatusCode", TOLD[0]) not in TOLD:
                    refused.add(one)
                elif result["Values"]:
                    found.setdefault(one, Value(int(result["Values"][0]), result["Timestamps"][0].astimezone(UTC)))
        except (NotSeen, *ODD) as problem:
            blind = problem if isinstance(problem, NotSeen) else another_shape(problem, look.last_action)
            look.note(blind, about, region=region)
            return found, refused | {*some, *waiting}
    return found, refused


def moment(at: datetime) -> str:
    """ISO 8601, UTC."""
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _results(look: Look, region: str, some: Sequence[Series], every: Every) -> Iterator[Mapping[str, Any]]:
    """Results of all pages. Raises NotSeen."""
    now = datetime.now(UTC)
    asked: dict[str, Any] = {
        "MetricDataQueries": [_query(f"m{index}", one, every) for index, one in enumerate(some)],
        "StartTime": now - timedelta(seconds=every.back), "EndTime": now, "ScanBy": "TimestampDescending",
    }  # fmt: skip
    following = ""
    while True:
        token = {"NextToken": following} if following else {}
        answer = look.ask("cloudwatch.get_metric_data", region=region, **asked, **token)
        yield from answer["MetricDataResults"]
        if answer.get("NextToken") in (None, "", following):
            return
        following = answer["NextToken"]


def _query(name: str, one: Series, every: Every) -> dict[str, Any]:
    dimensions = [{"Name": name, "Value": value} for name, value in one.dimensions]
    metric = {"Namespace": one.namespace, "MetricName": one.metric, "Dimensions": dimensions}
    return {"Id": name, "MetricStat": {"Metric": metric, "Period": every.seconds, "Stat": "Average"}}
