"""One call against one fault, and everything about it that may be judged."""

from __future__ import annotations

import asyncio
import itertools
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from oarlock import ChatLLM, OarlockError, Reply, Request
from oarlock.auth import BearerToken
from oarlock.contract.errors import LLMError
from oarlock.policies import Deadline, Retry
from oarlock.testing import faults
from oarlock.testing.endpoint import RecordedRequest
from oarlock.testing.faults import Fault, FaultServer

CANARY = "Zq7canary4vX9Lm2"
"""What no error may show. It has no known form, so that only a library that knows what it sent can tell."""

SLACK = 20.0
"""Seconds beyond the deadline that a busy machine may add; who ignores the deadline waits for ever. The table in
docs/faults.md holds a quiet one to 1 s."""

NOBODYS = "belongs to nobody"

WAITS = {"hang_then_answer", "drip_then_answer"}
"""Faults that end with an answer, once an attempt's time is up."""
MESSAGES = [{"role": "user", "content": "What is 1 + 2?"}]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "add",
            "description": "Add two numbers.",
            "parameters": {
                "type": "object",
                "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
                "required": ["a", "b"],
            },
        },
    }
]


def limits(fault: Fault) -> tuple[float, float]:
    """Return the timeout of an attempt and the deadline.

    They are short where nothing but they end the call. Elsewhere they must not matter, however busy the machine is.
    """
    if fault.name in WAITS:
        return 1.0, 30.0
    late = "LLMTimeoutError" in fault.expect and fault.name != "status_408"
    return (0.5, 1.0) if late else (20.0, 30.0)


@dataclass(kw_only=True)
class Outcome:
    """What became of one call."""

    fault: Fault
    reply: Reply | None = None
    error: BaseException | None = None
    seconds: float = 0.0
    requests: list[RecordedRequest] = field(default_factory=list)
    connections: int = 0
    elsewhere: int = 0
    retried: list[str] = field(default_factory=list)
    llm: Any = None

    @property
    def word(self) -> str:
        return "answer" if self.error is None else f"{type(self.error).__name__}: {self.error}"


def tokens() -> Any:
    """Return a function that gives a new token at every call."""
    numbers = itertools.count()
    return lambda: f"{CANARY}{next(numbers)}"


def llm_for(server: FaultServer, outcome: Outcome, transport: str) -> ChatLLM:
    fault = outcome.fault
    timeout, deadline = limits(fault)

    def noted(error: LLMError) -> bool:
        outcome.retried.append(str(error))
        return error.retryable

    policies = [
        Deadline(deadline),
        Retry(base_delay=0.01, max_delay=0.02, throttled_base_delay=0.01, throttled_max_delay=0.02, retry_on=noted),
    ]
    outcome.llm = ChatLLM(
        "m",
        server.url,
        auth=BearerToken(tokens()),
        timeout=timeout,
        policies=policies,
        transport=transport,
        transport_options={"verify": server.ca_pem} if server.url.startswith("https") else None,
    )
    return outcome.llm


def request() -> Request:
    return Request(messages=MESSAGES, tools=TOOLS)


def ask(fault: Fault, transport: str, *, stream: bool | None = None) -> Outcome:
    outcome = Outcome(fault=fault)
    with faults.serve(fault) as server:
        llm = llm_for(server, outcome, transport)
        started = time.monotonic()
        try:
            if fault.stream if stream is None else stream:
                with llm.stream(MESSAGES, tools=TOOLS) as answer:
                    for _ in answer:
                        pass
                outcome.reply = answer.reply
            else:
                outcome.reply = llm.complete(request())
        except Exception as error:
            outcome.error = error
        return _seen(outcome, started, server)


async def aask(fault: Fault, transport: str, *, stream: bool | None = None) -> Outcome:
    outcome = Outcome(fault=fault)
    with faults.serve(fault) as server:
        llm = llm_for(server, outcome, transport)
        started = time.monotonic()
        try:
            if fault.stream if stream is None else stream:
                async with llm.astream(MESSAGES, tools=TOOLS) as answer:
                    async for _ in answer:
                        pass
                outcome.reply = answer.reply
            else:
                outcome.reply = await llm.acomplete(request())
        except Exception as error:
            outcome.error = error
        return _seen(outcome, started, server)


def _seen(outcome: Outcome, started: float, server: FaultServer) -> Outcome:
    outcome.seconds = time.monotonic() - started
    outcome.requests = server.requests
    outcome.connections = server.connections
    outcome.elsewhere = server.other_connections
    return outcome


def ask_all(chosen: list[Fault], transport: str, *, stream: bool | None = None) -> dict[str, Outcome]:
    outcomes = {}
    for some, at_once in _batches(chosen):
        with ThreadPoolExecutor(at_once) as pool:
            for outcome in pool.map(lambda fault: ask(fault, transport, stream=stream), some):
                outcomes[outcome.fault.name] = outcome
    return outcomes


def aask_all(chosen: list[Fault], transport: str, *, stream: bool | None = None) -> dict[str, Outcome]:
    async def limited(fault: Fault, room: asyncio.Semaphore) -> Outcome:
        async with room:
            return await aask(fault, transport, stream=stream)

    async def all_of_them() -> list[Outcome]:
        done = []
        for some, at_once in _batches(chosen):
            room = asyncio.Semaphore(at_once)
            done += await asyncio.gather(*(limited(fault, room) for fault in some))
        for outcome in done:  # the loop would end before it saw the server's end of an idle TLS connection
            await outcome.llm._transport.aclose()
        return done

    return {outcome.fault.name: outcome for outcome in asyncio.run(all_of_them())}


def problems(outcome: Outcome) -> list[str]:
    """Return what a good client would not have let happen, in words."""
    fault, error = outcome.fault, outcome.error
    found = []
    if not fault.is_met_by(error):
        found.append(f"expected {' or '.join(fault.expect)}, got {outcome.word}")
    if outcome.seconds > limits(fault)[1] + SLACK:
        found.append(f"took {outcome.seconds:.1f} s")
    sent = outcome.connections if fault.at == "accept" else len(outcome.requests)
    if sent > fault.requests:
        found.append(f"sent {sent} requests, at most {fault.requests} were right, after {outcome.retried}")
    if outcome.elsewhere:
        found.append("connected to another origin")
    if any("cookie" in request.headers for request in outcome.requests):
        found.append("sent a cookie")
    if len({request.headers.get("idempotency-key") for request in outcome.requests}) > 1:
        found.append("did not keep its idempotency key")
    if error is not None and CANARY in told(error):
        found.append("shows the credential")
    if error is not None and not isinstance(error, OarlockError):
        found.append("raised an error that is not ours")
    if outcome.reply is not None:
        found += _flaws(outcome.reply)
    return found


def _flaws(reply: Reply) -> list[str]:
    """Return what is wrong with an answer: nothing in it, texts that no file takes, usage that is no count."""
    found = []
    if not (reply.text.strip() or reply.tool_calls):
        found.append("returned an empty answer")
    if NOBODYS in reply.text:
        found.append("returned another request's answer")
    texts = [reply.text, *(text for call in reply.tool_calls for text in (call.name, call.arguments, call.id))]
    if any("\ud800" <= letter <= "\udfff" for text in texts for letter in text):
        found.append("returned a lone surrogate")
    usage = reply.usage
    counts = (usage.prompt_tokens, usage.completion_tokens, usage.cached_prompt_tokens)
    if not all(type(count) is int and 0 <= count < 2**60 for count in counts):
        found.append(f"returned {usage}")
    return found


def _batches(chosen: list[Fault]) -> list[tuple[list[Fault], int]]:
    """Return the faults that are waited for, many at once, and those that keep a processor busy, few at once."""
    waits = [fault for fault in chosen if fault.expect == ("LLMTimeoutError",)]
    return [(waits, 16), ([fault for fault in chosen if fault not in waits], 3)]


def _chain(error: BaseException | None, seen: set[int]) -> Iterator[BaseException]:
    if error is None or id(error) in seen:
        return
    seen.add(id(error))
    yield error
    yield from _chain(error.__cause__, seen)
    yield from _chain(error.__context__, seen)


def told(error: BaseException) -> str:
    """Return all that an error shows of itself: every error of its chain, its facts, and the traceback as printed."""
    parts = ["".join(traceback.format_exception(error))]
    for link in _chain(error, set()):
        parts += [str(link), repr(link), repr(link.args), repr(vars(link))]
    return "\n".join(parts)
