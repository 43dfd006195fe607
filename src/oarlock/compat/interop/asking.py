"""How another framework's question is put to an LLM: once, with the structure it wants, and with a usage to count."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable, Sequence

from oarlock.agents.prompts import SCHEMA
from oarlock.contract.answers import cut_at_stop
from oarlock.contract.context import current_call
from oarlock.contract.endings import refuses_schemas
from oarlock.contract.errors import BadRequestError, ConfigurationError, a_kind
from oarlock.contract.estimates import with_usage
from oarlock.contract.llm import BaseLLM
from oarlock.contract.messages import Message
from oarlock.contract.order import retries
from oarlock.contract.reply import Delta, Reply
from oarlock.contract.request import DeltaSink, Request
from oarlock.runtime import Runtime, current_blocking, drive, drive_async
from oarlock.runtime.ambient import current_async
from oarlock.runtime.streams import AsyncStream, Stream

__all__ = ["aask", "ask", "astream", "checked_llm", "retries", "stream"]

_log = logging.getLogger("oarlock.compat")


def checked_llm(door: str, llm: object) -> BaseLLM:
    """Return what was given if it is an LLM.

    Raises:
        ConfigurationError: it is none.
    """
    if not isinstance(llm, BaseLLM):
        given = f"the class {llm.__name__}" if isinstance(llm, type) else a_kind(llm)
        raise ConfigurationError(f"{door}() takes an LLM of Oarlock's, such as ChatLLM(...), not {given}.")
    return llm


def ask(llm: BaseLLM, request: Request, each: Callable[[Delta], None] | None = None) -> Reply:
    """Return the answer, blocking.

    Args:
        llm: whom to ask.
        request: what.
        each: called with each piece of the answer as it comes, if that is wanted.

    Raises:
        OarlockError: there is none.
    """
    if each is None:
        return drive(_answer, llm, _inside(request))
    with stream(llm, request) as pieces:
        for delta in pieces:
            each(delta)
    return pieces.reply


async def aask(llm: BaseLLM, request: Request, each: Callable[[Delta], None] | None = None) -> Reply:
    """Return the answer, on the running event loop; see `ask`."""
    if each is None:
        return await drive_async(_answer, llm, _inside(request))
    async with astream(llm, request) as pieces:
        async for delta in pieces:
            each(delta)
    return pieces.reply


def stream(llm: BaseLLM, request: Request) -> Stream[Delta, Reply]:
    """Return the answer piece by piece, blocking."""
    runtime, asked = current_blocking(), _inside(request).replace(deltas=DeltaSink())
    return Stream(lambda: _answer(runtime, llm, asked))


def astream(llm: BaseLLM, request: Request) -> AsyncStream[Delta, Reply]:
    """Return the answer piece by piece, on the running event loop."""
    runtime, asked = current_async(), _inside(request).replace(deltas=DeltaSink())
    return AsyncStream(lambda: _answer(runtime, llm, asked))


def _inside(request: Request) -> Request:
    """Return the request with the limits that hold here: the framework may be running inside a tool of a crew's."""
    here = current_call()
    stop = (*here.stop, *(word for word in request.stop if word not in here.stop))
    return request.replace(stop=stop, deadline=here.deadline, idempotency_key=here.idempotency_key)


async def _answer(runtime: Runtime, llm: BaseLLM, request: Request) -> Reply:
    if request.tools and not llm.supports_function_calling():
        raise ConfigurationError(
            f"{llm!r} says that it cannot call functions, and was asked with tools: use an LLM whose "
            "supports_function_calling() is true, or an agent of Oarlock's, which lets it use tools by writing text."
        )
    for name in request.options or ():
        if not llm.supports_option(name):
            _log.debug("%r takes no %r, and is asked without.", llm, name)
    schema = request.json_schema
    if schema is None:
        return _finished(await llm.handle_request(runtime, request), llm, request)
    # In the prompt in any case: few endpoints show the model the schema that they bind its answer to.
    text = SCHEMA.format(schema=json.dumps(schema, ensure_ascii=False))
    request = request.replace(messages=_with_text(request.messages, text), json_schema=None)
    if llm.supports_json_schema():
        try:
            return _finished(await llm.handle_request(runtime, request.replace(json_schema=schema)), llm, request)
        except BadRequestError as error:
            if not refuses_schemas(error):
                raise
    return _finished(await llm.handle_request(runtime, request), llm, request)


def _finished(reply: Reply, llm: BaseLLM, request: Request) -> Reply:
    """Return the reply with a usage, and cut at its stop words if its LLM does not know them."""
    if request.stop and not llm.supports_stop_words():
        reply = dataclasses.replace(reply, text=cut_at_stop(reply.text, request.stop))
    return with_usage(reply, request)


def _with_text(messages: Sequence[Message], text: str) -> list[Message]:
    """Return the messages with this text at the end of the last one that the user wrote."""
    changed = list(messages)
    for at in range(len(changed) - 1, -1, -1):
        if changed[at].get("role") == "user":
            content = changed[at].get("content")
            longer = [*content, {"type": "text", "text": text}] if isinstance(content, list) else f"{content}{text}"
            changed[at] = {**changed[at], "content": longer}
            return changed
    return [*changed, {"role": "user", "content": text.strip()}]
