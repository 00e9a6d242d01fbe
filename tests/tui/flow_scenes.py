"""A supervisor with workflows, played from recorded data, for the tests and pictures of their screens."""

from __future__ import annotations

from typing import Any

from paneview.control.errors import ControlError
from tests.tui.queue_scenes import QueueSupervisor, worker
from tests.tui.scripted import NOW

ROLES = {"review": "reviewer", "plan": "planner", "work": "worker", "compound": "compounder"}
DIFF = """\
diff --git a/shop/cart.py b/shop/cart.py
index 1111111..2222222 100644
--- a/shop/cart.py
+++ b/shop/cart.py
@@ -1,3 +1,3 @@ def total(items):
 def total(items):
-    return sum(item.price for item in items)
+    return sum(item.price * item.count for item in items)
"""


def spent(tokens: int = 0, cost: float | None = 0.0, unpriced: int = 0) -> dict[str, Any]:
    total = {"input": tokens * 3 // 4, "output": tokens - tokens * 3 // 4, "cached": 0, "total": tokens}
    return {"tokens": total, "cost_usd": cost, "unpriced": unpriced, "turns": 3, "agent_seconds": 20.0}


def phase(name: str, status: str = "pending", number: int = 0, **more: Any) -> dict[str, Any]:
    """A phase as the supervisor sends it in a whole workflow."""
    ran = status in ("running", "verifying", "done", "failed", "waiting_person")
    over = status in ("done", "failed")
    base: dict[str, Any] = {
        "name": name, "role": ROLES.get(name, name), "needs": [], "status": status, "reason": "",
        "attempt": int(ran), "runs": int(ran), "retries_left": 1, "job": f"flow-{number}-1" if ran else None,
        "queued_at": NOW - 300 + 60 * number if ran else None, "started_at": NOW - 299 + 60 * number if ran else None,
        "ended_at": NOW - 245 + 60 * number if over else None, "not_before": None, "lines": None, "files": None,
        "waits_for_person": status in ("waiting_approval", "waiting_person"),
        **(spent(4200 + number, 0.03) if over else spent()),
        "text": f"The {name} says that all is well." if over else "", "data": None, "error": "", "outcome": "ok",
        "session": None, "denials": [], "verify": None, "verify_code": None, "when": None, "approve": "never",
    }  # fmt: skip
    return {**base, **more}


def flow(number: int, status: str, phases: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """A whole workflow as the supervisor sends it."""
    over = status in ("done", "failed", "cancelled")
    base: dict[str, Any] = {
        "id": f"default-{number:08x}", "workflow": "default", "task": f"Fix the failing tests of module {number}",
        "status": status, "active": not over, "waits_for_person": any(one["waits_for_person"] for one in phases),
        "reason": "", "created_at": NOW - 310 - 1000 * number, "ended_at": NOW - 60 - 1000 * number if over else None,
        "by": "ann", "home": "laptop/shop", "cwd": "/home/ann/shop", "isolation": "worktree",
        "branch": f"paneview/default-{number:08x}", "conflicts": [], "kept": None,
        "budget_usd": None, "budget_tokens": None, "budget_warned": False, "phases": phases,
        **spent(sum(one["tokens"]["total"] for one in phases), sum(one["cost_usd"] or 0 for one in phases)),
    }  # fmt: skip
    return {**base, **more}


def four(*statuses: str) -> list[dict[str, Any]]:
    return [phase(name, status, at) for at, (name, status) in enumerate(zip(ROLES, statuses, strict=True))]


class FlowSupervisor(QueueSupervisor):
    """A supervisor whose project has workflows."""

    def __init__(self, flows: list[dict[str, Any]], **more: Any) -> None:
        super().__init__([], [worker(1, "reviewer.1"), worker(2, "worker.1", roles=["worker"])], **more)
        self.flows = {one["id"]: one for one in flows}
        self.transcripts: dict[tuple[str, str], str] = {}
        self.over = False

    # What the test does

    def put_flow(self, raw: dict[str, Any], **more: Any) -> None:
        self.flows[raw["id"]] = {**raw, **more}
        self._push({"push": "workflow", "workflow": self.flows[raw["id"]]})

    def show(self, name: str, phase: str, text: str, *, over: bool = False) -> None:
        self.transcripts[name, phase] = self.transcripts.get((name, phase), "") + text
        self.over = over

    # What the screen calls

    def _workflows(self, limit: int) -> dict[str, Any]:
        return {"workflows": [*self.flows.values()][:limit], "count": len(self.flows)}

    def _workflow(self, id: str) -> dict[str, Any]:  # noqa: A002
        return {"workflow": self.flows[id]}

    def _workflow_plans(self) -> dict[str, Any]:
        phases = [
            {"name": name, "role": role, "needs": [], "approve": "never"} for name, role in ROLES.items()
        ]
        careful = [{**one, "approve": "always" if one["name"] == "work" else "never"} for one in phases]
        return {
            "plans": [
                {"name": "default", "description": "", "isolation": "none", "budget_usd": None, "phases": phases},
                {"name": "careful", "description": "asks before it works", "isolation": "worktree",
                 "budget_usd": 2.0, "phases": careful},
            ]
        }  # fmt: skip

    def _workflow_transcript(
        self, id: str, phase: str, attempt: int, offset: int, limit: int  # noqa: A002
    ) -> dict[str, Any]:  # fmt: skip
        data = self.transcripts.get((id, phase), "").encode()
        text = data[offset : offset + limit].decode("utf-8", "ignore")
        end = offset + len(text.encode())
        return {"job": "", "phase": phase, "attempt": attempt, "text": text, "offset": offset, "end": end,
                "size": len(data), "over": self.over}  # fmt: skip

    def _workflow_diff(self, id: str) -> dict[str, Any]:  # noqa: A002
        return {"id": id, "diff": DIFF, "lines": 2, "files": 1, "base": "0123456789abcdef"}

    def _ask(self, text: str, workflow: str, **_: Any) -> dict[str, Any]:
        made = flow(0, "running", four("running", "pending", "pending", "pending"), task=text, workflow=workflow,
                    id=f"{workflow}-0000000a")  # fmt: skip
        self.put_flow(made)
        return {"workflow": made, "without_worker": ["planner"]}

    def _changed_flow(self, id: str, status: str, **_: Any) -> dict[str, Any]:  # noqa: A002
        if id not in self.flows:
            raise ControlError(f"there is no workflow {id}", "not_found")
        phases = [{**one, "waits_for_person": False} for one in self.flows[id]["phases"]]
        changed = {"status": status, "waits_for_person": False, "phases": phases, "reason": ""}
        if status in ("running", "cancelled"):
            changed["active"] = status == "running"
        self.put_flow(self.flows[id], **changed)
        return {"workflow": self.flows[id]}

    def _workflow_approve(self, id: str, **_: Any) -> dict[str, Any]:  # noqa: A002
        return self._changed_flow(id, "running")

    def _workflow_resume(self, id: str, **_: Any) -> dict[str, Any]:  # noqa: A002
        return self._changed_flow(id, "running")

    def _workflow_reject(self, id: str, **_: Any) -> dict[str, Any]:  # noqa: A002
        return self._changed_flow(id, "failed")

    def _workflow_cancel(self, id: str, **_: Any) -> dict[str, Any]:  # noqa: A002
        return self._changed_flow(id, "cancelled")

    def _workflow_retry(self, id: str, **_: Any) -> dict[str, Any]:  # noqa: A002
        return self._changed_flow(id, "running")


SAID = "● Read shop/cart.py\n  ↳ 40 lines\nThe sum leaves out the counts.\n"


def team(**more: Any) -> FlowSupervisor:
    """Workflows in every condition."""
    asks = four("done", "done", "waiting_approval", "pending")
    asks[2]["reason"] = "to be approved: it may edit files"
    broke = four("done", "failed", "pending", "pending")
    broke[1] |= {"reason": "exit code 2", "error": "Traceback: it did not work", "runs": 2, "attempt": 2}
    dear = four("done", "done", "pending", "pending")
    unpriced = four("done", "done", "done", "skipped")
    for one in unpriced[:3]:
        one.update(spent(15_000, None, 1))
    unpriced[3]["reason"] = "nothing new was learnt"
    flows = [
        flow(1, "running", four("done", "running", "pending", "pending")),
        flow(2, "waiting", asks, workflow="careful"),
        flow(3, "done", unpriced, **spent(45_000, None, 3)),
        flow(4, "failed", broke, reason="plan: exit code 2"),
        flow(5, "cancelled", four("done", "cancelled", "pending", "pending"), reason="not needed"),
        flow(6, "waiting", dear, waits_for_person=True, reason="its budget of $0.05 is spent", budget_usd=0.05,
             budget_warned=True),
        flow(7, "done", four("done", "done", "done", "done"), task="日本語 \x1b[31mred\x1b[0m and a very long sentence "
             "about what is to be done, which no line of a terminal holds"),
    ]  # fmt: skip
    supervisor = FlowSupervisor(flows, **more)
    for raw in flows:
        supervisor.show(raw["id"], "review", "● Bash ls\n")
        supervisor.show(raw["id"], "plan", SAID)
    return supervisor


def paused() -> FlowSupervisor:
    pause = {"runner": "claude", "status": "rate_limited", "reason": "", "until": NOW + 300, "host": ""}
    return team(paused=[pause])
