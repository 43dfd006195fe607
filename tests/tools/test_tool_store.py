"""What a run keeps of its tools."""

from __future__ import annotations

import asyncio

from oarlock.runtime.aio import ASYNC
from oarlock.runtime.blocking import BLOCKING
from oarlock.tools import ToolAnswer, ToolStore, tool


async def test_a_call_that_blocks_the_loop_of_an_equal_one_does_not_wait_for_it() -> None:
    """As when a model's own `acall()` runs a tool that an agent beside it is running."""
    store, key, go_on = ToolStore(), (1, "{}"), asyncio.Event()

    async def slow() -> ToolAnswer:
        await go_on.wait()
        return ToolAnswer(text="slow", ran=True)

    async def quick() -> ToolAnswer:
        return ToolAnswer(text="quick", ran=True)

    first = asyncio.ensure_future(store.share(ASYNC, key, lambda answer: True, slow))
    await asyncio.sleep(0)
    assert BLOCKING.run(store.share(BLOCKING, key, lambda answer: True, quick)).text == "quick"
    go_on.set()
    assert (await first).text == "slow"
    again = await store.share(ASYNC, key, lambda answer: True, quick)
    assert (again.text, again.cached, again.ran) == ("slow", True, False)


async def test_a_leader_that_is_cancelled_leaves_the_call_to_the_next() -> None:
    store, key = ToolStore(), (1, "{}")

    async def never() -> ToolAnswer:
        await asyncio.Event().wait()
        raise AssertionError("it waits for ever")

    async def quick() -> ToolAnswer:
        return ToolAnswer(text="quick", ran=True)

    first = asyncio.ensure_future(store.share(ASYNC, key, lambda answer: True, never))
    await asyncio.sleep(0)
    second = asyncio.ensure_future(store.share(ASYNC, key, lambda answer: True, quick))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).text == "quick"
    assert first.cancelled() or not first.done()


def test_uses_are_counted_for_each_tool_object() -> None:
    @tool
    def one() -> str:
        """One."""
        return "1"

    @tool
    def two() -> str:
        """Two."""
        return "2"

    store = ToolStore()
    assert [store.use(one, 1), store.use(one, 1), store.use(two, 1), store.use(one, -1)] == [1, 2, 1, 1]
