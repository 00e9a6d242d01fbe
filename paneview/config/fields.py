"""What the configuration's models are made of: the strict base class, and the types that many of them share."""

from __future__ import annotations

import sys
from functools import cache
from typing import Annotated, Any

from msgspec import NODEFAULT, Meta, Struct, structs

from paneview.config.names import NAME_LENGTH, NAME_PATTERN

STAND_IN = "__missing__"  # for required text that is missing; it is valid wherever text is required
FINITE = sys.float_info.max  # TOML has inf and nan, which are not lengths of time

Port = Annotated[int, Meta(ge=1, le=65535)]
TaskName = Annotated[str, Meta(pattern=NAME_PATTERN, max_length=NAME_LENGTH)]
NotBlank = Annotated[str, Meta(pattern=r"\S")]
# For fields that may hold a list or a table instead: there, msgspec 0.22 frees a pattern twice, at the program's end.
NotEmpty = Annotated[str, Meta(min_length=1)]
Positive = Annotated[float, Meta(gt=0, le=FINITE)]
NotNegative = Annotated[float, Meta(ge=0, le=FINITE)]


class Model(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Strict: no unknown keys, no conversions."""


def given(table: Model) -> dict[str, Any]:
    """The fields of `table` that the file has set to something other than the default."""
    defaults = _defaults(type(table))
    return {name: value for name, value in structs.asdict(table).items() if value != defaults[name]}


@cache
def _defaults(model: type[Model]) -> dict[str, Any]:
    """The default of each field; for a required one, NODEFAULT, which no value equals."""
    return {
        field.name: field.default if field.default_factory is NODEFAULT else field.default_factory()
        for field in structs.fields(model)
    }
