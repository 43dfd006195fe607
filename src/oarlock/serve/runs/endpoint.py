"""`/crews` and `/runs`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from contextlib import aclosing, suppress
from functools import partial
from typing import Any, Final

from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.types import ASGIApp

from oarlock.agents.crew import Crew
from oarlock.serve.callers import Caller
from oarlock.serve.chat.asked import parsed, wrong
from oarlock.serve.connection import read_json_body, unless_gone
from oarlock.serve.errors import ApiError
from oarlock.serve.events import EventAnswer, Put
from oarlock.serve.json import JsonAnswer, dumps
from oarlock.serve.record import RECORD
from oarlock.serve.runs.failures import failure
from oarlock.serve.runs.run import Run
from oarlock.serve.runs.runs import Runs, needed_inputs
from oarlock.serve.settings import Limits

__all__ = ["RunsApi"]

_RUN_ID: Final = re.compile(r"[\w.-]{1,64}", re.ASCII)
_LONGEST_WAIT: Final = 60.0  # seconds for one request; clients and proxies give up soon after
_LONGEST_ANSWER: Final = 100_000  # characters


class RunsApi:
    """The endpoints that have to do with crews."""

    def __init__(self, runs: Runs, limits: Limits) -> None:
        self._runs = runs
        self._limits = limits

    async def list_crews(self, _: HttpRequest) -> Response:
        """Answer `GET /crews`."""
        return JsonAnswer({"object": "list", "data": [_crew(name, crew) for name, crew in self._runs.crews.items()]})

    async def begin(self, http: HttpRequest) -> Response:
        """Answer `POST /crews/{crew}/runs`."""
        name = http.path_params["crew"]
        crew = self._runs.crew(name)
        given = parsed(await read_json_body(http, self._limits))
        _only(given, "inputs", "run_id")
        run_id = given.get("run_id")
        if run_id is not None and not (isinstance(run_id, str) and _RUN_ID.fullmatch(run_id)):
            raise wrong("run_id", "'run_id' must be 1 to 64 letters, digits or . _ -.")
        run = self._runs.begin(name, _inputs(given, crew), _caller(http), run_id)
        return JsonAnswer(run.whole(), 202, {"location": f"{http.scope.get('root_path', '')}/runs/{run.id}"})

    async def list_runs(self, http: HttpRequest) -> Response:
        """Answer `GET /runs`."""
        limit = _number(http, "limit", 100, 1000)
        return JsonAnswer({"object": "list", "data": [run.summary() for run in self._runs.of(_caller(http))[:limit]]})

    async def one_run(self, http: HttpRequest) -> Response:
        """Answer `GET /runs/{run}`, with `?wait=` once it has ended, or after so many seconds."""
        run = self._run(http)
        seconds = _number(http, "wait", 0, _LONGEST_WAIT)
        if seconds and run.ended is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await unless_gone(http.receive, run.over.wait())
        return JsonAnswer(run.whole())

    async def events(self, http: HttpRequest) -> ASGIApp:
        """Answer `GET /runs/{run}/events`: those after `Last-Event-ID`, or after `?after=`, and those that come."""
        run = self._run(http)
        said = http.headers.get("last-event-id", "").strip()
        after = int(said) if said.isascii() and said.isdigit() and len(said) < 16 else _number(http, "after", 0, 10**15)
        return EventAnswer(partial(_follow, run, after), self._limits.heartbeat_seconds, {}, _broken_off)

    async def answer(self, http: HttpRequest) -> Response:
        """Answer `POST /runs/{run}/answers`."""
        run = self._run(http)
        given = parsed(await read_json_body(http, self._limits))
        _only(given, "question", "answer", "approve")
        question = run.questions.get(str(given.get("question")))
        if question is None:
            raise ApiError(404, "There is no such question, or it has been answered.", code="question_not_found")
        run.answer(question.id, _verdict(given) if question.kind == "approval" else _changes(given))
        return JsonAnswer(run.whole())

    async def cancel(self, http: HttpRequest) -> Response:
        """Answer `POST /runs/{run}/cancel`."""
        run = self._run(http)
        await self._runs.cancel(run)
        return JsonAnswer(run.whole(), 202)

    def _run(self, http: HttpRequest) -> Run:
        return self._runs.find(http.path_params["run"], _caller(http))


async def _follow(run: Run, after: int, put: Put) -> None:
    await put(b": following\n\n")  # so that the answer begins before the next event
    async with aclosing(run.journal.read(after)) as events:
        async for event in events:
            await put(event)


def _broken_off(error: Exception) -> bytes:
    return b"event: error\ndata: " + dumps(failure(error)) + b"\n\n"


def _caller(http: HttpRequest) -> Caller:
    caller: Caller = http.scope[RECORD].caller
    return caller


def _crew(name: str, crew: Crew) -> dict[str, Any]:
    return {
        "id": name,
        "object": "crew",
        "inputs": needed_inputs(crew),
        "tasks": [task.name for task in crew.tasks],
        "agents": [agent.role for agent in crew.agents],
    }


def _inputs(given: Mapping[str, Any], crew: Crew) -> dict[str, Any]:
    """Return the inputs in a body.

    Raises:
        ApiError: 400, one is missing; not where a function of the crew's may add it.
    """
    inputs = given.get("inputs")
    if inputs is None:
        inputs = {}
    if not isinstance(inputs, dict):
        raise wrong("inputs", "'inputs' must be an object of names and values.", "invalid_type")
    missing = [name for name in needed_inputs(crew) if name not in inputs]
    if missing and not crew.before_kickoff_callbacks:
        raise wrong(f"inputs.{missing[0]}", f"The crew needs an input {missing[0]!r}.", "missing_input")
    return inputs


def _only(given: Mapping[str, Any], *names: str) -> None:
    unknown = next((name for name in given if name not in names), None)
    if unknown is not None:
        raise wrong(
            unknown[:64], f"There is no field {unknown[:64]!r} here, only {', '.join(names)}.", "unknown_parameter"
        )


def _changes(given: Mapping[str, Any]) -> str:
    """Return what to change about an answer, empty to take it."""
    said = given.get("answer", "")
    if not isinstance(said, str) or len(said) > _LONGEST_ANSWER or "approve" in given:
        raise wrong("answer", "'answer' must be a text: what to change, or nothing to accept the answer.")
    return said


def _verdict(given: Mapping[str, Any]) -> bool | str:
    """Return whether a tool may run, or why not."""
    approved, reason = given.get("approve"), given.get("answer", "")
    if not isinstance(approved, bool) or not isinstance(reason, str) or len(reason) > _LONGEST_ANSWER:
        raise wrong("approve", "'approve' must be true or false; 'answer' may say why.")
    return approved or reason or False


def _number(http: HttpRequest, name: str, default: float, most: float) -> int:
    said = http.query_params.get(name)
    if said is None:
        return int(default)
    if not (said.isascii() and said.isdigit()) or len(said) > 15 or int(said) > most:
        raise wrong(name, f"'{name}' must be a whole number from 0 to {most:g}.")
    return int(said)
