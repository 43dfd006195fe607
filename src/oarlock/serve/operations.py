"""All that can be asked of a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from starlette.requests import Request
from starlette.responses import Response

from oarlock.serve.chat.endpoint import ChatApi
from oarlock.serve.json import JsonAnswer
from oarlock.serve.openapi import Operation, document
from oarlock.serve.page import show_page
from oarlock.serve.runs.endpoint import RunsApi

if TYPE_CHECKING:
    from oarlock.telemetry import Prometheus

__all__ = ["all_operations"]

_EVENTS: Final = "text/event-stream"
_NUMBER: Final[dict[str, Any]] = {"type": "integer", "minimum": 0}


def all_operations(
    chat: ChatApi, runs: RunsApi, asks_for_keys: bool, metrics: Prometheus | None = None
) -> list[Operation]:
    """Return all operations, that which describes them included."""

    async def describe(_: Request) -> Response:
        return JsonAnswer(described)

    operations = [
        *_of_models(chat),
        *_of_crews(runs),
        *(() if metrics is None else (_of_metrics(metrics),)),
        Operation(
            method="GET", path="/health", answer=health, says="Say that the server is there.", gives="Health", open=True
        ),
        Operation(
            method="GET", path="/", answer=show_page, says="Show the live page of runs.", media="text/html", open=True
        ),
        Operation(method="GET", path="/openapi.json", answer=describe, says="Describe all this.", open=True),
    ]
    described = document(operations, asks_for_keys=asks_for_keys)
    return operations


async def health(_: Request) -> Response:
    """Answer `GET /health`."""
    return JsonAnswer({"status": "ok"})


def _of_metrics(metrics: Prometheus) -> Operation:
    async def show_metrics(request: Request) -> Response:
        text, media = metrics.scraped(request.headers.get("accept", ""))
        return Response(text, media_type=media)

    return Operation(
        method="GET", path="/metrics", answer=show_metrics, says="Show figures to Prometheus.", media="text/plain"
    )


def _of_models(chat: ChatApi) -> list[Operation]:
    return [
        Operation(
            method="POST",
            path="/v1/chat/completions",
            answer=chat.complete,
            says="Ask a model.",
            body="ChatRequest",
            gives="Completion",
            also=_EVENTS,
        ),
        Operation(method="GET", path="/v1/models", answer=chat.list_models, says="List the models.", gives="Models"),
        Operation(
            method="GET", path="/v1/models/{model:path}", answer=chat.one_model, says="Show a model.", gives="Model"
        ),
    ]


def _of_crews(runs: RunsApi) -> list[Operation]:
    return [
        Operation(method="GET", path="/crews", answer=runs.list_crews, says="List the crews.", gives="Crews"),
        Operation(
            method="POST",
            path="/crews/{crew}/runs",
            answer=runs.begin,
            says="Begin a run, or return the one that has this id already.",
            body="RunRequest",
            gives="Run",
            status=202,
        ),
        Operation(
            method="GET",
            path="/runs",
            answer=runs.list_runs,
            says="List your runs, the newest first.",
            gives="RunSummaries",
            query={"limit": {**_NUMBER, "maximum": 1000}},
        ),
        Operation(
            method="GET",
            path="/runs/{run}",
            answer=runs.one_run,
            says="Show a run, with its result; with wait, once it has ended or after so many seconds.",
            gives="Run",
            query={"wait": {**_NUMBER, "maximum": 60}},
        ),
        Operation(
            method="GET",
            path="/runs/{run}/events",
            answer=runs.events,
            says="Follow a run: its events since the one with this number, and those that come.",
            media=_EVENTS,
            query={"after": _NUMBER},
            headers={"Last-Event-ID": {"type": "string"}},
        ),
        Operation(
            method="POST",
            path="/runs/{run}/answers",
            answer=runs.answer,
            says="Answer a question that a run has for a human.",
            body="Answer",
            gives="Run",
        ),
        Operation(
            method="POST", path="/runs/{run}/cancel", answer=runs.cancel, says="End a run.", gives="Run", status=202
        ),
    ]
