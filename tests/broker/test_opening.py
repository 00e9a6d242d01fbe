"""From a URL to a broker, and a broker on an event loop."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from paneview.broker import (
    ANY,
    BadUrlError,
    BrokerError,
    Claim,
    NewJob,
    Outcome,
    Target,
    lanes_of,
    new_id,
    open_broker,
)
from paneview.broker.facade import AsyncBroker
from paneview.broker.model import valid_id
from paneview.worker.joining import shown_url
from tests.broker.helpers import submit, take, want
from tests.broker.labs import Lab


class TestUrls:
    def test_sqlite_of_a_project(self, tmp_path: Path) -> None:
        with open_broker("sqlite:", project_dir=tmp_path) as broker:
            submit(broker)
        assert (tmp_path / "queue.db").exists()
        with open_broker(f"sqlite://{tmp_path}/queue.db") as broker:
            assert broker.url == f"sqlite://{tmp_path}/queue.db"
            assert take(broker)

    def test_a_path_may_hold_anything(self, tmp_path: Path) -> None:
        with open_broker(f"sqlite://{tmp_path}/a%20b%3F%23/q.db") as broker:
            submit(broker)
        assert (tmp_path / "a b?#" / "q.db").exists()

    def test_it_can_be_opened_again_by_its_address(self, tmp_path: Path) -> None:
        place = tmp_path / "a b?#%41"
        with open_broker("sqlite:?durable=full", project_dir=place) as broker:
            job = submit(broker)
            address = broker.address
        assert address.endswith("?durable=full")
        with open_broker(address) as again:
            assert again.job(job)

    @pytest.mark.parametrize(
        ("url", "words"),
        [
            ("sqlite:", "outside a project"),
            ("sqlite://queue.db", "three slashes, sqlite:///queue.db"),
            ("sqlite:///q.db?durable=very", "normal or full"),
            ("sqlite:///q.db?durabel=full", "did you mean 'durable'"),
            ("sqllite:///q.db", "did you mean sqlite"),
            ("http://localhost", "no broker is called 'http'"),
            ("dir:", "must be named"),
            ("sqlite:///a%00b", "holds a NUL character"),
            ("dir:///x?interval=0", "interval"),
            ("", "no broker is called ''"),
            ("localhost:6379", "write sqlite:, redis://HOST:PORT or dir:///FOLDER"),
        ],
    )
    def test_what_is_wrong_is_said(self, url: str, words: str) -> None:
        with pytest.raises(BadUrlError, match=words):
            open_broker(url)

    def test_a_password_is_not_shown(self) -> None:
        with pytest.raises(BadUrlError) as error:
            open_broker("postgres://ann:secret@host/db")
        assert "secret" not in str(error.value)
        with pytest.raises(BadUrlError) as error:
            open_broker("redis://ann:secret@host/db?perfix=x")
        assert "secret" not in str(error.value)
        with pytest.raises(BadUrlError, match="percent-encode") as error:
            open_broker("redis://ann:[secret@host/0")
        assert "secret" not in str(error.value)
        assert shown_url("redis://ann:[secret@host/0") == "redis://…"

    def test_only_what_is_used_is_loaded(self, tmp_path: Path) -> None:
        script = (
            "import sys\nfrom paneview.broker import open_broker\n"
            f"open_broker('sqlite://{tmp_path}/q.db').close()\n"
            "print(*(name for name in ('redis', 'msgspec', 'textual', 'aiosqlite') if name in sys.modules))\n"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == ""


class TestNames:
    def test_lanes_of_a_worker(self) -> None:
        assert lanes_of("w1", ["a", "b"], "pi", ["web", "%3"]) == (
            "w:w1", "t:web", "t:%3", "r:a@pi", "r:b@pi", "r:a", "r:b", "h:pi", "any",
        )  # fmt: skip
        assert lanes_of("w1") == ("w:w1", "any")

    def test_lanes_and_targets(self) -> None:
        assert Target.of("any") == ANY
        for lane in ("x:y", "r:", "r:a b", "", "any:"):
            with pytest.raises(BrokerError):
                Target.of(lane)

    def test_ids(self) -> None:
        ids = [new_id() for _ in range(1000)]
        assert len(set(ids)) == 1000
        assert all(map(valid_id, ids))


class TestEventLoop:
    async def test_calls_run_on_threads(self, lab: Lab) -> None:
        queue = AsyncBroker(lab.open(), 2)
        try:
            told = await queue(queue.broker.submit, NewJob("test"))
            (lease,) = await queue(queue.broker.claim, want())
            assert lease.id == told.id
            waiting = asyncio.create_task(queue(queue.broker.wait_result, told.id, 20.0))
            await queue(queue.broker.finish, lease, Outcome(output=1))
            result = await waiting
            assert result
            assert result.output == 1
            with pytest.raises(BrokerError):
                await queue(queue.broker.result, "1_nobody")
        finally:
            await queue.close()

    async def test_closing_ends_the_waits(self, lab: Lab) -> None:
        queue = AsyncBroker(lab.open(), 2)
        waits = [
            asyncio.create_task(queue(queue.broker.claim, Claim("w1", ("any",)), 60.0)),
            asyncio.create_task(queue(queue.broker.events.wait, "", 0.0)),
        ]
        await waits[1]
        await asyncio.wait_for(queue.close(), 20)
        assert await waits[0] == []
