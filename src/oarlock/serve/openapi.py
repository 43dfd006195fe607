"""The table of what can be asked, from which come both the routes and the OpenAPI document, so that they cannot differ."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from oarlock import __version__
from oarlock.serve.schemas import SCHEMAS, ref

__all__ = ["Operation", "document", "routes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One thing that can be asked.

    Attributes:
        method: of HTTP.
        path: with parameters as Starlette has them.
        answer: answers a request.
        says: what it does, in a sentence.
        body: the schema of the request's body.
        gives: the schema of a good answer; `None` where it is no JSON.
        status: of a good answer.
        media: of a good answer.
        also: a second form of a good answer, such as a stream of events.
        query: further parameters: name, and schema.
        headers: of the request that mean something, likewise.
        open: without a key, too.
    """

    method: str
    path: str
    answer: Callable[[Request], Awaitable[Any]]
    says: str
    body: str | None = None
    gives: str | None = None
    status: int = 200
    media: str = "application/json"
    also: str | None = None
    query: dict[str, dict[str, Any]] = field(default_factory=dict)
    headers: dict[str, dict[str, Any]] = field(default_factory=dict)
    open: bool = False

    @property
    def shown_path(self) -> str:
        """The path as OpenAPI writes it."""
        return re.sub(r":\w+}", "}", self.path)


def routes(operations: Iterable[Operation]) -> list[Route]:
    """Return the routes to all of them."""
    return [Route(one.path, one.answer, methods=[one.method]) for one in operations]


def document(operations: Iterable[Operation], *, asks_for_keys: bool) -> dict[str, Any]:
    """Return the OpenAPI document."""
    paths: dict[str, dict[str, Any]] = {}
    for one in operations:
        paths.setdefault(one.shown_path, {})[one.method.lower()] = _described(one, asks_for_keys=asks_for_keys)
    components: dict[str, Any] = {"schemas": SCHEMAS}
    if asks_for_keys:
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "oarlock serve", "version": __version__},
        "paths": paths,
        "components": components,
    }


def _described(one: Operation, *, asks_for_keys: bool) -> dict[str, Any]:
    content: dict[str, Any] = {one.media: {"schema": ref(one.gives)} if one.gives else {}}
    if one.also is not None:
        content[one.also] = {}
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)", one.path)
    ]
    parameters += [{"name": name, "in": "query", "schema": schema} for name, schema in one.query.items()]
    parameters += [{"name": name, "in": "header", "schema": schema} for name, schema in one.headers.items()]
    described: dict[str, Any] = {
        "operationId": one.answer.__name__,
        "summary": one.says,
        "responses": {
            str(one.status): {"description": "It worked.", "content": content},
            "default": {"description": "It did not.", "content": {"application/json": {"schema": ref("Error")}}},
        },
    }
    if parameters:
        described["parameters"] = parameters
    if one.body is not None:
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": ref(one.body)}}}
    if asks_for_keys and not one.open:
        described["security"] = [{"key": []}]
    return described
