"""Durable runs: crews that survive a crash, in one process or on many machines. Needs `pip install 'oarlock[durable]'`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oarlock._lazy import lazy_names

if TYPE_CHECKING:
    from oarlock.durable.here import akickoff, kickoff

__all__ = ["akickoff", "kickoff"]

__getattr__ = lazy_names(__name__, {"akickoff": "here", "kickoff": "here"})
