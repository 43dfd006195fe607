"""Every fault against `ChatLLM`: both transports, blocking and async, whole and streamed."""

from __future__ import annotations

import functools

import pytest
from fault_matrix import Outcome, aask_all, ask, ask_all, problems

from oarlock.testing import faults

pytestmark = pytest.mark.timeout(300)  # the first test of a colour runs all of its faults, many at once

# Fault, and where it is not yet survived. Strict: an entry that is mended must go.
KNOWN: dict[str, str] = {}

WAYS = [
    pytest.param(transport, colour, stream, id=f"{transport}-{colour}{'-stream' if stream else ''}")
    for transport in ("pyreqwest", "httpx2")
    for colour in ("blocking", "async")
    for stream in (None, True)  # as the fault is meant; and all others while a stream is asked for
]


@functools.cache
def outcomes(transport: str, colour: str, stream: bool | None) -> dict[str, Outcome]:
    ask(faults.get("answer"), transport)  # so that no time is spent on imports later
    chosen = [fault for fault in map(faults.get, faults.names()) if not (stream and fault.stream)]
    return (ask_all if colour == "blocking" else aask_all)(chosen, transport, stream=stream)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.xfail(reason=KNOWN[name], strict=True)) if name in KNOWN else name
        for name in faults.names()
    ],
)
@pytest.mark.parametrize(("transport", "colour", "stream"), WAYS)
def test_a_fault_is_survived(transport, colour, stream, name):
    if not (stream and faults.get(name).stream):
        assert problems(outcomes(transport, colour, stream)[name]) == []
