"""``${VAR}`` and ``${VAR:-default}`` in the strings of the configuration.

The rule a user has to know is one sentence: **``${X}`` is what the task's process sees as X.** So the values
come, the nearest first, from the task's ``env``, its ``env_file``, the project's ``env``, its ``env_file``,
and the environment paneview was started with. A variable that is set nowhere and has no default is an error.

Commands (``command``, ``health_check``, the hooks) are not rewritten: the shell that runs them knows ``${X}``
itself and sees the same values, and replacing text would break ``for f in *; do echo ${f}; done``, single
quotes, and values with spaces or quotes in them. They are only checked for names that nothing sets, by
``undefined_in_command``. ``$X`` without braces is left alone everywhere. ``$${`` stands for a literal ``${``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WORD = re.compile(r"[A-Za-z0-9_]+")
_SPECIAL = re.compile(r"\$\$\{|\$\{|\}")
# Set by the shell itself, or by paneview when it starts the process.
_SET_AT_RUN_TIME = re.compile(
    r"PPID|PWD|OLDPWD|IFS|OPTIND|OPTARG|LINENO|RANDOM|SECONDS|HOSTNAME|UID|EUID|SHELL|SHLVL|REPLY|TMUX.*|TERM"
    r"|BASH.*|FUNCNAME|PIPESTATUS|PANEVIEW_.*"
)
# What may set variables out of sight: sourced files, eval, and here-documents whose quoting is not followed.
_OPAQUE = re.compile(r"(?:^|[\s;&|({])(?:\.|source|eval)\s|<<")


class InterpolationError(ValueError):
    """A ``${…}`` that can't be replaced; ``hint`` says what to write instead."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def interpolate(text: str, values: Mapping[str, str]) -> str:
    """`text` with each ``${VAR}`` and ``${VAR:-default}`` replaced. Raises InterpolationError."""
    if "${" not in text:
        return text
    try:
        result, end = _expand(text, 0, values, nested=False, wanted=True)
    except RecursionError:
        raise InterpolationError("${…} is nested too deeply", "use fewer levels of defaults") from None
    assert end == len(text)
    return result


def _expand(text: str, at: int, values: Mapping[str, str], *, nested: bool, wanted: bool) -> tuple[str, int]:
    """Expand from `at` to the end, or, inside a default, to its closing brace. In a default that is not `wanted`,
    variables may be unset."""
    parts: list[str] = []
    while match := _SPECIAL.search(text, at):
        parts.append(text[at : match.start()])
        at = match.end()
        if match[0] == "$${":
            parts.append("${")
        elif match[0] == "${":
            value, at = _variable(text, at, values, wanted=wanted)
            parts.append(value)
        elif nested:
            return "".join(parts), at
        else:
            parts.append("}")
    if nested:
        raise InterpolationError("a '${' has no closing '}'", "write $${ for a literal ${")
    return "".join([*parts, text[at:]]), len(text)


def _variable(text: str, at: int, values: Mapping[str, str], *, wanted: bool) -> tuple[str, int]:
    match = _NAME.match(text, at)
    after = match.end() if match else at
    if match and text.startswith("}", after):
        if match[0] in values or not wanted:
            return values.get(match[0], ""), after + 1
        raise unset(match[0])
    if match and text.startswith(":-", after):
        value = values.get(match[0])
        default, end = _expand(text, after + 2, values, nested=True, wanted=wanted and not value)
        return value or default, end
    close = text.find("}", at)
    shown = text[at - 2 : close + 1] if close >= 0 else text[at - 2 :]
    if close < 0:
        raise InterpolationError(f"{shown!r} has no closing '}}'", "write $${ for a literal ${")
    raise InterpolationError(
        f"{shown!r} is not understood", "only ${NAME} and ${NAME:-default} are; $${ is a literal ${"
    )


def unset(name: str) -> InterpolationError:
    """The error for a variable nothing sets."""
    hint = f"${{{name}:-default}} gives it a default"
    return InterpolationError(f"${{{name}}} is not set in the environment or an env_file", hint)


def undefined_in_command(command: str, values: Mapping[str, str]) -> list[str]:
    """Names that `command` uses as ``${NAME}`` though nothing sets them: not `values`, not the command
    itself.

    Whatever the command mentions a second time as a bare word (``for NAME in``, ``NAME=``, ``read NAME``)
    counts as set there. A doubt is decided in the command's favour: a check must not refuse what runs.
    """
    if "${" not in command or _OPAQUE.search(command):
        return []
    undefined = []
    for name, start in _braced_names(command):
        if name in values or name in undefined or _SET_AT_RUN_TIME.fullmatch(name):
            continue
        words = (m for m in _WORD.finditer(command) if m[0] == name and m.start() != start)
        if all(command[: word.start()].endswith(("$", "${")) for word in words):
            undefined.append(name)
    return undefined


def _braced_names(command: str) -> Iterator[tuple[str, int]]:
    """Each ``${NAME}`` the shell would expand, with the place of NAME: not in single quotes, not after a
    backslash."""
    quotes = [""]  # the innermost last; `$(` opens a new level in which quotes start afresh
    at = 0
    while at < len(command):
        here = command[at]
        if here == "\\":
            at += 1
        elif here == "'" and quotes[-1] != '"':
            at = command.find("'", at + 1)
            if at < 0:
                return
        elif here == '"':
            quotes[-1] = "" if quotes[-1] else '"'
        elif command.startswith("$(", at):
            quotes.append("")
            at += 1
        elif here == ")" and len(quotes) > 1 and not quotes[-1]:
            quotes.pop()
        elif command.startswith("${", at):
            match = _NAME.match(command, at + 2)
            if match and command.startswith("}", match.end()):
                yield match[0], match.start()
            at += 1
        at += 1
