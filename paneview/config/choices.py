"""What a task may choose among, for the models of the file and for the rules that act on it. Imports nothing heavy."""

from __future__ import annotations

from typing import Literal

Condition = Literal["started", "healthy", "completed"]
RestartPolicy = Literal["no", "on-failure", "always"]
