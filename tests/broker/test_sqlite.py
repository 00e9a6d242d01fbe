"""What is the embedded broker's alone: the file, its gate, its log, other programs, damage, a reboot."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from paneview.broker import (
    BrokerError,
    JobFilter,
    JobState,
    NewJob,
    Outcome,
    Registration,
    Settings,
    Target,
    UnavailableError,
    open_broker,
)
from paneview.broker.sqlite import database, keeping, leases
from paneview.broker.sqlite.broker import SqliteBroker
from tests.broker.helpers import Later, fail, job, state, submit, take, want
from tests.broker.labs import SETTINGS, SqliteLab, opened
from tests.harness import Sandbox, wait_until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "queue.db"


@pytest.fixture
def broker(path: Path):
    with SqliteBroker(path, SETTINGS) as one:
        yield one


def test_the_file_is_private(broker: SqliteBroker, path: Path) -> None:
    submit(broker)
    for name in ("queue.db", "queue.db-wal", "queue.db.gate", "queue.db.next"):
        assert (path.parent / name).stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert broker.claim(want(), wait=0.0)
    broker.claim(want(), wait=0.01)
    assert (path.parent / "queue.db.bells").stat().st_mode & 0o777 == 0o700


def test_threads_that_make_the_queue_at_once_keep_their_locks(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who closes a file lets go of all its process's locks on it: no thread may have any while another makes it."""
    making, go_on = threading.Event(), threading.Event()
    close = os.close

    def slow(descriptor: int) -> None:
        if path.exists() and _is(descriptor, path):
            making.set()
            go_on.wait(20)
        close(descriptor)

    monkeypatch.setattr(os, "close", slow)
    brokers = [Later(lambda: SqliteBroker(path, SETTINGS))]
    assert making.wait(20)
    brokers.append(Later(lambda: SqliteBroker(path, SETTINGS)))
    end = time.monotonic() + 0.3
    wait_until(lambda: time.monotonic() > end or _in_use(path))
    too_early = _in_use(path)
    go_on.set()
    for broker in brokers:
        broker.result().close()
    assert not too_early


def test_the_log_is_copied_now_and_then_and_only_behind_the_gate(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "CHECKPOINT_BYTES", 300_000)
    monkeypatch.setattr(database, "CHECK_EVERY", 4)
    wal = Path(f"{path}-wal")
    largest = 0
    with SqliteBroker(path, SETTINGS) as broker:
        for _ in range(60):
            submit(broker, payload="x" * 20_000)
            largest = max(largest, wal.stat().st_size)
        assert 300_000 < largest < 1_500_000
        with sqlite3.connect(path) as other:
            assert other.execute("PRAGMA wal_autocheckpoint").fetchone() != (0,)
        other.close()
        assert broker._database.one("PRAGMA wal_autocheckpoint") == (0,)
        assert broker._database.one("PRAGMA integrity_check") == ("ok",)


def test_the_log_is_written_over_after_so_many_rows_of_all_who_write(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "CHECKPOINT_ROWS", 100)
    monkeypatch.setattr(database, "CHECK_EVERY", 4)
    wal = Path(f"{path}-wal")
    with SqliteBroker(path, SETTINGS) as broker, SqliteBroker(path, SETTINGS) as other:
        sizes = []
        for _ in range(200):
            submit(broker)
            submit(other)
            sizes.append(wal.stat().st_size)
        # A look that comes a few commits late lets it get a little longer; it would be twice as long by now.
        assert sizes[-1] < min(1.2 * sizes[100], 1_000_000), "once it is long enough it does not grow"
        copied = path.stat().st_size
        assert copied > 100_000
        assert broker._database.one("PRAGMA integrity_check") == ("ok",)
        assert len(other.claim(want(n=500))) == 400


def test_a_queue_of_the_first_schema_is_brought_up_to_date(path: Path) -> None:
    with SqliteBroker(path, SETTINGS) as broker:
        done, waiting = submit(broker), submit(broker)
        broker.finish(take(broker), Outcome())
        with broker._database.write() as step:
            step.sql("DROP INDEX jobs_dead")
            step.sql("DROP INDEX jobs_cancelled")
            step.sql("DROP TABLE documents")
            step.sql(
                "CREATE INDEX jobs_over ON jobs (state, seq) WHERE state IN ('done', 'dead', 'cancelled')"
            )
            step.sql("PRAGMA user_version = 1")
    with SqliteBroker(path, SETTINGS) as broker:
        assert [one.id for one in broker.jobs(JobFilter(states=frozenset({JobState.DONE})))] == [done]
        assert take(broker).id == waiting
        assert broker.documents.versions("any") == {}
        assert broker._database.rows("SELECT 1 FROM sqlite_master WHERE name = 'jobs_over'") == []


def test_a_reader_that_stays_only_puts_the_copying_off(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "CHECKPOINT_BYTES", 100_000)
    monkeypatch.setattr(database, "CHECK_EVERY", 1)
    with SqliteBroker(path, SETTINGS) as broker:
        submit(broker)
        reader = sqlite3.connect(path, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM jobs").fetchone()
        began = time.monotonic()
        for _ in range(40):
            submit(broker, payload="x" * 10_000)
        assert time.monotonic() - began < 4, "nobody waits for the reader"
        reader.close()
        for _ in range(100):
            submit(broker, payload="x" * 10_000)
        assert Path(f"{path}-wal").stat().st_size < 1_000_000


def test_whoever_writes_passes_the_gate(broker: SqliteBroker, path: Path) -> None:
    with open(f"{path}.gate", "rb") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        writing = Later(lambda: submit(broker))
        closing = Later(lambda: SqliteBroker(path, SETTINGS).close())
        end = time.monotonic() + 0.3
        wait_until(lambda: time.monotonic() > end)
        assert not writing.over
        assert not closing.over
        fcntl.flock(gate, fcntl.LOCK_UN)
        assert writing.result()
        closing.result()


def test_reading_waits_for_nobody(path: Path) -> None:
    with SqliteBroker(path, SETTINGS) as broker, SqliteBroker(path, SETTINGS) as other:
        id_ = submit(broker)
        with broker._database.write() as step:
            step.sql("UPDATE jobs SET priority = 5")
            assert Later(lambda: job(other, id_)).result().priority == 0


def test_a_killed_writer_leaves_the_gate_open(path: Path) -> None:
    with SqliteBroker(path, SETTINGS) as broker:
        id_ = submit(broker)
        script = (
            "import os, sys, signal\nfrom pathlib import Path\n"
            "from paneview.broker.sqlite.database import Database\n"
            "with Database(Path(sys.argv[1])).write() as step:\n"
            "    step.sql(\"UPDATE jobs SET state = 'dead'\")\n"
            "    os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        subprocess.run([sys.executable, "-c", script, path], check=False)
        assert state(broker, id_) == "queued"
        assert take(broker).id == id_


def test_a_lock_that_a_foreign_program_holds_is_waited_for(broker: SqliteBroker, path: Path) -> None:
    foreign = sqlite3.connect(path, isolation_level=None)
    foreign.execute("BEGIN IMMEDIATE")
    writing = Later(lambda: submit(broker))
    end = time.monotonic() + 0.3
    wait_until(lambda: time.monotonic() > end)
    assert not writing.over
    foreign.execute("COMMIT")
    assert writing.result()
    foreign.close()


def test_one_that_is_never_let_go_is_told_in_words(broker: SqliteBroker, path: Path) -> None:
    broker.hurry(0.2)
    broker._database.rows("PRAGMA busy_timeout = 50")
    foreign = sqlite3.connect(path, isolation_level=None)
    foreign.execute("BEGIN IMMEDIATE")
    with pytest.raises(UnavailableError, match="another program"):
        submit(broker)
    foreign.close()
    assert submit(broker)


def test_many_threads_share_one_object(broker: SqliteBroker) -> None:
    def work(name: str) -> str:
        for _ in range(20):
            submit(broker)
            lease = broker.claim(want(name))
            if lease:
                broker.finish(lease[0], Outcome())
        return name

    threads = [Later(lambda n=n: work(f"w{n}")) for n in range(4)]
    assert [thread.result() for thread in threads] == ["w0", "w1", "w2", "w3"]
    while leases := broker.claim(want(n=10)):
        for lease in leases:
            broker.finish(lease, Outcome())
    assert broker.stats() == []


def test_a_damaged_file_is_told_and_left_alone(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    path.write_bytes(b"this is no database at all, but it may be somebody's work" * 100)
    before = path.read_bytes()
    with pytest.raises(BrokerError, match=r"queue\.db cannot be used: file is not a database"):
        SqliteBroker(path, SETTINGS)
    assert path.read_bytes() == before


def take_away(path: Path) -> None:
    """As a person would."""
    for file in path.parent.glob("queue.db*"):
        if file.is_file():
            file.unlink()


def test_a_file_that_was_removed_is_begun_anew_by_all_who_hold_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "LOOK", 0.05)
    with SqliteBroker(path, SETTINGS) as one, SqliteBroker(path, SETTINGS) as other:
        worker = Registration("w1")
        one.workers.register(worker)
        lost, _ = submit(one), submit(one)
        lease = take(one)
        cursor = one.events.tail().cursor
        waiting = Later(lambda: other.claim(want("w2", lanes=("r:late",)), 30))
        wait_until(lambda: one._database.rows("SELECT * FROM bells"))
        take_away(path)
        wait_until(lambda: one.stats() == [])
        wait_until(lambda: other._database.rows("SELECT * FROM bells"))  # hung up anew by who waits
        assert one.renew([lease]) == ["lost"]
        assert one.finish(lease, Outcome()).verdict == "stale"
        assert one.job(lost) is None
        assert not one.workers.beat("w1")
        began = time.monotonic()
        late = submit(one, target=Target(role="late"))
        assert [lease.id for lease in waiting.result()] == [late]
        assert time.monotonic() - began < SETTINGS.look / 2, "its bell was rung"
        assert one.events.read(cursor).events[-1].job == late
        with SqliteBroker(path, SETTINGS) as third:
            assert state(third, late) == "leased"
    assert len([fd for fd in os.listdir("/proc/self/fd") if str(path) in _held(fd)]) == 0
    with opened(SqliteLab(path.parent)) as lab:
        assert state(lab.open(), late) == "leased", "who let go of the old file left the new one's log alone"


def _held(descriptor: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return ""


def test_another_file_in_its_place_is_taken(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "LOOK", 0.05)
    with SqliteBroker(path.parent.parent / "other" / "queue.db", SETTINGS) as other:
        wanted = submit(other)
    with SqliteBroker(path, SETTINGS) as one:
        submit(one)
        take_away(path)
        (path.parent.parent / "other" / "queue.db").rename(path)
        wait_until(lambda: one.job(wanted))
        assert take(one).id == wanted


def test_a_folder_that_was_removed_is_told_until_it_is_there_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "LOOK", 0.05)
    with SqliteBroker(path, SETTINGS) as one:
        submit(one)
        shutil.rmtree(path.parent)

        def told() -> bool:
            try:
                one.stats()
            except UnavailableError as error:
                return "is gone, and its folder with it" in str(error)
            return False

        wait_until(told)
        assert told(), "again and again"
        path.parent.mkdir()
        assert one.stats() == []
        submit(one)


def test_a_newer_file_is_told_and_left_alone(path: Path) -> None:
    SqliteBroker(path, SETTINGS).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(BrokerError, match="newer paneview"):
        SqliteBroker(path, SETTINGS)


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BrokerError, match="cannot open the queue"):
        SqliteBroker(tmp_path / "file" / "queue.db", SETTINGS)


def test_opening_drops_nobodys_locks(path: Path) -> None:
    """Closing any descriptor of a file drops this process's POSIX locks on it, and SQLite relies on those."""
    script = (
        "import sys\nfrom pathlib import Path\nfrom paneview.broker.sqlite.broker import SqliteBroker\n"
        "from paneview.broker import Settings\n"
        "SqliteBroker(Path(sys.argv[1]), Settings()).close()\n"
    )
    with SqliteBroker(path, SETTINGS) as first:
        submit(first)
        SqliteBroker(path, SETTINGS).close()
        subprocess.run([sys.executable, "-c", script, path], check=True)
        assert Path(f"{path}-wal").exists(), "another process must not have taken itself for the last one"
        submit(first)
    with SqliteBroker(path, SETTINGS) as again:
        assert len(again.claim(want(n=5))) == 2


@pytest.mark.skipif(
    not hasattr(time, "CLOCK_BOOTTIME"), reason="the clock that counts sleep has another name"
)
def test_no_lease_is_lost_because_the_machine_slept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its holder slept as well; others that wake first must not take its job."""
    steady, asleep = time.clock_gettime, {time.CLOCK_BOOTTIME: 0.0}
    monkeypatch.setattr(time, "clock_gettime", lambda which: steady(which) + asleep.get(which, 0.0))
    with SqliteBroker(path, SETTINGS) as broker:
        held, left = submit(broker), submit(broker)
        lease, _ = take(broker, seconds=60.0), take(broker, "dead", seconds=60.0)
        asleep[time.CLOCK_BOOTTIME] = 3600.0
        assert broker.claim(want("w2", n=5)) == []
        assert broker.reap().expired == ()
        assert broker.renew([lease]) == ["held"]
        asleep[time.CLOCK_BOOTTIME] = 7200.0
        assert broker.reap().expired == ()
        assert broker.renew([lease]) == ["held"]
        with broker._database.write() as step:
            step.sql("UPDATE jobs SET lease_until = lease_until - 61 WHERE id = ?", (left,))
        assert [each.id for each in broker.claim(want("w2", n=5))] == [left]
        assert state(broker, held) == "leased"


def test_no_lease_is_lost_because_the_queue_could_not_be_written(path: Path) -> None:
    """As with a full disk: others whose writes come through first must not take the job."""
    with SqliteBroker(path, SETTINGS) as holder, SqliteBroker(path, SETTINGS) as other:
        submit(holder)
        lease = take(holder, seconds=60.0)
        late = "UPDATE jobs SET lease_until = lease_until - 61"
        other.hurry(0.05)
        with open(f"{path}.gate") as gate, closing(sqlite3.connect(path)) as connection:
            fcntl.flock(gate, fcntl.LOCK_EX)
            with connection:
                connection.execute(late)
            with pytest.raises(UnavailableError):
                other.claim(want("w2"))
        assert other.claim(want("w2")) == []
        assert holder.renew([lease]) == ["held"]
        with holder._database.write() as step:
            step.sql(late)
        assert [each.id for each in other.claim(want("w2"))] == [lease.id]


def test_a_reboot_ends_every_lease_and_keeps_every_delay(path: Path) -> None:
    with SqliteBroker(path, SETTINGS) as broker:
        held, later = submit(broker), submit(broker, delay=500.0)
        soon = submit(broker, delay=50.0)
        take(broker, seconds=10_000.0)
        broker.workers.register(Registration("w1", ttl=10_000.0))
        leader = broker.lead("reaper", "s1", 10_000.0)
        assert leader
        broker.flags.set("runner", "claude", {}, ttl=10_000.0)
        with broker._database.write() as step:  # as if the clock had begun again, an hour ago, after 5 days
            step.sql("UPDATE facts SET value = 'another boot'")
            step.sql("UPDATE jobs SET lease_until = lease_until + 400000, due = due + 400000")
            step.sql("UPDATE jobs SET not_before = not_before - 100")
        broker._beats.forget("w1")  # of that boot
    with SqliteBroker(path, SETTINGS) as broker:
        assert set(broker.reap().expired) == {held}
        assert {state(broker, each) for each in (held, soon)} == {"queued"}
        assert state(broker, later) == "delayed"
        due = broker._database.one("SELECT due FROM jobs WHERE id = ?", later)[0]
        assert 300 < due - database.since_boot() <= 400
        assert broker.workers.all(alive_only=True) == []
        second = broker.lead("reaper", "s2", 60.0)
        assert second
        assert second.epoch > leader.epoch
        assert broker.flags.all("runner") == {}


def test_a_disk_that_fills_up_takes_no_worker_for_silent(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first heartbeat comes long after it has registered; the file for it was made then."""
    with SqliteBroker(path, SETTINGS) as broker:
        broker.workers.register(Registration("w1"))
        real = os.open

        def full(name: str, flags: int, mode: int = 0o777) -> int:
            if flags & os.O_CREAT and not os.path.exists(name):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
            return real(name, flags, mode)

        with monkeypatch.context() as patch:
            patch.setattr(os, "open", full)
            assert broker.workers.beat("w1")


def test_a_full_disk_is_told_and_nothing_is_half_done(path: Path) -> None:
    """A limit on the size of files stands for the disk: the write fails in the same place."""
    with SqliteBroker(path, SETTINGS) as broker:
        first = submit(broker)
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        size = os.stat(f"{path}-wal").st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20_000, before[1]))
        try:
            with pytest.raises(UnavailableError, match="cannot be written now"):
                broker.submit_many([NewJob("test", "x" * 50_000) for _ in range(3)])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert broker.stats()[0].depth == 1
        second = submit(broker)
        assert [lease.id for lease in broker.claim(want(n=5))] == [first, second]
        assert broker._database.one("PRAGMA integrity_check") == ("ok",)


def test_what_is_written_is_not_called_unwritten_because_the_log_cannot_be_copied(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "CHECKPOINT_ROWS", 1)
    with SqliteBroker(path, SETTINGS) as broker:
        first = submit(broker, payload="x" * 200_000)
        monkeypatch.setattr(database, "CHECK_EVERY", 1)
        submit(broker, target=Target(role="another"))  # copies the log, which is written over from now on
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (os.stat(path).st_size + 20_000, before[1]))
        try:
            second = submit(broker, payload="x" * 50_000)
            assert os.stat(path).st_size < 300_000
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        third = submit(broker)
        assert os.stat(path).st_size > 300_000, "it is copied as soon as there is room"
        assert [lease.id for lease in broker.claim(want(n=5))] == [first, second, third]
        assert broker._database.one("PRAGMA integrity_check") == ("ok",)


@contextmanager
def no_descriptors() -> Iterator[None]:
    """For the time of a block, this process can open nothing more."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    first_free = os.dup(0)
    os.close(first_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (first_free, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_work_is_brought_and_waited_for_without_a_descriptor_left(path: Path) -> None:
    with SqliteBroker(path, SETTINGS) as broker:
        waiting = Later(lambda: broker.claim(want("w1"), wait=20.0))
        wait_until(lambda: broker._database.rows("SELECT * FROM bells"))
        with no_descriptors():
            first = submit(broker)  # nothing can be rung
            # Nothing can be hung up either.
            mute = Later(lambda: broker.claim(want("w2", lanes=("r:mute",)), wait=20.0))
            second = submit(broker, target=Target(role="mute"))
            assert [lease.id for lease in waiting.result()] == [first]
            assert [lease.id for lease in mute.result()] == [second]


def test_a_bell_that_could_not_be_hung_up_is_as_soon_as_it_can(path: Path) -> None:
    bells = Path(f"{path}.bells")
    with SqliteBroker(path, SETTINGS) as broker:
        bells.touch()  # no folder can be made there
        waiting = Later(lambda: broker.claim(want(), wait=20.0))
        calling = Later(lambda: broker.claim(want("w2", lanes=("r:none",)), wait=20.0))
        wait_until(lambda: len(broker.bells._busy) == 2)
        bells.unlink()
        wait_until(lambda: len(broker._database.rows("SELECT * FROM bells")) == 2)
        assert submit(broker) == waiting.result()[0].id
        broker.wake()
        assert calling.result() == []


def test_a_bell_nobody_listens_to_is_taken_down(tmp_path: Path) -> None:
    with opened(SqliteLab(tmp_path)) as lab:
        broker = lab.open()
        script = (
            "import os, signal, sys, threading\nfrom paneview.broker import Claim, open_broker\n"
            "broker = open_broker(sys.argv[1])\n"
            "threading.Thread(target=broker.claim, args=(Claim('x', ('any',)), 60), daemon=True).start()\n"
            "while not broker._database.rows('SELECT * FROM bells'): pass\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        subprocess.run([sys.executable, "-c", script, lab.url], check=False)
        assert len(broker._database.rows("SELECT path FROM bells")) == 1
        submit(broker)
        assert broker._database.rows("SELECT path FROM bells") == []
        assert list((tmp_path / "queue.db.bells").iterdir()) == []


def test_a_long_path_has_its_bells_elsewhere(tmp_path: Path, sandbox: object) -> None:
    path = tmp_path / ("x" * 100) / "queue.db"
    with SqliteBroker(path, SETTINGS) as broker, SqliteBroker(path, SETTINGS) as other:
        waiting = Later(lambda: broker.claim(want(), wait=20.0))
        wait_until(lambda: other._database.rows("SELECT * FROM bells"))
        id_ = submit(other)
        assert [lease.id for lease in waiting.result()] == [id_]


def test_a_bell_that_cannot_be_taken_down_loses_nobody_what_it_rang_for(broker: SqliteBroker) -> None:
    bell = broker._bell(("any",))
    broker._database.rows("PRAGMA query_only = ON")
    with pytest.raises(BrokerError, match="cannot be used"):
        submit(broker)
    bell.close()
    assert not bell._path.exists()
    broker._database.rows("PRAGMA query_only = OFF")
    submit(broker)
    assert broker._database.rows("SELECT * FROM bells") == [], "who rings it takes it down"


def test_no_bell_is_hung_up_in_a_folder_that_somebody_else_may_have_made(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (sandbox.root / f"paneview-bells-{os.getuid()}").symlink_to(foreign)
    path = tmp_path / ("x" * 100) / "queue.db"
    with SqliteBroker(path, SETTINGS) as broker:
        waiting = Later(lambda: broker.claim(want(), wait=20.0))
        wait_until(lambda: broker.bells._busy)
        assert list(foreign.iterdir()) == []
        id_ = submit(broker)
        assert [lease.id for lease in waiting.result()] == [id_], "who has no bell looks"


def test_full_durability_is_asked_for_by_the_url(path: Path) -> None:
    with open_broker(f"sqlite://{path}?durable=full") as broker:
        assert isinstance(broker, SqliteBroker)
        assert broker._database.one("PRAGMA synchronous") == (2,)
        assert take(broker).id if submit(broker) else None
    with open_broker(f"sqlite://{path}") as broker:
        assert isinstance(broker, SqliteBroker)
        assert broker._database.one("PRAGMA synchronous") == (1,)


def test_no_look_uses_a_whole_table(broker: SqliteBroker) -> None:
    """The plans of everything that is asked again and again, by index whatever the backlog."""
    statements = [
        leases._best_statement(3),
        leases._look_statement(3),
        "SELECT seq, lane FROM jobs WHERE state = 'delayed' AND due <= ? LIMIT ?",
        "SELECT id, lease_seconds FROM jobs WHERE state = 'leased' AND lease_until <= ? ORDER BY lease_until LIMIT ?",
        "SELECT id FROM jobs WHERE id = ? OR key = ?",
        "SELECT id FROM jobs WHERE state = 'leased' AND owner = ?",
        "SELECT path FROM bells WHERE topic IN (?, ?)",
    ]
    for statement in statements:
        values = [1] * statement.count("?")
        plan = [row[3] for row in broker._database.rows(f"EXPLAIN QUERY PLAN {statement}", *values)]
        assert not [line for line in plan if line.startswith("SCAN jobs") and "INDEX" not in line], (
            statement,
            plan,
        )
        assert not [line for line in plan if "TEMP B-TREE" in line], (statement, plan)


@contextmanager
def listening(broker: SqliteBroker) -> Iterator[list[str]]:
    """What it says to SQLite during a block."""
    said: list[str] = []
    broker._database._connection.set_trace_callback(said.append)
    try:
        yield said
    finally:
        broker._database._connection.set_trace_callback(None)


def test_what_is_asked_of_jobs_that_failed_finds_them_among_any_number_of_others(
    broker: SqliteBroker,
) -> None:
    with listening(broker) as said:
        broker.jobs(JobFilter(states=frozenset({JobState.DEAD, JobState.CANCELLED})))
        broker.retry()
        broker.purge()
    asked = [each for each in said if "jobs" in each]
    plans = [row[3] for each in asked for row in broker._database.rows(f"EXPLAIN QUERY PLAN {each}")]
    assert len(plans) == 4
    assert [
        plan for plan in plans if "INDEX jobs_dead" not in plan and "INDEX jobs_cancelled" not in plan
    ] == []


def test_cleaning_reads_and_removes_in_small_steps(
    broker: SqliteBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "FEW", 3)
    jobs = [submit(broker) for _ in range(10)]
    for each in jobs[4:6]:
        broker.cancel(each)
    with listening(broker) as said:
        assert broker.clean(-1.0) == 2
    asked = [each for each in said if each.startswith("SELECT") and "jobs" in each]
    assert [len(broker._database.rows(each)) for each in asked] == [3, 3, 3, 1, 0]
    plans = [row[3] for each in asked for row in broker._database.rows(f"EXPLAIN QUERY PLAN {each}")]
    assert set(plans) == {"SEARCH jobs USING INTEGER PRIMARY KEY (rowid>?)"}
    assert said.count("COMMIT") == 1
    assert [each.id for each in broker.jobs(JobFilter())][::-1] == jobs[:4] + jobs[6:]


def test_dead_letters_are_handled_a_few_at_a_time(
    broker: SqliteBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "FEW", 2)
    jobs = [submit(broker, max_attempts=1) for _ in range(5)]
    for act in (broker.retry, broker.purge):
        for _ in jobs:
            fail(broker, take(broker))
        with listening(broker) as said:
            assert act() == jobs
        assert said.count("COMMIT") == 3


def test_events_are_forgotten_as_fast_as_they_come(path: Path) -> None:
    with SqliteBroker(path, Settings(max_depth=None, keep_events=10)) as broker:
        broker.submit_many([NewJob("test") for _ in range(keeping.FEW + 20)])
        assert broker.reap().more
        assert not broker.reap().more
        assert len(broker.events.read().events) == 10


def test_no_step_of_the_reaper_reads_all_jobs_for_each_worker_that_is_gone(tmp_path: Path) -> None:
    with open_broker(f"sqlite://{tmp_path}/queue.db") as broker:
        assert isinstance(broker, SqliteBroker)
        broker.workers.register(Registration("a1", "web"))
        broker.submit(NewJob(target=Target(worker="a1")))
        broker.workers.leave("a1")
        with listening(broker) as said:
            assert broker.reap().readdressed == 1
        asked = [each for each in said if "jobs" in each]
        assert len(asked) > 4
        plans = [row[3] for each in asked for row in broker._database.rows(f"EXPLAIN QUERY PLAN {each}")]
        assert [plan for plan in plans if plan.startswith("SCAN jobs") and "INDEX" not in plan] == []


def _is(descriptor: int, path: Path) -> bool:
    return os.fstat(descriptor).st_ino == path.stat().st_ino


def _in_use(path: Path) -> bool:
    """Whether somebody has come as far as SQLite."""
    return Path(f"{path}-wal").exists()
