"""What is the Redis broker's alone: a server that goes away, lost replies, memory, rights, clusters, sentinels."""

from __future__ import annotations

import os
import select
import shutil
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import exceptions

from paneview.broker import (
    BadUrlError,
    Broker,
    BrokerError,
    Claim,
    JobFilter,
    JobState,
    NewJob,
    Outcome,
    Registration,
    Settings,
    UnavailableError,
    Verdict,
    open_broker,
)
from paneview.broker.redis import opening
from paneview.broker.redis.broker import RedisBroker
from paneview.broker.redis.link import Link, packed
from paneview.cli.shapes import SHAPES
from tests.broker.helpers import Later, fail, state, submit, take, want, worker_of
from tests.broker.labs import SETTINGS, RedisLab, opened
from tests.broker.servers import RedisServer, redis_server
from tests.cli.support import check_shape, run
from tests.harness import free_port, wait_until


@pytest.fixture
def lab(server: RedisServer) -> Iterator[RedisLab]:
    with opened(RedisLab(server)) as one:
        assert isinstance(one, RedisLab)
        yield one


@pytest.fixture
def broker(lab: RedisLab) -> RedisBroker:
    one = lab.open()
    assert isinstance(one, RedisBroker)
    return one


def told_of(call: Callable[[], object]) -> str:
    """Why the server does not answer; nothing if it does."""
    try:
        call()
    except UnavailableError as error:
        return str(error).partition("does not answer: ")[2]
    return ""


def impatient(broker: Broker, patience: float = 0.2) -> RedisBroker:
    """It gives up soon."""
    assert isinstance(broker, RedisBroker)
    broker._link.patience = patience
    return broker


class Lossy:
    """A link whose next replies are lost: the command is done, the connection breaks before the answer."""

    def __init__(self, link: Link) -> None:
        self._ask = link.ask
        self.lose = 0

    def ask(self, *command: str | float) -> Any:
        told = self._ask(*command)
        if self.lose:
            self.lose -= 1
            raise exceptions.ConnectionError("Connection closed by server.")
        return told


@pytest.fixture
def lossy(broker: RedisBroker, monkeypatch: pytest.MonkeyPatch) -> Lossy:
    one = Lossy(broker._link)
    monkeypatch.setattr(broker._link, "ask", one.ask)
    return one


class TestLostReplies:
    def test_of_a_submit(self, broker: RedisBroker, lossy: Lossy) -> None:
        lossy.lose = 1
        id_ = submit(broker)
        assert [lease.id for lease in broker.claim(want(n=5))] == [id_]

    def test_of_a_claim(self, broker: RedisBroker, lossy: Lossy) -> None:
        ids = [submit(broker) for _ in range(5)]
        held = take(broker)
        lossy.lose = 1
        leases = broker.claim(want(n=2))
        assert [lease.id for lease in leases] == ids[1:3], (
            "what the first try leased, not two more, nor what it held"
        )
        assert {lease.token for lease in leases} == {1}
        lossy.lose = 1
        lease = broker.take(ids[3], want())
        assert lease
        assert lease.token == 1
        assert broker.renew([held, *leases, lease]) == ["held"] * 4
        assert broker.stats()[0].queued == 1

    def test_of_a_claim_that_was_given_up(self, broker: RedisBroker, lossy: Lossy) -> None:
        """The server was away for longer than a call is repeated; the next call gets what that one was to get."""
        ids = [submit(broker) for _ in range(3)]
        broker._link.patience = 0.0
        lossy.lose = 1
        with pytest.raises(UnavailableError):
            broker.claim(want())
        lease = take(broker)
        assert (lease.id, lease.token) == (ids[0], 1)
        lossy.lose = 1
        with pytest.raises(UnavailableError):
            broker.finish(lease, Outcome(), claim=want())
        told = broker.finish(lease, Outcome(), claim=want())
        assert told.verdict is Verdict.ALREADY
        assert [(each.id, each.token) for each in told.leases] == [(ids[1], 1)]
        lossy.lose = 1
        with pytest.raises(UnavailableError):
            broker.take(ids[2], want())
        last = broker.take(ids[2], want())
        assert last
        assert last.token == 1

    def test_of_a_claim_that_found_nothing(self, broker: RedisBroker, lossy: Lossy) -> None:
        lossy.lose = 1
        assert broker.claim(want()) == []

    def test_of_a_finish_with_all_that_goes_with_it(self, broker: RedisBroker, lossy: Lossy) -> None:
        submit(broker)
        lease = take(broker)
        following = submit(broker)
        lossy.lose = 1
        follow_up = NewJob("test")
        told = broker.finish(lease, Outcome(), follow_ups=[follow_up], claim=want())
        assert told.verdict is Verdict.ALREADY
        assert [each.id for each in told.leases] == [following]
        assert [each.id for each in broker.claim(want(n=5))] == [follow_up.id]

    def test_of_a_failure_a_release_and_a_cancel(self, broker: RedisBroker, lossy: Lossy) -> None:
        id_ = submit(broker)
        lossy.lose = 1
        assert fail(broker, take(broker), retry_in=0.0).verdict in (Verdict.ALREADY, Verdict.ACCEPTED)
        lease = take(broker)
        lossy.lose = 1
        broker.release(lease)
        assert state(broker, id_) == "queued"
        lossy.lose = 1
        broker.cancel(id_)
        assert state(broker, id_) == "cancelled"


class Name(socketserver.ThreadingTCPServer):
    """A name that leads to one server, and to another one later."""

    daemon_threads = True
    leads_to: int


class Way(socketserver.BaseRequestHandler):
    """A connection through it."""

    server: Name

    def handle(self) -> None:
        with socket.create_connection(("127.0.0.1", self.server.leads_to)) as far:
            ends = {self.request: far, far: self.request}
            while True:
                for one in select.select(list(ends), [], [])[0]:
                    if not (data := one.recv(65536)):
                        return
                    ends[one].sendall(data)


@contextmanager
def leading_to(port: int) -> Iterator[Name]:
    """A name for the time of a block."""
    with Name(("127.0.0.1", 0), Way) as name:
        name.leads_to = port
        thread = threading.Thread(target=name.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield name
        finally:
            name.shutdown()
            thread.join()


def looked_at(lab: RedisLab, ids: list[str]) -> None:
    """Whoever opens a queue on a server that takes no writes sees all the same what is in it."""
    other = lab.open()
    assert {each.id for each in other.jobs(JobFilter())} == set(ids)
    assert [(lane.queued, lane.leased) for lane in other.stats()] == [(1, 1)]
    assert [view.quarantined for view in other.workers.all()] == [True]
    assert other.events.tail().events


class TestAway:
    @pytest.fixture
    def own(self) -> Iterator[RedisServer]:
        # Else what a busy disk keeps waiting is lost, as the server's manual says of its default.
        with redis_server("--appendfsync", "always") as server:
            yield server

    def test_a_call_waits_for_a_server_that_comes_back(self, own: RedisServer) -> None:
        with opened(RedisLab(own)) as lab:
            broker = lab.open()
            first = submit(broker)
            own.kill()
            later = Later(lambda: submit(broker))
            own.start()
            assert {first, later.result()} == {lease.id for lease in broker.claim(want(n=5))}

    def test_then_says_so(self, own: RedisServer) -> None:
        with opened(RedisLab(own)) as lab:
            broker = impatient(lab.open())
            id_ = submit(broker)
            lease = take(broker)
            own.kill()
            began = time.monotonic()
            calls = [
                lambda: submit(broker),
                lambda: broker.claim(want(), wait=0.5),
                lambda: broker.renew([lease]),
                lambda: broker.finish(lease, Outcome()),
                lambda: broker.job(id_),
                broker.events.read,
            ]
            for call in calls:
                with pytest.raises(
                    UnavailableError, match=rf"Redis at 127\.0\.0\.1:{own.port} does not answer"
                ):
                    call()
            assert time.monotonic() - began < 15
            own.start()
            assert broker.finish(lease, Outcome()).verdict is Verdict.ACCEPTED

    def test_a_sleeper_wakes_to_a_server_that_was_away(self, own: RedisServer) -> None:
        with opened(RedisLab(own)) as lab:
            broker, other = lab.open(), lab.open()
            waiting = Later(lambda: broker.claim(want(), wait=30.0))
            end = time.monotonic() + 0.2
            wait_until(lambda: time.monotonic() > end)
            own.kill()
            own.start()
            id_ = submit(other)
            assert [lease.id for lease in waiting.result()] == [id_]

    def test_a_connection_that_may_hold_half_an_answer_is_nobodys_next(
        self, broker: RedisBroker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        given_back: list[Any] = []

        class Spare(list[Any]):
            def append(self, connection: Any) -> None:
                given_back.append(connection)
                super().append(connection)

        submit(broker)
        link = broker._link
        (connection,) = link._spare = Spare(link._spare)
        with monkeypatch.context() as patched:
            patched.setattr(connection, "read_response", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                link.ask("ECHO", "half")
        assert given_back == []
        assert link.ask("ECHO", "whole") == "whole"
        assert given_back == link._spare

    def test_events_go_on_after_the_server_forgot_them(
        self, broker: RedisBroker, lab: RedisLab, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for _ in range(5):
            submit(broker)
        cursor = broker.events.tail().cursor
        assert broker.events.wait(cursor, 0.01).cursor == cursor
        lab.server.forget()
        for follow in (broker.events.read, lambda place: broker.events.wait(place, 0.01)):
            submit(broker)
            page = follow(cursor)
            assert int(page.cursor) < int(cursor)
            id_ = submit(broker)
            assert [event.job for event in follow(page.cursor).events] == [id_]
        monkeypatch.setattr("paneview.broker.redis.feed.SLICE", 0.02)
        waiting = Later(lambda: broker.events.wait(cursor, 2.0))
        lab.server.forget()
        later = time.monotonic() + 0.1  # whoever waits already finds out by itself
        wait_until(lambda: time.monotonic() > later)
        id_ = submit(broker)
        assert [event.job for event in waiting.result().events] == [id_]

    @pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the system cannot do it")
    def test_a_connection_that_is_dead_without_a_word_is_given_up_in_time(self, broker: RedisBroker) -> None:
        submit(broker)
        (connection,) = broker._link._spare
        waits = connection._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
        assert 0 < waits < opening.PATIENCE * 1000 / 2

    def test_nobody_listens(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("paneview.broker.redis.opening.PATIENCE", 0.1)
        port = free_port()
        with pytest.raises(UnavailableError, match=rf"localhost:{port} does not answer"):
            open_broker(f"redis://localhost:{port}")

    def test_a_full_server_is_told_and_nothing_is_half_done(self) -> None:
        with redis_server() as server, opened(RedisLab(server)) as lab:
            broker = lab.open()
            ids = [submit(broker), submit(broker)]
            lease = take(broker)
            broker.workers.register(Registration("w1", "web"))
            broker.workers.quarantine("web", "it died too often")
            with server.client as client:
                client.config_set("maxmemory", "1mb")
            calls = [
                lambda: submit(broker),
                lambda: broker.claim(want()),
                lambda: broker.finish(lease, Outcome()),
                lambda: broker.release(lease),
                lambda: broker.cancel(ids[1]),
            ]
            for call in calls:
                with pytest.raises(UnavailableError, match=r"takes nothing: .*maxmemory"):
                    call()
            assert [state(broker, each) for each in ids] == ["leased", "queued"]
            lab.check()
            looked_at(lab, ids)
            with server.client as client:
                client.config_set("maxmemory", "100mb")
                client.replicaof("127.0.0.1", "1")
                looked_at(lab, ids)
                client.replicaof("NO", "ONE")
            told = broker.finish(lease, Outcome(), claim=want())
            assert (told.verdict, [each.id for each in told.leases]) == (Verdict.ACCEPTED, [ids[1]])

    def test_leases_that_ran_out_while_it_was_restarted_can_be_renewed(self) -> None:
        """Others that find it first must not take the jobs under way."""
        with redis_server() as server, opened(RedisLab(server)) as lab:
            holder, other = lab.open(), lab.open()
            lost, held = submit(holder), submit(holder)
            take(holder, "dead")
            lease = take(holder)
            server.kill()
            server.start()
            lab.age(100.0)
            assert other.claim(want("w2", n=5)) == []
            assert other.reap().expired == ()
            assert holder.renew([lease]) == ["held"]
            lab.age(59.0)
            assert holder.renew([lease]) == ["held"]
            lab.age(1.0)
            assert [each.id for each in other.claim(want("w2", n=5))] == [lost]
            assert state(holder, held) == "leased"

    def test_a_name_that_leads_to_another_master_is_followed(self, lab: RedisLab) -> None:
        """The old one goes on as a replica, and keeps its connections."""
        with (
            redis_server() as other,
            leading_to(lab.server.port) as name,
            open_broker(
                f"redis://127.0.0.1:{name.server_address[1]}/0?prefix=lab", settings=SETTINGS
            ) as broker,
            lab.server.client as client,
        ):
            submit(broker)
            assert len(broker.jobs(JobFilter())) == 1
            name.leads_to = other.port
            client.replicaof("127.0.0.1", "1")
            try:
                id_ = submit(broker)
                assert [job.id for job in broker.jobs(JobFilter())] == [id_]
                assert {event.job for event in broker.events.tail().events} == {id_}
            finally:
                client.replicaof("NO", "ONE")

    def test_a_script_of_somebody_else_that_takes_long_is_waited_for(self) -> None:
        """A worker that met an error for good would end."""
        with redis_server("--lua-time-limit", "50") as server, opened(RedisLab(server)) as lab:
            broker = impatient(lab.open())
            job = submit(broker)
            with server.client as client, server.client as killer:
                endless = Later(lambda: client.eval("while true do end", 0))
                wait_until(lambda: told_of(lambda: broker.claim(Claim("w2", ("r:none",)))).startswith("BUSY"))
                patient = Later(lambda: lab.open().claim(want()))
                killer.script_kill()
                assert [lease.id for lease in patient.result()] == [job]
                with pytest.raises(exceptions.ResponseError, match="killed"):
                    endless.result()

    @pytest.mark.parametrize(
        ("code", "told"),
        [
            ("OOM command not allowed when used memory > 'maxmemory'.", "takes nothing: OOM command"),
            ("MISCONF Redis is configured to save RDB snapshots", "takes nothing: MISCONF"),
            ("READONLY You can't write against a read only replica.", "does not answer: READONLY"),
        ],
    )
    def test_what_servers_before_7_say_within_the_error_of_a_script(self, code: str, told: str) -> None:
        def act(_again: bool) -> None:
            raise exceptions.ResponseError(
                f"Error running script (call to f_bd25): @user_script:272: @user_script: 272: -{code}"
            )

        with pytest.raises(UnavailableError, match=told):
            Link(None, "p", "host", 0.0).patiently(act)  # type: ignore[arg-type]


class TestSetUp:
    def test_eviction_and_forgetfulness_are_warned_about(self) -> None:
        server = redis_server("--maxmemory-policy", "allkeys-lru", "--appendonly", "no")
        with server as one, open_broker(f"redis://127.0.0.1:{one.port}") as broker:
            evicts, forgets = broker.warnings
        assert "maxmemory-policy allkeys-lru" in evicts
        assert "set maxmemory-policy noeviction" in evicts
        assert "set appendonly yes" in forgets

    def test_every_key_has_the_prefix_and_the_same_slot(self, broker: RedisBroker, lab: RedisLab) -> None:
        assert broker.warnings == ()
        submit(broker, key="k", group="g")
        broker.finish(take(broker), Outcome())
        broker.flags.set("a", "b", {})
        with lab.server.client as client:
            assert all(key.startswith("{lab}:") for key in client.keys("*"))
        with open_broker(lab.url.replace("prefix=lab", "prefix=other")) as other:
            assert other.jobs(JobFilter()) == []
        lab.server.forget()

    def test_an_acl_can_be_as_narrow_as_the_prefix(self, lab: RedisLab) -> None:
        with lab.server.client as client:
            client.execute_command(
                "ACL", "SETUSER", "ann", "on", ">secret", "~{lab}:*", "&*", "+@all", "-@admin"
            )
        url = lab.url.replace("redis://", "redis://ann:secret@")
        with open_broker(url, settings=SETTINGS) as broker:
            assert "secret" not in broker.url
            submit(broker)
            broker.finish(take(broker), Outcome())
            assert len(broker.events.read().events) == 3
        with pytest.raises(BrokerError, match="refuses"):
            open_broker(url.replace("prefix=lab", "prefix=other"))
        with pytest.raises(BrokerError, match="refuses"):
            open_broker(url.replace("secret", "wrong"))

    @pytest.mark.parametrize(
        ("url", "words"),
        [
            ("redis://h:1/x", "/x is not the number"),
            ("redis://h:x/0", "h:x"),
            ("redis://h?prefix={}", "prefix"),
            ("redis://h?perfix=a", "did you mean 'prefix'"),
            ("redis+sentinel://h/m", "not a sentinel"),
            ("redis+sentinel://h:1", "name of their master"),
        ],
    )
    def test_a_url_that_cannot_be(self, url: str, words: str) -> None:
        with pytest.raises(BadUrlError, match=words):
            open_broker(url)

    def test_a_missing_library_names_the_extra(self, tmp_path: Path) -> None:
        script = (
            "import sys\nsys.modules['redis'] = None\nfrom paneview.broker import *\n"
            f"open_broker('sqlite://{tmp_path}/q.db').close()\n"
            "try: open_broker('redis://localhost')\n"
            "except MissingExtraError as error: print(error)\n"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert (
            done.stdout
            == "the Redis broker needs redis-py, the extra 'redis': pip install 'paneview[redis]'\n"
        )

    def test_the_library_is_loaded_by_who_needs_it_only(self) -> None:
        script = "import paneview.broker, sys; print('redis' in sys.modules, 'asyncio' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert done.stdout.split()[0] == "False"

    def test_a_password_may_come_from_the_environment(
        self, lab: RedisLab, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with lab.server.client as client:
            client.execute_command("ACL", "SETUSER", "bob", "on", ">from env", "~*", "&*", "+@all")
        monkeypatch.setenv("PANEVIEW_REDIS_PASSWORD", "from env")
        with open_broker(lab.url.replace("redis://", "redis://bob@")) as broker:
            assert broker.stats() == []


def test_sentinels_that_do_not_answer_are_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "PATIENCE", 0.05)
    with pytest.raises(UnavailableError) as error:
        open_broker(f"redis+sentinel://127.0.0.1:{free_port()}/mymaster")
    assert str(error.value).endswith("does not answer: No master found for 'mymaster'")


def test_a_command_is_packed_as_the_client_does_it(lab: RedisLab) -> None:
    words = ("SET", "ké\ud800y", 7, 0.25, "", "x" * 10_000)
    with lab.server.client as client:
        packer = client.connection_pool.get_connection()
        packer.encoder.encoding_errors = "surrogatepass"
        assert packed(words) == b"".join(packer.pack_command(*words))


class TestScripts:
    def test_they_are_sent_once_and_again_after_the_server_has_forgotten(self, lab: RedisLab) -> None:
        broker = lab.open()
        submit(broker)
        with lab.server.client as client:
            client.script_flush()
        submit(broker)
        assert len(broker.claim(want(n=5))) == 2

    def test_a_token_is_not_left_for_nobody(self, broker: RedisBroker, lab: RedisLab) -> None:
        for _ in range(200):
            submit(broker)
        with lab.server.client as client:
            assert client.llen("{lab}:wake:any") <= 64
            assert len(broker.claim(want(n=500))) == 200
            assert client.exists("{lab}:wake:any") == 0

    def test_what_a_claim_leaves_wakes_the_next(self, lab: RedisLab) -> None:
        broker, other = lab.open(), lab.open()
        broker.submit_many([NewJob("test"), NewJob("test")])
        with lab.server.client as client:
            client.delete("{lab}:wake:any")
            take(broker)
            assert client.llen("{lab}:wake:any") == 1
        assert other.claim(want("w2"), wait=20.0)

    def test_a_job_costs_few_calls_inside_the_server(self, lab: RedisLab) -> None:
        broker = lab.open()
        broker.submit_many([NewJob("test", {"text": "x" * 200}) for _ in range(50)])
        wish = worker_of("dev")
        (lease,) = broker.claim(wish)
        with lab.server.client as client:
            client.config_resetstat()
            for _ in range(40):
                (lease,) = broker.finish(lease, Outcome(), claim=wish).leases
            calls = {name: told["calls"] for name, told in client.info("commandstats").items()}
        assert calls.pop("cmdstat_evalsha") == 40, "one script brings a result and the next job"
        assert sum(calls.values()) <= 40 * 24

    def test_old_events_are_let_go(self, lab: RedisLab) -> None:
        broker = lab.open(Settings(max_depth=None, keep_events=200))
        for _ in range(10):
            broker.submit_many([NewJob("test") for _ in range(100)])
        with lab.server.client as client:
            assert 200 <= client.xlen("{lab}:events") < 500
        ids = [int(event.id) for event in broker.events.read(limit=1000).events]
        assert ids == list(range(ids[0], 1001)), "without a gap"

    def test_a_priority_is_exact_after_very_many_jobs(self, broker: RedisBroker, lab: RedisLab) -> None:
        with lab.server.client as client:
            client.set("{lab}:seq", 2**42 - 100)
        ids = [submit(broker, priority=priority) for priority in (-999, -999, 998, 999, 999, 0)]
        assert [lease.id for lease in broker.claim(want(n=9))] == [ids[n] for n in (3, 4, 2, 5, 0, 1)]


def test_a_cluster(tmp_path: Path) -> None:
    with redis_server("--cluster-enabled", "yes", "--cluster-port", str(free_port())) as server:
        with server.client as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            wait_until(lambda: "cluster_state:ok" in str(client.execute_command("CLUSTER", "INFO")))
        with open_broker(f"redis://127.0.0.1:{server.port}", settings=SETTINGS) as broker:
            first, second = submit(broker), submit(broker, delay=0.2, group="g")
            told = broker.finish(take(broker), Outcome(), follow_ups=[NewJob("test", after=(second,))])
            assert told.state == "done"
            (lease,) = broker.claim(want(), wait=20.0)
            assert lease.id == second
            broker.finish(lease, Outcome(output=1))
            result = broker.wait_result(second, 5.0)
            assert result
            assert result.output == 1
            assert len(broker.claim(want(), wait=5.0)) == 1
            assert state(broker, first) == "done"
            assert broker.reap().expired == ()
            assert broker.events.wait(broker.events.tail(1).cursor, 0.05).events == ()
            assert len(broker.jobs(JobFilter())) == 3


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make a certificate with")
def test_an_encrypted_connection_to_a_server_that_can_prove_who_it_is(tmp_path: Path) -> None:
    cert, key, port = tmp_path / "cert.pem", tmp_path / "key.pem", free_port()
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost",
            "-addext", "subjectAltName=IP:127.0.0.1",
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    options = ["--tls-port", str(port), "--tls-cert-file", str(cert), "--tls-key-file", str(key)]
    with redis_server(*options, "--tls-ca-cert-file", str(cert), "--tls-auth-clients", "no"):
        url = f"rediss://127.0.0.1:{port}"
        with pytest.raises(BrokerError, match=r"does not prove who it is: .*\?ca=FILE"):
            open_broker(url, settings=SETTINGS)
        with open_broker(f"{url}?ca={cert}", settings=SETTINGS) as broker:
            waiting = Later(lambda: broker.claim(want(), wait=20.0))
            id_ = submit(broker)
            assert [lease.id for lease in waiting.result()] == [id_]


@contextmanager
def sentinels(master: RedisServer, folder: Path, number: int = 3) -> Iterator[list[int]]:
    """Sentinels that watch a master and promote its replica when it is gone for half a second."""
    processes, ports = [], [free_port() for _ in range(number)]
    try:
        for port in ports:
            config = folder / f"sentinel{port}.conf"
            config.write_text(
                f"port {port}\nbind 127.0.0.1\ndir {folder}\nsentinel monitor queue 127.0.0.1 {master.port} 2\n"
                "sentinel down-after-milliseconds queue 500\nsentinel failover-timeout queue 3000\n"
            )
            processes.append(
                subprocess.Popen(
                    ["redis-server", config, "--sentinel"],
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env={"PATH": os.environ["PATH"]},
                )
            )
        yield ports
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.mark.chaos
def test_sentinels_name_the_new_master(tmp_path: Path) -> None:
    with (
        redis_server() as master,
        redis_server("--replicaof", "127.0.0.1", str(master.port)) as replica,
        sentinels(master, tmp_path) as ports,
    ):
        url = f"redis+sentinel://{','.join(f'127.0.0.1:{port}' for port in ports)}/queue"

        def answers() -> Any:
            try:
                return open_broker(url, settings=SETTINGS)
            except UnavailableError:
                return None

        with wait_until(answers) as broker:
            broker._link.patience = 30.0
            first = submit(broker)
            lease = take(broker)
            with replica.client as client:
                wait_until(lambda: client.exists(f"{{paneview}}:job:{first}"))
                wait_until(lambda: all(_knows_replica(port) for port in ports), 30.0)
            master.kill()
            second = submit(broker)
            assert broker.finish(lease, Outcome()).verdict is Verdict.ACCEPTED
            assert take(broker).id == second


def _knows_replica(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port)) as link:
        link.sendall(b"SENTINEL REPLICAS queue\r\n")
        return b"runid" in link.recv(4096)


def test_renewing_goes_on_while_another_thread_sleeps(lab: RedisLab) -> None:
    broker = lab.open()
    submit(broker)
    lease = take(broker, seconds=0.6)
    sleeping = Later(lambda: broker.claim(want("w2"), wait=2.0))
    stop = threading.Event()
    while not sleeping.over and not stop.wait(0.1):
        assert broker.renew([lease]) == ["held"]
    assert sleeping.result() == []


def test_a_job_that_somebody_damaged_hides_no_other(
    lab: RedisLab, broker: RedisBroker, tmp_path: Path
) -> None:
    whole, *damaged = [submit(broker) for _ in range(6)]
    with lab.server.client as client:
        keys = [f"{{{lab.prefix}}}:job:{name}" for name in damaged]
        client.hdel(keys[0], "kind", "seq", "id")
        client.hset(keys[1], "priority", "high")
        client.hset(keys[2], "payload", "{no json")
        client.hset(keys[3], "state", "odd")
        client.hset(keys[4], "errors", "[1]")
    for states in (frozenset[JobState](), frozenset({JobState.QUEUED})):
        assert [job.id for job in broker.jobs(JobFilter(states=states))] == [whole]
    with pytest.raises(
        BrokerError, match=f"the job {damaged[0]} is damaged in the queue: its field 'kind' is m"
    ):
        broker.job(damaged[0])
    with pytest.raises(BrokerError, match="damaged"):
        broker.result(damaged[1])
    done = run("jobs", "--json", "--broker", lab.url, cwd=tmp_path)
    check_shape(SHAPES["jobs"], done.json)
    assert [job["id"] for job in done.json["jobs"]] == [whole]
    warning = done.json["warnings"][-1]
    assert damaged[4] in warning
    assert warning.endswith(", and 2 more")
    lab.server.forget()
    broker.jobs(JobFilter())
    assert not any("damaged" in one for one in broker.warnings)


def test_a_job_that_somebody_damaged_holds_up_no_other(lab: RedisLab, broker: RedisBroker) -> None:
    odd = {
        "attempts": "x",
        "priority": "high",
        "timeout": "",
        "max_attempts": "3.5",
        "token": "-",
        "seq": "1;",
        "payload": "1],[\xfc" + 99 * "ü",
        "meta": "3",
        "after": '["a",',
        "errors": "1",
    }
    damaged = [submit(broker) for _ in odd] + [submit(broker) for _ in range(2)]
    waiting = submit(broker, after=[damaged[0]])
    later = submit(broker, delay=0.01)
    deep: Any = {"odd": "\ud800"}
    for _ in range(150):
        deep = [deep]
    held, whole = submit(broker, kind="held"), submit(broker, payload=deep)
    assert broker.take(held, want("w1"))
    with lab.server.client as client:
        keys = [f"{{{lab.prefix}}}:job:{name}" for name in (*damaged, later, held)]
        for key, (field, value) in zip(keys, odd.items(), strict=False):
            client.hset(key, field, value)
        client.hdel(keys[-4], "kind", "submitted_at")
        client.delete(keys[-3])
        client.hset(keys[-2], "seq", "?")
        client.hset(keys[-1], "attempts", "many")
    assert [one.queued for one in broker.stats()] == [len(damaged) + 1]
    wait_until(lambda: broker.reap() and broker.stats()[0].delayed == 0)
    assert [(lease.id, lease.job.payload) for lease in broker.claim(want("w2", n=2))] == [(whole, deep)]
    assert broker.release_owner("w1", "gone") == [held]
    assert broker.claim(want("w2", n=2)) == []
    told = broker.events.read().events
    dead = {event.job: event.detail["error"] for event in told if event.kind == "job_dead"}
    assert dead.keys() == {*damaged, later, held}
    assert dead[damaged[0]] == "it is damaged in the queue: its field 'attempts' is no number: x"
    assert dead[damaged[-1]] == "it is damaged in the queue: its field 'lane' is missing"
    assert state(broker, waiting) == "cancelled"
    assert broker.job(damaged[-1]) is None
    mended = {damaged[0], held}  # a retry begins to count anew
    assert mended <= set(broker.retry())
    assert {lease.id for lease in broker.claim(want("w2", n=20))} == mended
    assert len(broker.purge()) == len({*damaged, later} - mended) - 1


def test_dead_letters_are_handled_a_few_at_a_time(
    lab: RedisLab, broker: RedisBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them in one script, a hundred thousand, would keep every other client waiting for seconds."""
    monkeypatch.setattr("paneview.broker.redis.broker.FEW", 2)
    jobs = [submit(broker, max_attempts=1) for _ in range(5)]
    for act in (broker.retry, broker.purge):
        for _ in jobs:
            fail(broker, take(broker))
        with lab.server.client as client:
            client.config_resetstat()
            assert act() == jobs
            stats = client.info("commandstats")
        assert sum(stats.get(f"cmdstat_{word}", {"calls": 0})["calls"] for word in ("eval", "evalsha")) in (
            3,
            4,
        )
