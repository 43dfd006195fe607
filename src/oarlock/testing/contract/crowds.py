"""Checks of one object that serves many at once."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

from oarlock.contract.llm import BaseLLM
from oarlock.contract.reply import Reply
from oarlock.testing.contract.asking import ask, ask_async
from oarlock.testing.contract.stage import question
from oarlock.testing.contract.subject import NotApplicable, Scene, require

__all__ = ["answers_not_mixed_up", "many_tasks", "many_threads"]

THREADS = 20
TASKS = 50


def many_threads(scene: Scene) -> None:
    """20 threads may ask one object at once."""
    _in_threads(scene.llm())


def many_tasks(scene: Scene) -> None:
    """50 tasks may ask one object at once."""
    asyncio.run(_in_tasks(scene.llm()))


def answers_not_mixed_up(scene: Scene) -> None:
    """Of those who ask at once, each gets the answer to their own question."""
    if not scene.subject.echoes:
        raise NotApplicable(
            "It needs answers that can be told apart: check_llm(..., echo=True), or a factory that takes a URL."
        )
    llm = scene.llm()
    for replies in (_in_threads(llm), asyncio.run(_in_tasks(llm))):
        for number, reply in enumerate(replies):
            words = reply.text.replace(".", " ").split()
            require(
                f"question-{number}" in words,
                f"The answer to question-{number} was {reply.text[:80]!r}: keep nothing of a call on self, use local variables.",
            )


def _in_threads(llm: BaseLLM) -> list[Reply]:
    together = threading.Barrier(THREADS)

    def one(number: int) -> Reply:
        together.wait()
        return ask(llm, question(number))

    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(one, range(THREADS)))


async def _in_tasks(llm: BaseLLM) -> list[Reply]:
    return await asyncio.gather(*(ask_async(llm, question(number)) for number in range(TASKS)))
