"""The three brokers for chaos among real workers."""

from __future__ import annotations

from tests.broker.conftest import lab, server

__all__ = ["lab", "server"]
