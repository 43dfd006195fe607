"""An LLM as a chat model of LangChain's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from operator import itemgetter
from typing import Any, Final

from langchain_core import exceptions
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, convert_to_openai_messages
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.output_parsers.openai_tools import make_invalid_tool_call, parse_tool_call
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from pydantic import BaseModel, PrivateAttr

from oarlock.compat.interop.asking import aask, ask, astream, retries, stream
from oarlock.compat.interop.errors import is_also
from oarlock.compat.interop.wire import request_of
from oarlock.contract import errors
from oarlock.contract.errors import ConfigurationError, LLMError
from oarlock.contract.estimates import text_tokens
from oarlock.contract.llm import BaseLLM
from oarlock.contract.reply import Reply, Usage
from oarlock.contract.request import Request
from oarlock.dialects.openai_chat.answering import Chunks, Envelope

__all__ = ["OarlockChatModel"]

_PROVIDER: Final = "oarlock"
_NOBODY: Final = Envelope(id="", created=0, model="")  # only what is inside is read
# LangChain's kinds of errors, by name: older versions do not have all of them. The first that fits counts.
_KINDS: Final[tuple[tuple[type[LLMError], str], ...]] = (
    (errors.AuthenticationError, "ModelAuthenticationError"),
    (errors.PermissionDeniedError, "ModelPermissionDeniedError"),
    (errors.RateLimitError, "ModelRateLimitError"),
    (errors.LLMTimeoutError, "ModelTimeoutError"),
    (errors.ConnectionFailedError, "ModelConnectionError"),
    (errors.ServerError, "ModelAPIError"),
    (errors.CircuitOpenError, "ModelAPIError"),
    (errors.ContextWindowExceededError, "ContextOverflowError"),
    (errors.BadRequestError, "ModelInvalidRequestError"),
    (errors.RefusalError, "ModelRefusalError"),
    (LLMError, "ModelError"),
)


class OarlockChatModel(BaseChatModel):
    """A `BaseChatModel`: `invoke`, `ainvoke`, `stream`, `astream`, `batch`, `bind_tools`, `with_structured_output`."""

    model: str
    _llm: BaseLLM = PrivateAttr()

    def __init__(self, llm: BaseLLM, **given: Any) -> None:
        super().__init__(model=llm.model, **{"profile": _profile(llm), **given})
        self._llm = llm

    @property
    def _llm_type(self) -> str:
        return _PROVIDER

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model": self.model, "endpoint": self._llm.endpoint_name()}

    def _generate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **given: Any
    ) -> ChatResult:
        with self._errors():
            return _result(ask(self._llm, _request(messages, stop, given)))

    async def _agenerate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **given: Any
    ) -> ChatResult:
        with self._errors():
            return _result(await aask(self._llm, _request(messages, stop, given)))

    def _stream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **given: Any
    ) -> Iterator[ChatGenerationChunk]:
        asked = _request(messages, stop, given)
        chunks = self._chunks(asked)
        with self._errors(), stream(self._llm, asked) as pieces:
            for delta in pieces:
                if chunk := _chunk(chunks.piece(delta)):
                    if run_manager:
                        run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                    yield chunk
            yield from _last(chunks, pieces.reply)

    async def _astream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **given: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        asked = _request(messages, stop, given)
        chunks = self._chunks(asked)
        with self._errors():
            async with astream(self._llm, asked) as pieces:
                async for delta in pieces:
                    if chunk := _chunk(chunks.piece(delta)):
                        if run_manager:
                            await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                        yield chunk
                for chunk in _last(chunks, pieces.reply):
                    yield chunk

    def bind_tools(
        self, tools: Sequence[Any], *, tool_choice: Any = None, strict: bool | None = None, **given: Any
    ) -> Runnable[Any, AIMessage]:
        """Return the model with these tools on offer.

        Args:
            tools: LangChain tools, functions, pydantic models or schemas.
            tool_choice: `"auto"`, `"none"`, `"required"` (or `"any"`, `True`), or a tool's name. Heard by LLMs that speak
                OpenAI's chat format.
            strict: have the endpoint keep to the schemas exactly.
            given: further fields of the request.
        """
        schemas = [convert_to_openai_tool(tool, strict=strict) for tool in tools]
        if tool_choice:
            given["tool_choice"] = _choice(tool_choice)
        return self.bind(tools=schemas, **given)

    def with_structured_output(
        self, schema: Any, *, method: str | None = None, include_raw: bool = False, **given: Any
    ) -> Runnable[Any, Any]:
        """Return a runnable whose output fits a schema.

        Args:
            schema: a pydantic model, a `TypedDict`, or a JSON schema.
            method: `"json_schema"` or `"function_calling"`; default: what the LLM does best.
            include_raw: give a dict of `raw`, `parsed` and `parsing_error`.
            given: `strict`, for schemas of tools.

        Raises:
            ConfigurationError: another method.
        """
        by_schema = self._llm.supports_json_schema() or not self._llm.supports_function_calling()
        chosen = method or ("json_schema" if by_schema else "function_calling")
        if chosen == "function_calling":
            return super().with_structured_output(schema, include_raw=include_raw, **given)
        if chosen not in ("json_schema", "json_mode"):
            raise ConfigurationError(f'method must be "json_schema" or "function_calling", not {method!r}.')
        wanted = convert_to_json_schema(schema)
        asked = self.bind(
            response_format={"type": "json_schema", "json_schema": {"name": "answer", "schema": wanted}},
            ls_structured_output_format={"kwargs": {"method": chosen}, "schema": wanted},
        )
        parser = PydanticOutputParser(pydantic_object=schema) if _is_model(schema) else JsonOutputParser()
        if not include_raw:
            return asked | parser
        parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
        failed = RunnablePassthrough.assign(parsed=lambda _: None)
        return RunnableMap(raw=asked) | parsed.with_fallbacks([failed], exception_key="parsing_error")

    def get_num_tokens(self, text: str) -> int:
        """Return about how many tokens a text has, without fetching a tokenizer."""
        return text_tokens(text)

    def _chunks(self, asked: Request) -> Chunks:
        return Chunks(envelope=_NOBODY, request=asked, cuts=not self._llm.supports_stop_words())

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Let errors be of LangChain's kinds as well, as its own integrations have it."""
        try:
            yield
        except LLMError as error:
            name = next(name for kind, name in _KINDS if isinstance(error, kind))
            kind = getattr(exceptions, name, None) or getattr(exceptions, "ModelError", exceptions.LangChainException)
            worth_it = error.retryable and not retries(self._llm)
            raise is_also(error, kind, is_retryable=worth_it, raw_message=None)  # noqa: B904  the same error

    def __repr__(self) -> str:
        return f"as_langchain_model({self._llm!r})"

    __str__ = __repr__


def _profile(llm: BaseLLM) -> dict[str, Any]:
    return {
        "max_input_tokens": llm.get_context_window_size(),
        "tool_calling": llm.supports_function_calling(),
        "structured_output": llm.supports_json_schema(),
    }


def _request(messages: list[BaseMessage], stop: list[str] | None, given: dict[str, Any]) -> Request:
    return request_of({**given, "messages": convert_to_openai_messages(messages), "stop": stop})


def _result(reply: Reply) -> ChatResult:
    calls, invalid = [], []
    for call in reply.tool_calls:
        written = dict(call.as_message())
        try:
            calls.append(parse_tool_call(written, return_id=True))
        except exceptions.OutputParserException as error:
            invalid.append(make_invalid_tool_call(written, str(error)))
    message = AIMessage(
        content=reply.text,
        tool_calls=calls,
        invalid_tool_calls=invalid,
        usage_metadata=_usage(reply.usage),
        response_metadata=_metadata(reply),
        id=reply.id,
    )
    return ChatResult(generations=[ChatGeneration(message=message)])


def _chunk(written: dict[str, Any] | None) -> ChatGenerationChunk | None:
    """Return what a chunk of the wire says, in LangChain's words."""
    if written is None:
        return None
    delta = written["choices"][0]["delta"]
    calls = [_call_chunk(call) for call in delta.get("tool_calls", ())]
    message = AIMessageChunk(content=delta.get("content") or "", tool_call_chunks=calls)
    return ChatGenerationChunk(message=message)


def _call_chunk(call: dict[str, Any]) -> dict[str, Any]:
    function = call["function"]
    return {
        "type": "tool_call_chunk",
        "index": call["index"],
        "id": call.get("id"),
        "name": function.get("name"),
        "args": function["arguments"],
    }


def _last(chunks: Chunks, reply: Reply) -> Iterator[ChatGenerationChunk]:
    """Yield what was not said yet, and the end with its usage."""
    for written in chunks.last(reply):
        if written["choices"] and written["choices"][0]["delta"] and (chunk := _chunk(written)):
            yield chunk
    message = AIMessageChunk(
        content="", usage_metadata=_usage(reply.usage), response_metadata=_metadata(reply), chunk_position="last"
    )
    yield ChatGenerationChunk(message=message)


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt_tokens,
        "output_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "input_token_details": {"cache_read": usage.cached_prompt_tokens},
    }


def _metadata(reply: Reply) -> dict[str, Any]:
    facts = {"model_name": reply.model, "finish_reason": reply.finish_reason}
    return {"model_provider": _PROVIDER, **{name: value for name, value in facts.items() if value is not None}}


def _choice(choice: Any) -> Any:
    if choice is True or choice == "any":
        return "required"
    if isinstance(choice, str) and choice not in ("auto", "none", "required"):
        return {"type": "function", "function": {"name": choice}}
    return choice


def _is_model(schema: Any) -> bool:
    return isinstance(schema, type) and issubclass(schema, BaseModel)
