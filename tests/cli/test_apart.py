"""Each command that needs nothing running, once as a process of its own.

Those that need a supervisor are run one after the other in `tests/test_readme.py` and `tests/cli/test_live.py`. So
every command is run at least once outside a test's process (see `tests/cli/support.py`).
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from paneview.cli.shapes import SHAPES
from paneview.cli.verbs import PARSER
from tests.cli.support import Done, apart, check_shape, run

if TYPE_CHECKING:
    from pathlib import Path

# Exit status and words. Each output is checked against its documented shape; JOB is the first job that was submitted.
LINES = """
0 submit --host nowhere a word
0 dispatch any ping --priority 3
0 jobs --state queued
1 result JOB --wait --timeout 10ms
0 cancel JOB
0 job JOB
0 dlq list
0 queue
0 workers
0 hosts
1 broadcast ping
1 dispatch-role cook ping
1 unquarantine cook
0 runner list
0 service worker --role cook
0 workflows
1 workflow status none-1
1 workflow-status none-1
1 workflow-teardown
3 scale web 2
"""
# Each is run as a process by the tests of what it does.
IN_THE_README = "check start status logs events inspect restart stop kill attach export down"
IN_TEST_LIVE = "health logs-clean add remove reload daemon completion watch"
ELSEWHERE = "init schema __complete worker watchdog ask workflow-setup"


def test_every_command_of_the_queue_and_of_workflows_as_a_process(project: Path) -> None:
    typed: dict[str, Done] = {}
    job = ""
    for line in LINES.split("\n")[1:-1]:
        status, *words = shlex.split(line.replace("JOB", job))
        done = apart(*words, "--json", cwd=project)
        assert (done.status, done.err) == (int(status), ""), (line, done)
        if done.status == 0:
            check_shape(SHAPES[words[0]], done.json)
        else:
            assert done.json["ok"] is False
        job = job or done.json["id"]
        typed[words[0]] = done
    assert run("job", job, "--json", cwd=project) == typed["job"]
    elsewhere = {*IN_THE_README.split(), *IN_TEST_LIVE.split(), *ELSEWHERE.split()}
    assert {*typed, *elsewhere} == {verb.name for verb in PARSER.load_all()}
