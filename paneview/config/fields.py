"""What the models of the configuration are made of: the strict base, and the types that many of them share."""

from __future__ import annotations

import sys
from functools import cache
from typing import Annotated, Any

from msgspec import NODEFAULT, Meta, Struct, structs

from paneview.config.names import NAME_LENGTH, NAME_PATTERN

STAND_IN = "__missing__"  # for text that is required and not there: it fits wherever one is
FINITE = sys.float_info.max  # TOML knows inf and nan, which are no length of time

Port = Annotated[int, Meta(ge=1, le=65535)]
TaskName = Annotated[str, Meta(pattern=NAME_PATTERN, max_length=NAME_LENGTH)]
NotBlank = Annotated[str, Meta(pattern=r"\S")]
# For where a list or a table may stand instead: msgspec 0.22 frees a pattern there twice, at the program's end.
NotEmpty = Annotated[str, Meta(min_length=1)]
Positive = Annotated[float, Meta(gt=0, le=FINITE)]
NotNegative = Annotated[float, Meta(ge=0, le=FINITE)]


class Model(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Strict: no unknown keys, no conversions, nothing that is no number."""


def given(table: Model) -> dict[str, Any]:
    """What the file says in `table` and is not the default."""
    defaults = _defaults(type(table))
    return {name: value for name, value in structs.asdict(table).items() if value != defaults[name]}


@cache
def _defaults(model: type[Model]) -> dict[str, Any]:
    """What each field is if the file is silent; of one that is required, something it never is."""
    return {
        field.name: field.default if field.default_factory is NODEFAULT else field.default_factory()
        for field in structs.fields(model)
    }
