"""Each broker against a queue of nothing but the rules: the same history must look the same from outside."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from paneview.broker import Backoff, Broker, Lease, NewJob, Outcome, new_id
from tests.broker.conftest import KINDS, make_lab
from tests.broker.helpers import want
from tests.broker.labs import SETTINGS, Lab, opened
from tests.rules.queue_model import ModelLease, ModelQueue

# Far apart, so that the seconds that a test takes never decide anything.
BACKOFF = Backoff(base=1000.0, factor=3.0, longest=9000.0, jitter=0.0)
LEASES = (2000.0, 20_000.0)
STEPS = (700.0, 2500.0, 25_000.0)
OWNERS = ("w1", "w2")


class Both(RuleBasedStateMachine):
    """The same things done to a broker and to the model."""

    make: Callable[[], Lab]

    def __init__(self) -> None:
        super().__init__()
        self._context = opened(self.make())
        self.lab = self._context.__enter__()
        self.broker: Broker = self.lab.open(SETTINGS._replace(backoff=BACKOFF))
        self.model = ModelQueue(BACKOFF)
        self.leases: list[tuple[Lease, ModelLease, str]] = []

    def teardown(self) -> None:
        self._context.__exit__(None, None, None)

    def _remember(self, real: list[Lease], model: list[ModelLease], owner: str) -> None:
        assert [(lease.id, lease.token, lease.attempt) for lease in real] == [
            (lease.id, lease.token, lease.attempt) for lease in model
        ]
        self.leases += [(one, other, owner) for one, other in zip(real, model, strict=True)]

    @rule(
        priority=st.integers(-1, 1),
        delay=st.sampled_from([0.0, 0.0, 1500.0]),
        limit=st.integers(1, 3),
        key=st.sampled_from(["", "", "a", "b"]),
        data=st.data(),
    )
    def submit(self, priority: int, delay: float, limit: int, key: str, data: st.DataObject) -> None:
        known = list(self.model.jobs)
        after = tuple(data.draw(st.lists(st.sampled_from(known), max_size=2))) if known else ()
        new = NewJob(
            "test", priority=priority, delay=delay, max_attempts=limit, key=key, after=after, id=new_id()
        )
        told = self.broker.submit(new)
        assert (told.id, told.created) == self.model.submit(new.id, priority, delay, limit, after, key)

    @rule(owner=st.sampled_from(OWNERS), n=st.integers(1, 3), seconds=st.sampled_from(LEASES))
    def claim(self, owner: str, n: int, seconds: float) -> None:
        self.broker.reap()
        self.model.tend()
        real = self.broker.claim(want(owner, n=n, seconds=seconds))
        self._remember(real, self.model.claim(owner, n, seconds), owner)

    @rule(data=st.data())
    def take(self, data: st.DataObject) -> None:
        if self.model.jobs:
            id_ = data.draw(st.sampled_from(list(self.model.jobs)))
            real = self.broker.take(id_, want("w1", seconds=LEASES[0]))
            model = self.model.take(id_, "w1", LEASES[0])
            self._remember([real] if real else [], [model] if model else [], "w1")

    @rule(status=st.sampled_from(["ok", "ok", "error", "cancelled"]), retry=st.booleans(), data=st.data())
    def finish(self, status: str, retry: bool, data: st.DataObject) -> None:
        if self.leases:
            real, model, _ = data.draw(st.sampled_from(self.leases))
            error = None if status == "ok" else "e"
            told = self.broker.finish(real, Outcome(status, error=error, retry=retry))  # type: ignore[arg-type]
            assert (told.verdict, told.state) == self.model.finish(model, status, retry=retry)

    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        if self.leases:
            some = data.draw(st.lists(st.sampled_from(self.leases), min_size=1, max_size=3))
            assert self.broker.renew([real for real, _, _ in some]) == [
                self.model.renew(model) for _, model, _ in some
            ]

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        if self.leases:
            real, model, _ = data.draw(st.sampled_from(self.leases))
            assert self.broker.release(real) == self.model.release(model)

    @rule(owner=st.sampled_from(OWNERS))
    def owner_dies(self, owner: str) -> None:
        assert set(self.broker.release_owner(owner, "died")) == self.model.release_owner(owner)

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        if self.model.jobs:
            id_ = data.draw(st.sampled_from(list(self.model.jobs)))
            assert self.broker.cancel(id_) == self.model.cancel(id_)

    @rule()
    def retry(self) -> None:
        assert set(self.broker.retry()) == self.model.retry()

    @rule()
    def purge(self) -> None:
        assert len(self.broker.purge()) == self.model.purge()

    @rule(seconds=st.sampled_from(STEPS))
    def time_passes(self, seconds: float) -> None:
        self.lab.age(seconds)
        self.model.now += seconds
        self.broker.reap()
        self.model.tend()

    @invariant()
    def they_look_the_same(self) -> None:
        self.model.check()
        for id_, model in self.model.jobs.items():
            real = self.broker.job(id_)
            assert real is not None
            assert (real.state, real.token, real.attempts) == (model.state, model.token, model.attempts), id_
            assert (real.result is not None) == model.state.final
            if model.accepted:
                assert real.result
                assert [real.result.token] == model.accepted
        open_jobs = sum(not job.state.final for job in self.model.jobs.values())
        assert sum(lane.depth + lane.leased for lane in self.broker.stats()) == open_jobs


@pytest.mark.parametrize("kind", KINDS)
def test_a_broker_is_as_the_rules_have_it(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    def make() -> Lab:
        return make_lab(kind, Path(tempfile.mkdtemp(dir=tmp_path)), request)

    machine = type("Machine", (Both,), {"make": staticmethod(make)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=12 if kind == "sqlite" else 8,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.chaos
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_so_in_many_histories(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    def make() -> Lab:
        return make_lab(kind, Path(tempfile.mkdtemp(dir=tmp_path)), request)

    machine = type("Machine", (Both,), {"make": staticmethod(make)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=300, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
