"""The runtimes: the only place with clocks, threads and event loops. Knows nothing of models or agents."""

from __future__ import annotations

from oarlock.runtime.ambient import current_blocking, drive, drive_async
from oarlock.runtime.promise import Promise
from oarlock.runtime.protocol import Job, Runtime
from oarlock.runtime.reading import ReadRuntime, driver_of
from oarlock.runtime.threads import ThreadPool

__all__ = [
    "Job",
    "Promise",
    "ReadRuntime",
    "Runtime",
    "ThreadPool",
    "current_blocking",
    "drive",
    "drive_async",
    "driver_of",
]
