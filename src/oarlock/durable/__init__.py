"""Durable runs: crews that survive a crash, in one process or on many machines. Needs `pip install 'oarlock[durable]'`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oarlock._lazy import lazy_names

if TYPE_CHECKING:
    from oarlock.durable.handle import RunEvent, RunHandle, submit
    from oarlock.durable.here import akickoff, kickoff
    from oarlock.durable.port import RunInfo, State
    from oarlock.durable.registry import Registry
    from oarlock.durable.schedule import Schedule
    from oarlock.durable.sealing import new_key
    from oarlock.durable.worker import Worker

__all__ = [
    "Registry",
    "RunEvent",
    "RunHandle",
    "RunInfo",
    "Schedule",
    "State",
    "Worker",
    "akickoff",
    "kickoff",
    "new_key",
    "submit",
]

__getattr__ = lazy_names(
    __name__,
    {
        "Registry": "registry",
        "RunEvent": "handle",
        "RunHandle": "handle",
        "RunInfo": "port",
        "Schedule": "schedule",
        "State": "port",
        "Worker": "worker",
        "akickoff": "here",
        "kickoff": "here",
        "new_key": "sealing",
        "submit": "handle",
    },
)
