"""What the models of the configuration are made of: the strict base, and the types that many of them share."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

NAME_LENGTH = 64
# Letters, digits, _ and -: no dot (replicas are NAME.1 …), nothing tmux or a file name would stumble over,
# and not digits alone, which tmux takes for a window's index.
NAME_PATTERN = r"^([A-Za-z_]|[0-9]+[A-Za-z_-])[A-Za-z0-9_-]*$"

Port = Annotated[int, Field(ge=1, le=65535)]
TaskName = Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=NAME_LENGTH)]
NotBlank = Annotated[str, StringConstraints(pattern=r"\S")]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]


class Model(BaseModel):
    """Strict: no unknown keys, no conversions, nothing that is no number."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)
