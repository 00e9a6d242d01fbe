from __future__ import annotations

import random
from pathlib import Path

import pytest

from paneview.tmux.control import ControlClient
from paneview.tmux.quote import command, literal_format, literal_job, quote
from tests.tmux.conftest import Bench

ODD = [
    "",
    " ",
    "~",
    "~root",
    "$HOME ${HOME}",
    "a;b",
    ";",
    "a \\; b",
    "'",
    "''\"''",
    "\\",
    "\\\\n",
    "trailing\\",
    "line one\nline two\n",
    "\n",
    "\r\n\t\x0b\x1b[31m",
    "#{pid} #(date) %H",
    "{ not a block }",
    "-n",
    "a=b",
    "%1 @2 $3",
    "Grüße 日本 🎉",
    "# comment",
    "x" * 200_000,
]


@pytest.fixture
def client(bench: Bench) -> ControlClient:
    assert bench.session._client
    return bench.session._client


async def test_every_text_arrives_as_it_is(client: ControlClient, tmp_path: Path) -> None:
    """Through tmux's parser into a buffer, and out of it into a file."""
    dice = random.Random(20)
    alphabet = [chr(n) for n in range(1, 0x180)] + list("'\"\\;#{}$~\n" * 20)
    texts = ODD + ["".join(dice.choices(alphabet, k=dice.randrange(1, 40))) for _ in range(200)]
    out = tmp_path / "a 'b"
    for text in texts:
        await client.send(
            command("set-buffer", "-b", "odd", "--", f"[{text}]"),
            command("save-buffer", "-b", "odd", str(out)),
        )
        assert out.read_bytes().decode() == f"[{text}]"


def test_a_nul_is_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        quote("a\0b")


@pytest.mark.parametrize("text", ["#{pid} ## # #(date) #H", "#", "##", "###S", "a#[b]", "##[x", "#####[ #"])
async def test_formats_are_shown_as_text(client: ControlClient, text: str) -> None:
    (answer,) = await client.send(command("display-message", "-p", literal_format(text)))
    assert answer == text


def test_a_job_doubles_what_tmux_expands() -> None:
    assert literal_job("cat > 'a#b%H'") == "cat > 'a##b%%H'"
