"""The marked block in AGENTS.md and CLAUDE.md that tells an AI agent how this project is run.

It names commands, not tasks: a copied list of tasks would be outdated by the first edit, while commands show what holds
now. Everything outside the marks belongs to others and stays byte for byte; writing the block twice gives the same
bytes as writing it once.
"""

from __future__ import annotations

import re

FILES = ("AGENTS.md", "CLAUDE.md")
TASKMUX_FILES = (*FILES, ".claude/rules/taskmux.md")
TASKMUX_BEGIN = b"<!-- taskmux:start -->"
"""What begins the block that `taskmux init` writes into these."""
BEGIN, END = "<!-- paneview:begin -->", "<!-- paneview:end -->"
_BLOCK = re.compile(  # a begin without its end is text like any other
    rb"%b(?:(?!%b).)*?%b" % (re.escape(BEGIN.encode()), re.escape(BEGIN.encode()), re.escape(END.encode())),
    re.DOTALL,
)
_TEXT = """\
## Running this project

Its servers, builds and other long-running processes are tasks of `paneview` (in `{file}`). Do not start them
yourself: have paneview do it, so that they are supervised, logged, and never started twice.

- `paneview status --json`: every task and its state now. `paneview inspect NAME --json`: all about one.
- `paneview start [NAME] --wait`: returns once it is ready. `restart NAME`, `stop NAME`: return when it is done.
- `paneview logs NAME -n 100`, `-g TEXT`, `--since 5m`: output, of earlier runs too.
- `paneview events --task NAME --since 1h`: what happened to it, and why.
- `paneview check` after an edit of `{file}`; `paneview COMMAND --help` for the rest.

`--json` works everywhere. Exit status: 0 done, 1 failed, 2 bad usage or file, 3 no supervisor (`paneview start`).
"""


def block(file_name: str) -> str:
    """The block, marks included, for a project whose configuration is `file_name`."""
    return f"{BEGIN}\n{_TEXT.format(file=file_name)}{END}"


def with_block(content: bytes, file_name: str) -> bytes:
    """`content` with the block in place of an old one, else at its end. Raises ValueError if it is not text."""
    if b"\0" in content:
        raise ValueError("is not UTF-8 text")
    old = _BLOCK.search(content)
    # A block keeps its own line ends. Looking before it as well could find a CRLF made of a lone CR and our newline.
    line_end = "\r\n" if b"\r\n" in (old[0] if old else content) else "\n"
    text = block(file_name).replace("\n", line_end).encode()
    if old:
        return _BLOCK.sub(lambda _: text, content)
    end = line_end.encode()
    gap = next(gap for gap in (b"", end, 2 * end) if not content or (content + gap).endswith(2 * end))
    return content + gap + text + end
