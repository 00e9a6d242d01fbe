"""What the command line shows people of a task."""

from __future__ import annotations

import pytest

from paneview.cli.output import INKS
from paneview.cli.people import print_health, print_inspect, print_status
from paneview.cli.verbs import PARSER
from paneview.control import looks
from paneview.rules.workflow.model import PhaseStatus, Status
from paneview.tui.workflows.words import FLOW_LOOKS, PHASE_LOOKS


def test_inspect_tells_numbers_as_people_read_them(capsys: pytest.CaptureFixture[str]) -> None:
    print_inspect(
        {
            "name": "web",
            "uptime_s": 3725.873,
            "cpu_percent": 1.8252655091102874,
            "rss_bytes": 24432640,
            "log_end": 10485760,
            "depends_on": ["db", "migrate"],
            "definition": {
                "health_status": [[200, 200], [301, 399]],
                "health_interval": 10.0,
                "log_max_size": 10485760,
                "depends_on": [
                    {"task": "db", "condition": "healthy"},
                    {"task": "x", "condition": "completed"},
                ],
                "hooks": {"before_start": None, "timeout": 60.0},
            },
            "probe": {"ok": True, "duration": 0.006214685003214981},
            "tree": [{"pid": 10, "name": "sh", "rss_bytes": 1671168}],
        }
    )
    shown = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if line]
    told = {key: rest[0] for key, *rest in shown if rest}
    assert (told["uptime_s"], told["cpu_percent"], told["rss_bytes"]) == ("1h02m", "1.8%", "23M")
    assert (told["log_end"], told["log_max_size"]) == ("10485760", "10M")
    assert (told["health_status"], told["health_interval"]) == ("200, 301-399", "10")
    assert told["duration"] == "0.006"
    assert told["depends_on"] == "db (healthy), x (completed)"
    assert told["hooks"] == "before_start=-, timeout=60"
    assert told["10"].split() == ["sh", "2M"]


def test_status_tells_that_the_file_is_not_applied(capsys: pytest.CaptureFixture[str]) -> None:
    why = "/srv/shop/paneview.toml:3:1: unknown key 'comand'\n/srv/shop/paneview.toml:9:1: another"
    status = {"session": "shop", "running": True, "file": "/srv/shop/paneview.toml", "file_problem": why}
    print_status(PARSER.parse(["status"]), status)
    first, hint, *_ = capsys.readouterr().out.splitlines()
    assert first == "✗ the file is not applied: paneview.toml:3:1: unknown key 'comand'"
    assert "paneview check" in hint


def test_health_finds_nothing_the_matter_with_what_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    names = {
        "web": "running",
        "build": "done",
        "shell": "idle",
        "off": "stopped",
        "bad": "failed",
        "db": "starting",
    }
    tasks = [{"name": name, "healthy": name == "web", "state": state} for name, state in names.items()]
    print_health({"tasks": tasks, "healthy_count": 1, "total_count": 6})
    _, *lines, count = capsys.readouterr().out.splitlines()
    assert {line.split()[0]: line.split()[1] for line in lines} == {
        "web": "✓", "build": "-", "shell": "-", "off": "-", "bad": "✗", "db": "✗",
    }  # fmt: skip
    assert count == "1 of 6 healthy"


def test_every_state_of_a_workflow_has_its_look() -> None:
    assert set(looks.FLOWS) == set(Status)
    assert set(looks.PHASES) == set(PhaseStatus)
    roles = {role for _, role in (*looks.FLOWS.values(), *looks.PHASES.values())}
    assert roles == set(INKS)
    assert {"waiting": "needs you", "waiting_approval": "approve?", "queued": "queued"}.items() <= {
        name: look.word for name, look in (*FLOW_LOOKS.items(), *PHASE_LOOKS.items())
    }.items()
