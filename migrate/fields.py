"""What the parts of a manifest are made of: durations, names, ports, and a model that refuses unknown keys."""

import re
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

DURATION = re.compile(r"^(\d+(?:\.\d+)?)(ms|s|m|h|d)$")
UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(value: object) -> object:
    """`500ms`, `30s`, `5m`, `2h`, `8d` as seconds; a bare number is seconds."""
    if isinstance(value, str):
        match = DURATION.match(value)
        if not match:
            raise ValueError(f"not a duration: {value!r}; write 500ms, 30s, 5m, 2h or 8d")
        return float(match.group(1)) * UNIT_SECONDS[match.group(2)]
    return value


Seconds = Annotated[float, BeforeValidator(parse_duration), Field(gt=0)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]
Answer = Annotated[str, Field(min_length=8)]
Port = Annotated[int, Field(ge=1, le=65535)]


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
