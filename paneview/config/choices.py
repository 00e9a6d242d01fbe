"""The values some of a task's keys may have, for the file's models and for the rules. Imports nothing heavy."""

from __future__ import annotations

from typing import Literal

Condition = Literal["started", "healthy", "completed"]
RestartPolicy = Literal["no", "on-failure", "always"]
