"""Sending jobs: ``dispatch``, ``dispatch-role``, ``broadcast`` and ``submit``."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from paneview.broker import BrokerError, NewJob, Target
from paneview.broker.targets import check_name
from paneview.cli.errors import CliError, UsageError
from paneview.cli.output import clean, print_json
from paneview.cli.queue.opening import me, opened, seconds, span
from paneview.cli.stdin import text_of
from paneview.worker.choosing import can, suited, takes

if TYPE_CHECKING:
    from paneview.broker import Broker, WorkerView
    from paneview.cli.parser import Call


def dispatch(call: Call) -> int:
    """Send one job to one target."""
    target, kind = call.words
    job = _job(call, kind, _payload(call), Target.read(target))
    with opened(call) as broker:
        return _print_one(call, broker, suited(broker, job))


def dispatch_role(call: Call) -> int:
    """Send a job to each live worker of a role that can do it."""
    role, kind = call.words
    with opened(call) as broker:
        found = broker.workers.all(role=role, alive_only=True)
        if not found:
            hint = f"'paneview dispatch role:{role} {kind}' leaves it for the first that comes"
            raise CliError(f"no live worker has the role {role}", hint=hint, code="not_found")
        return _print_all(call, broker, kind, found)


def broadcast(call: Call) -> int:
    """Send a job to each live worker that can do it."""
    with opened(call) as broker:
        found = broker.workers.all(alive_only=True)
        if not found:
            hint = f"'paneview dispatch any {call.words[0]}' leaves it for the first that comes"
            raise CliError("no worker is alive", hint=hint, code="not_found")
        return _print_all(call, broker, call.words[0], found)


def submit(call: Call) -> int:
    """Queue a prompt for any free worker."""
    text = text_of(call.words)
    if not text.strip():
        raise UsageError("the text is empty")
    payload: dict[str, Any] = {"text": text}
    if folder := call.text("working-dir"):
        payload["context"] = {"working_dir": os.path.abspath(folder)}
    named = {part: name for part in ("role", "host") if (name := call.text(part)) is not None}
    target = Target(**{part: check_name(f"a {part}", name) for part, name in named.items()})
    job = _job(call, "prompt", payload, target, "s")
    with opened(call) as broker:
        if not call.flag("wait"):
            return _print_one(call, broker, job)
        from paneview.cli.queue.jobs import print_result, wait_for  # noqa: PLC0415 - only with --wait

        alone = _why_it_waits(broker, target) if not call.json else ""
        submitted = broker.submit(job)
        if not call.json:
            print(f"submitted {submitted.id}; waiting", file=sys.stderr)
            if alone:
                print(alone, file=sys.stderr)
        return print_result(call, submitted.id, wait_for(call, broker, submitted.id, None))


def _job(call: Call, kind: str, payload: Any, target: Target, bare: str = "ms") -> NewJob:
    """The job to submit; a ``--timeout`` without a unit is in ``bare``, by default milliseconds, as in PaneBus."""
    return NewJob(
        kind=kind,
        payload=payload,
        target=target,
        priority=_priority(call),
        delay=span(call.text("delay"), "--delay") or 0.0,
        timeout=seconds(call, "timeout", bare),
        max_attempts=call.count("attempts"),
        key=call.text("key") or "",
        meta=_meta(call),
        submitted_by=me(),
    )


def _priority(call: Call) -> int:
    text = call.text("priority") or "0"
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"--priority needs a whole number, not {text!r}") from None


def _meta(call: Call) -> dict[str, str]:
    meta = {}
    for item in call.texts("meta"):
        key, equals, value = item.partition("=")
        if not key or not equals:
            raise UsageError(f"--meta needs K=V, not {item!r}")
        meta[key] = value
    return meta


def _payload(call: Call) -> Any:
    text = call.text("payload")
    if text is None:
        return None
    try:
        payload = json.loads(text_of(["-"]) if text == "-" else text)
        json.dumps(payload, allow_nan=False)  # NaN and Infinity, which Python reads, are not JSON
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--payload is not JSON: {error}", """such as '{"text": "…"}'""") from None
    return payload


def _print_one(call: Call, broker: Broker, job: NewJob) -> int:
    # Looked for before: who gets a `shutdown`, or a job with --once, is gone at once.
    alone = _why_it_waits(broker, job.target) if not call.json else ""
    submitted = broker.submit(job)
    target = str(job.target)
    if call.json:
        print_json({"ok": True, "id": submitted.id, "created": submitted.created, "target": target})
    elif submitted.created:
        print(f"{submitted.id}  {clean(job.kind)} for {clean(target)}")
        if alone:
            print(alone, file=sys.stderr)
    else:
        print(f"{submitted.id}  exists already")
    return 0


def _why_it_waits(broker: Broker, target: Target) -> str:
    """The message if no live worker takes jobs for this target; empty if that is unknown: submitting says why."""
    try:
        alive = [view.worker for view in broker.workers.all(alive_only=True)]
    except BrokerError:
        return ""
    if any(takes(one, target) for one in alive):
        return ""
    replicas = sorted(one.name for one in alive if target.task and one.name.startswith(f"{target.task}."))
    there = f" (there is {', '.join(map(clean, replicas))})" if replicas else ""
    return f"nobody alive takes jobs for {clean(str(target))}{there}: it waits for the first that does"


def _print_all(call: Call, broker: Broker, kind: str, workers: list[WorkerView]) -> int:
    """Submit a job to each worker that can do it, all or none, and print them."""
    able = [view for view in workers if can(view.worker, kind)]
    if not able:
        raise CliError(f"none of these workers has a handler for {kind!r}", code="not_found")
    if left := len(workers) - len(able):
        has = "worker has" if left == 1 else "workers have"
        print(f"{left} {has} no handler for {clean(repr(kind))}", file=sys.stderr)
    workers = able
    first = _job(call, kind, _payload(call), Target())
    jobs = []
    for view in workers:
        key = f"{first.key}:{view.worker.id}" if first.key else ""
        target = Target(worker=view.worker.id)
        jobs.append(replace(first, id=f"{first.id}-{view.worker.id[:12]}", target=target, key=key))
    submitted = broker.submit_many(jobs)
    sent = [
        {"id": one.id, "created": one.created, "worker": view.worker.id, "name": view.worker.name}
        for one, view in zip(submitted, workers, strict=True)
    ]
    if call.json:
        print_json({"ok": True, "jobs": sent, "count": len(sent)})
    else:
        for one in sent:
            print(f"{one['id']}  {clean(kind)} for {clean(one['name'])}")
    return 0
