"""Checks that blocking and `async` use are the same, and that neither is in the other's way."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable

from oarlock.contract.llm import BaseLLM
from oarlock.contract.reply import Delta, Reply
from oarlock.testing.contract.asking import ask, ask_async, name_of, request
from oarlock.testing.contract.stage import question
from oarlock.testing.contract.subject import Scene, require
from oarlock.testing.endpoint import Hang, LoopbackEndpoint

__all__ = ["both_colours", "inside_event_loop", "loop_stays_free", "streams"]

PATIENCE = 2.0
"""Seconds in which an event loop that is not blocked surely takes a turn."""


def both_colours(scene: Scene) -> None:
    """call, acall, complete and acomplete all answer, and the same."""
    llm = scene.llm()

    async def in_colour() -> list[Reply]:
        return [await ask_async(llm, question(1)), await llm.acomplete(request(question(1)))]

    replies = [ask(llm, question(1)), llm.complete(request(question(1))), *asyncio.run(in_colour())]
    texts = [reply.text for reply in replies]
    require(
        not scene.subject.takes_url or len(set(texts)) == 1,
        f"call, complete, acall and acomplete returned, for one and the same answer, {texts}: return it alike.",
    )


def streams(scene: Scene) -> None:
    """The pieces of stream and astream together are the reply's text."""
    llm = scene.llm()
    stream = llm.stream(question(1))
    _compare("stream", list(stream), stream.reply)

    async def in_colour() -> None:
        astream = llm.astream(question(1))
        _compare("astream", [delta async for delta in astream], astream.reply)

    asyncio.run(in_colour())


def _compare(method: str, deltas: Iterable[Delta], reply: Reply) -> None:
    text = "".join(map(str, deltas))
    require(text == reply.text, f"The pieces of {method}() make {text!r}, but its reply is {reply.text!r}.")


def inside_event_loop(scene: Scene) -> None:
    """While an event loop runs in the same thread, as in a notebook, call works too."""
    llm = scene.llm()

    async def notebook() -> None:
        ask(llm, question(1))

    asyncio.run(notebook())


def loop_stays_free(scene: Scene) -> None:
    """While acall waits for its answer, the event loop serves others."""
    llm, endpoint = scene.behind(Hang(then="Here I am."))
    came, stood_still = threading.Event(), threading.Event()
    watch = threading.Thread(target=_watch, args=(endpoint, came, stood_still), daemon=True)
    watch.start()
    asyncio.run(_ask_and_look(llm, endpoint, came))
    came.set()
    watch.join()
    require(
        not stood_still.is_set(),
        f"{name_of(llm, 'acall')} stopped the event loop while it waited: await an async client, or write only call(), "
        "which then runs in a thread.",
    )


async def _ask_and_look(llm: BaseLLM, endpoint: LoopbackEndpoint, came: threading.Event) -> None:
    asking = asyncio.ensure_future(ask_async(llm, question(1)))
    while not (endpoint.requests or asking.done()):  # noqa: ASYNC110  the endpoint has threads, no events of this loop
        await asyncio.sleep(0.001)
    came.set()
    endpoint.release()
    await asking


def _watch(endpoint: LoopbackEndpoint, came: threading.Event, stood_still: threading.Event) -> None:
    """Let the answer go if the event loop does not come to it."""
    while not endpoint.requests:
        if came.wait(0.001):
            return
    if not came.wait(PATIENCE):
        stood_still.set()
        endpoint.release()
