"""The reaper's round: due jobs, silent holders, what killed processes left half done. Any process may do it anytime."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress

from paneview.broker.directory import ending, entry
from paneview.broker.directory.desk import Desk
from paneview.broker.directory.disk import (
    age_by,
    link,
    may_be_gone,
    move,
    names,
    read_json,
    remove,
    touched,
    write,
)
from paneview.broker.directory.entry import ABANDONED, abandoned
from paneview.broker.directory.layout import Spot, quoted, read_name
from paneview.broker.errors import StaleLeaderError
from paneview.broker.model import Leadership
from paneview.rules.jobs import FINAL, JobState, overdue

RUBBISH = 3600.0  # seconds after which abandoned files are removed
CLOCKS = 86_400.0  # seconds after which the probe file of a killed process is removed


def promote(desk: Desk) -> float | None:
    """Queue delayed jobs that are due; returns the seconds until the next one is, or None."""
    now = desk.scratch.now() * 1e6
    following: list[int] = []
    for spot in desk.waiting(JobState.DELAYED):
        if spot.due > now:
            following.append(spot.due)
            continue
        if not desk.is_file(desk.layout.path(spot)):
            continue
        move(desk.layout.path(spot), desk.layout.path(spot.moved(JobState.QUEUED, lane=spot.lane)))
    return (min(following) - now) / 1e6 if following else None


def expire(desk: Desk) -> tuple[list[str], float | None]:
    """Take back the jobs of silent holders; returns their ids, and the seconds until the next lease runs out."""
    lost: list[str] = []
    following: list[float] = []
    now = desk.scratch.now()
    for spot in desk.leased():
        path, seconds = desk.layout.path(spot), spot.lease_ms / 1000
        renewed = touched(path)
        if renewed is None or not desk.is_file(path):
            continue
        if not overdue(now, renewed, seconds):
            following.append(renewed + seconds - now)
            continue
        silence = desk.scratch.silence(path)
        if silence is None or not overdue(silence, 0.0, seconds):  # ended or renewed since
            following += [] if silence is None else [seconds - silence]
            continue
        if ending.lose(desk, spot, f"its worker gave no sign for {seconds:g} s", "job_expired"):
            lost.append(spot.id)
    return lost, min(following, default=None)


def repair(desk: Desk) -> None:
    """Complete what killed processes have begun."""
    own = desk.layout.own
    steps: dict[str, Callable[[str], object]] = {
        "entry": lambda name: _complete(desk, f"{own}/entry/{name}"),
        "outbox": lambda batch: entry.empty(desk, batch),
        "stage": lambda batch: _staged(desk, batch),
        "results": lambda name: _brought(desk, name),
    }
    for folder, complete in steps.items():
        for name in names(f"{own}/{folder}"):
            if abandoned(desk, f"{own}/{folder}/{name}", ABANDONED):
                complete(name)
    for spot in desk.waiting(JobState.BLOCKED):
        if desk.is_file(desk.layout.path(spot)):
            ending.settle(desk, spot.id)
    for need in names(f"{own}/needs"):
        _waits_no_more(desk, f"{own}/needs/{need}")


def _complete(desk: Desk, path: str) -> None:
    if entry.complete(desk, path) is None and abandoned(desk, path, RUBBISH):
        desk.set_aside(path, "it is not the whole file of a job")


def _staged(desk: Desk, batch: str) -> None:
    """Submit staged follow-ups if their result was accepted; discard them if it can no longer be."""
    job, _, token = batch.partition(".")
    spot = desk.find(job) if token.isdecimal() else None
    if spot is None or spot.token != int(token):
        if spot is not None or abandoned(desk, f"{desk.layout.own}/stage/{batch}", RUBBISH):
            entry.unstage(desk, batch)
    elif spot.state is JobState.DONE:
        ending.publish(desk, spot)
        accepted = read_json(desk.layout.result(job)) or {}
        if accepted.get("follow_ups") == entry.staged(desk, batch):
            entry.send(desk, batch, ())
        else:
            entry.unstage(desk, batch)


def _waits_no_more(desk: Desk, folder: str) -> None:
    """Remove the marks of jobs that no longer wait."""
    for job in names(folder):
        if abandoned(desk, f"{folder}/{job}", ABANDONED):
            spot = desk.find(job)
            if spot is None or spot.state is not JobState.BLOCKED:
                remove(f"{folder}/{job}")
    with suppress(OSError):
        os.rmdir(folder)


def _brought(desk: Desk, name: str) -> None:
    """Publish a delivered result if it was accepted; remove it if it can no longer be."""
    path = f"{desk.layout.own}/results/{name}"
    job, token, state, *_ = (*name.split("."), "", "")
    if not state:
        desk.set_aside(path, "its name is not one of ours")
    if not state or not desk.is_file(path):
        return
    spot = desk.find(job)
    if spot is not None and str(spot.token) == token and spot.state.value == state:
        ending.publish(desk, spot)
        ending.after_over(desk, job)
    elif spot is None or str(spot.token) != token or spot.state in FINAL:
        remove(path)


def sweep(desk: Desk) -> None:
    """Remove what killed processes left in the scratch folders."""
    own = desk.layout.own
    for folder, seconds in (("tmp", RUBBISH), ("clock", CLOCKS)):
        for name in names(f"{own}/{folder}"):
            if abandoned(desk, f"{own}/{folder}/{name}", seconds):
                remove(f"{own}/{folder}/{name}")


# Leaders


def lead(desk: Desk, name: str, owner: str, ttl: float) -> Leadership | None:
    """See `Broker.lead`."""
    folder = f"{desk.layout.own}/leaders"
    epoch = _epoch(desk, name)
    path = f"{folder}/{quoted(name)}.{epoch:08d}.json"
    known = read_json(path) if epoch else None
    if known is not None and {"owner", "ttl"} <= known.keys():
        silence = desk.scratch.silence(path)
        current = silence is not None and not overdue(silence, 0.0, float(known["ttl"]))
        if current and known["owner"] != owner:
            return None
        if current:
            with may_be_gone():
                os.utime(path)
                # If this process was paused before the touch, it may have been replaced.
                return Leadership(name, owner, epoch) if _epoch(desk, name) == epoch else None
    new = f"{folder}/{quoted(name)}.{epoch + 1:08d}.json"
    if not desk.scratch.create(new, {"owner": owner, "ttl": ttl}):
        return None
    if _epoch(desk, name) != epoch + 1:
        remove(new)  # an old epoch whose file had been removed: others have led since we looked
        return None
    if epoch:
        # Keep the previous one: its holder may still look.
        remove(f"{folder}/{quoted(name)}.{epoch - 1:08d}.json")
    desk.feed.tell("leader_changed", worker=owner, detail={"name": name, "epoch": epoch + 1})
    return Leadership(name, owner, epoch + 1)


def _epoch(desk: Desk, name: str) -> int:
    prefix = f"{quoted(name)}."
    found = [entry for entry in names(f"{desk.layout.own}/leaders") if entry.startswith(prefix)]
    epochs = [entry[len(prefix) :].partition(".")[0] for entry in found]
    return max((int(epoch) for epoch in epochs if epoch.isdecimal()), default=0)


def resign(desk: Desk, leader: Leadership) -> None:
    """See `Broker.resign`."""
    with may_be_gone():
        os.utime(f"{desk.layout.own}/leaders/{quoted(leader.name)}.{leader.epoch:08d}.json", (0, 0))


def check_leader(desk: Desk, leader: Leadership) -> None:
    """Raise `StaleLeaderError` if another leader has replaced this one."""
    if _epoch(desk, leader.name) != leader.epoch:
        raise StaleLeaderError(leader)


# Dead letters and old jobs


def _dead(desk: Desk, jobs: Iterable[str] | None) -> list[Spot]:
    found = sorted(desk.over(JobState.DEAD), key=lambda spot: spot.submitted)
    if jobs is None:
        return found
    by_id = {spot.id: spot for spot in found}
    return [by_id[job] for job in jobs if job in by_id]


def retry(desk: Desk, jobs: Iterable[str] | None) -> list[str]:
    """See `Broker.retry`."""
    done = []
    for spot in _dead(desk, jobs):
        spec = desk.spec(spot.id)
        if spec is None:
            continue
        remove(desk.layout.wish(spot.id))
        remove(desk.layout.result(spot.id))
        waiting = spot.moved(JobState.QUEUED, lane=desk.lane_of(spec), attempts=0)
        if ending.to_wait(desk, spec, desk.layout.path(spot), waiting):
            desk.feed.tell("dead_retried", spot.id)
            done.append(spot.id)
    return done


def purge(desk: Desk, jobs: Iterable[str] | None) -> list[str]:
    """See `Broker.purge`."""
    done = []
    for spot in _dead(desk, jobs):
        spec = desk.spec(spot.id)
        if spec is not None and ending.forget(desk, spot, spec):
            desk.feed.tell("dead_purged", spot.id)
            done.append(spot.id)
    return done


def clean(desk: Desk, older_than: float) -> int:
    """See `Broker.clean`; logs of that age are removed, too."""
    number = 0
    now = desk.scratch.now()
    blocked = (desk.spec(spot.id) for spot in desk.waiting(JobState.BLOCKED))
    # That one of these is done shows only its own file.
    needed = {need for spec in blocked if spec for need in spec.after}
    for state in (JobState.DONE, JobState.CANCELLED):
        for spot in desk.over(state):
            if spot.id in needed:
                continue
            # The job's file was last touched when it was leased or renewed; its result is as old as its end.
            age = age_by(desk.layout.result(spot.id), now)
            if age is None:
                age = age_by(desk.layout.path(spot), now)
            spec = desk.spec(spot.id)
            if age is not None and age >= older_than and spec is not None:
                number += ending.forget(desk, spot, spec)
    for name in names(desk.layout.logs):
        age = age_by(f"{desk.layout.logs}/{name}", now)
        if older_than > 0 and age is not None and age > older_than:
            remove(f"{desk.layout.logs}/{name}")
    return number


def wish_cancelled(desk: Desk, job: str, reason: str) -> None:
    """Ask a holder to cancel its job; the first reason is kept."""
    new = desk.scratch.name()
    write(new, {"reason": reason}, durable=False)
    link(new, desk.layout.wish(job))
    remove(new)


def readdress(desk: Desk, worker: str, heir: str) -> int:
    """Move the jobs that wait for a dead worker to another lane; returns how many."""
    number = 0
    for state in (JobState.QUEUED, JobState.DELAYED, JobState.BLOCKED):
        lane = f"w:{worker}"
        folder = desk.layout.lane(state, lane)
        for name in names(folder):
            spot = read_name(state, lane, name)
            if spot and move(
                f"{folder}/{name}", desk.layout.path(spot.moved(state, lane=heir, due=spot.due))
            ):
                desk.feed.tell("job_readdressed", spot.id, worker, {"lane": heir})
                number += 1
    return number
