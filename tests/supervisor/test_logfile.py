"""The supervisor's log is written on another thread, and not too late."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from paneview.supervisor.process import logfile
from tests.harness import wait_until


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "supervisor.log"


@pytest.fixture
def logger(file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[logging.Logger]:
    monkeypatch.setattr(logfile, "GATHER", 3600.0)
    logger = logging.Logger("test")  # noqa: LOG001 - one that nobody else has
    background = logfile.ThreadedHandler(logging.FileHandler(file))
    logger.addHandler(background)
    yield logger
    background.close()


def test_a_warning_and_all_before_it_is_written_at_once(logger: logging.Logger, file: Path) -> None:
    logger.info("one")
    assert not file.read_text()
    logger.warning("two")
    wait_until(lambda: file.read_text() == "one\ntwo\n")
    logger.info("three")
    logger.error("four")
    wait_until(lambda: file.read_text() == "one\ntwo\nthree\nfour\n")


def test_the_last_words_are_written(logger: logging.Logger, file: Path) -> None:
    logger.info("one")
    logger.info("two")
    logger.handlers[0].close()
    assert file.read_text() == "one\ntwo\n"


def test_what_gathers_is_written_after_a_while(
    logger: logging.Logger, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logfile, "GATHER", 0.01)
    logger.info("one")
    wait_until(lambda: file.read_text() == "one\n")


def test_what_is_said_again_and_again_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    logger = logging.Logger("test")  # noqa: LOG001 - one that nobody else has
    logger.addFilter(logfile.Repeats())
    handler = logging.Handler()
    handler.emit = lambda record: told.append(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    for word in ("full", "full", "empty", "full", "full"):
        logger.error("it is %s", word)
    assert told == ["it is full", "it is empty", "it is full"]
    monkeypatch.setattr(logfile, "SAME", 0.0)
    logger.error("it is %s", "over")
    logger.error("it is %s", "over")
    assert told[3:] == ["it is over", "it is over"]
