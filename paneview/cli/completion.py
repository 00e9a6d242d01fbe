"""Shell completion. The scripts know nothing: they ask ``paneview __complete`` for the words that fit.

Candidates come from the table of verbs; task names come from the running supervisor or, when none runs, from the file
itself, read as bare TOML, so that a file with a mistake still completes. The file may be a stranger's, so no shell ever
expands what it says: bash reads the words line by line, since ``compgen -W`` would run commands in them (and bash 3.2
of macOS has no ``mapfile``), and names that no task can have are not offered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paneview.cli import place
from paneview.cli.errors import CliError, UsageError
from paneview.cli.output import print_json
from paneview.control.errors import ControlError, NoSupervisor

if TYPE_CHECKING:
    from paneview.cli.parser import Call, Option, Verb

_SCRIPTS = {
    "bash": r"""
_paneview() {
    local found word
    found=$(paneview __complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    if [ "$found" = "FILES" ]; then
        word=${COMP_WORDS[COMP_CWORD]}
        found=$(compgen -f -- "${word#=}")
    fi
    COMPREPLY=()
    while IFS= read -r word; do
        if [ -n "$word" ]; then
            COMPREPLY+=("$word")
        fi
    done <<< "$found"
}
complete -o filenames -F _paneview paneview
""",
    "zsh": r"""
#compdef paneview
_paneview() {
    local -a found
    found=("${(@f)$(paneview __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ "$found" == FILES ]]; then
        _files
    else
        compadd -a found
    fi
}
compdef _paneview paneview
""",
    "fish": r"""
function __paneview_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l found (paneview __complete -- $words[2..-1] 2>/dev/null)
    if test "$found" = FILES
        __fish_complete_path (commandline -ct)
    else
        printf '%s\n' $found
    end
end
complete -c paneview -f -a '(__paneview_complete)'
""",
}


def completion(call: Call) -> int:
    """Print the script for a shell."""
    shell = call.words[0]
    if shell not in _SCRIPTS:
        raise UsageError(f"there is no completion for {shell!r}", f"there is one for {', '.join(_SCRIPTS)}")
    script = _SCRIPTS[shell].lstrip()
    if call.json:
        print_json({"ok": True, "shell": shell, "script": script})
    else:
        print(script, end="")
    return 0


def candidates(call: Call) -> int:
    """Print the candidates for the last of the given words, one per line; FILES leaves them to the shell."""
    for word in complete(call.words or [""]):
        print(word)
    return 0


def complete(words: list[str]) -> list[str]:
    """The candidates for the last of `words`; the words before it are complete."""
    from paneview.cli.verbs import OPEN, PARSER  # noqa: PLC0415

    *before, last = _without_equals(words)
    verb, count, pending = _read(before)
    if pending is not None:
        return _values(pending.complete, last, before)
    if last.startswith("-"):
        options = [name for option in PARSER.options(verb) if not option.hidden for name in option.names]
        return _starting(options, last)
    if verb is OPEN and count == 0:
        names = [name for each in PARSER.load_all() if not each.hidden for name in (each.name, *each.aliases)]
        return _starting(names, last) or ["FILES"]
    if verb.subs:
        return _starting(list(verb.subs), last)
    if verb.most is not None and count >= verb.most:
        return []
    return _values(verb.complete, last, before)


def _without_equals(words: list[str]) -> list[str]:
    """The words with ``--file x`` for ``--file=x``, which bash hands on as three."""

    def joins(at: int) -> bool:
        return at > 0 and words[at] == "=" and words[at - 1].startswith("--")

    kept = [word for at, word in enumerate(words) if not joins(at)]
    return [*kept, ""] if joins(len(words) - 1) else kept


def _read(before: list[str]) -> tuple[Verb, int, Option | None]:
    """The verb, the number of its words, and the option whose value comes next, if any."""
    from paneview.cli.verbs import OPEN, PARSER  # noqa: PLC0415

    verb, count, pending = OPEN, 0, None
    for word in before:
        if pending is not None:
            pending = None
        elif word.startswith("-"):
            known = (option for option in PARSER.options(verb) if word in option.names and option.metavar)
            pending = next(known, None)
        elif verb is OPEN and count == 0 and (found := PARSER.find(word)):
            verb = found
        elif word in verb.subs:
            verb = verb.subs[word]
        else:
            count += 1
    return verb, count, pending


def _values(kind: str, last: str, before: list[str]) -> list[str]:
    from paneview.cli.verbs import PARSER  # noqa: PLC0415

    if kind == "file":
        return ["FILES"]
    if kind == "task":
        return _starting([name for name in _task_names(before) if name not in before], last)
    if kind == "event":
        from paneview.control.kinds import KINDS  # noqa: PLC0415 - only where a kind is completed

        return _starting(list(KINDS), last)
    if kind == "verb":
        return _starting([verb.name for verb in PARSER.load_all() if not verb.hidden], last)
    return _starting(kind.split(), last)


def _starting(words: list[str], last: str) -> list[str]:
    return [word for word in words if word.startswith(last)]


def _task_names(before: list[str]) -> list[str]:
    from paneview.cli.verbs import PARSER  # noqa: PLC0415

    try:
        here = place.find(PARSER.parse([*before, "--help"]))  # --help: the words need not be complete
    except CliError:
        return []
    try:
        return [task["name"] for task in here.ask("status", timeout=1.0)["tasks"]]
    except (NoSupervisor, ControlError):
        return [name for name in names_in_file(here.file) if _may_name_a_task(name)]


def _may_name_a_task(name: str) -> bool:
    import re  # noqa: PLC0415 - loaded by now: tomllib, which has read the file, imports it

    from paneview.config.names import NAME_LENGTH, NAME_PATTERN  # noqa: PLC0415

    return len(name) <= NAME_LENGTH and re.search(NAME_PATTERN, name) is not None


def names_in_file(file: str) -> list[str]:
    """The names of a file's tasks, even if it has mistakes; empty if it is not TOML."""
    import tomllib  # noqa: PLC0415

    try:
        with open(file, "rb") as content:
            tasks = tomllib.load(content).get("tasks")
    except (OSError, ValueError, RecursionError):
        return []
    return list(tasks) if isinstance(tasks, dict) else []
