"""The command line: ``paneview [FILE]`` and its verbs.

A command answers in little more than the time Python takes to start, so nothing is imported before the verb is
known; each family of verbs is a module that is loaded on first use.
"""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper

from paneview.cli.errors import FAILED, CliError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from paneview.cli.parser import Call

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status: 0, 1 failed, 2 bad usage or file, 3 no supervisor."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    as_json = "--json" in arguments
    _open_streams()
    status, call = 0, None
    try:
        try:
            from paneview.cli.verbs import PARSER  # noqa: PLC0415

            call = PARSER.parse(arguments)
            as_json = call.json
            status = _run(call)
        except KeyboardInterrupt:
            status = INTERRUPTED
        except Exception as error:  # noqa: BLE001 - reported, or raised again
            told = _expected(error)
            status = told.status
            _tell(told, call, as_json)
        sys.stdout.flush()
    except OSError as error:
        if not isinstance(error, BrokenPipeError):  # a reader that has gone makes no failure a success
            status = FAILED
            try:  # noqa: SIM105 - contextlib takes longer to load than we do
                print(
                    f"paneview: the output could not be written: {error.strerror or error}", file=sys.stderr
                )
            except OSError:
                pass
        _drop_unwritten()
    return status


def _drop_unwritten() -> None:
    """Leave nothing to Python that it cannot write when it exits: its own exit status for that is 120.

    For standard error, too, where Python 3.13 has begun to care.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _open_streams() -> None:
    """Replace closed standard streams by /dev/null, and have characters that the encoding lacks written as escapes.

    Without a standard error, Python would print errors to standard output, and the next file it opens would get the
    number of a closed stream.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(opened, opened == number)
            setattr(sys, name, open(opened, "w" if number else "r", encoding="utf-8"))  # noqa: SIM115
    if sys.stdout.errors in ("strict", "surrogateescape") and isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _run(call: Call) -> int:
    if call.flag("help") or call.flag("version"):
        from paneview.cli import usage  # noqa: PLC0415

        return usage.show(call)
    from paneview.cli.loading import load  # noqa: PLC0415 - not for help, version and wrong usage

    module, function = call.verb.run.split(":")
    status: int = getattr(load(f"paneview.cli.{module}"), function)(call)
    return status


def _expected(error: Exception) -> CliError:
    """What to report of an error; an unexpected one is raised again."""
    from paneview.cli.failure import explain  # noqa: PLC0415

    told = error if isinstance(error, CliError) else explain(error)
    if told is None:
        raise error
    return told


def _tell(told: CliError, call: Call | None, as_json: bool) -> None:
    """Print the error."""
    from paneview.cli.output import again, clean, print_json  # noqa: PLC0415

    if call is not None:
        told.message, told.hint = again(call, told.message), again(call, told.hint or "")
    if as_json:
        print_json(told.to_json())
    else:
        sys.stdout.flush()
        lines = [*told.message.splitlines(), *([told.hint] if told.hint else [])]
        print("paneview: " + "\n  ".join(clean(line) for line in lines), file=sys.stderr)


__all__ = ["CliError", "UsageError", "main"]
