"""What every adapter does with a question before the LLM sees it, and what is said when there is no adapter."""

from __future__ import annotations

import asyncio
import pickle
import sys
import time
from typing import Any

import pytest

from oarlock import (
    LLM,
    AuthenticationError,
    BadRequestError,
    BaseLLM,
    ChatLLM,
    ConfigurationError,
    Request,
    compat,
    current_call,
)
from oarlock.compat.interop.asking import aask, ask, astream, stream
from oarlock.compat.interop.errors import is_also
from oarlock.contract.context import scope
from oarlock.errors import BudgetExceededError, LLMTimeoutError
from oarlock.policies import Budget
from oarlock.testing import FunctionLLM, LoopbackEndpoint, ScriptedLLM
from oarlock.testing.endpoint import Status

DOORS = {
    "as_async_openai_client": "openai",
    "as_crewai_llm": "crewai",
    "as_langchain_model": "langchain-core",
    "as_openai_agents_model": "openai-agents",
    "as_openai_client": "openai",
    "as_pydantic_ai_model": "pydantic-ai-slim[openai]",
}
HI = [{"role": "user", "content": "Hi"}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}


class WithSchemas(ScriptedLLM):
    def supports_json_schema(self) -> bool:
        return True


@pytest.mark.parametrize(("door", "package"), DOORS.items())
def test_a_missing_package_is_named(door: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("agents", "crewai", "langchain_core", "openai", "pydantic_ai"):  # whatever is installed here
        monkeypatch.setitem(sys.modules, name, None)
    for name in [name for name in sys.modules if name.startswith("oarlock.compat.interop.")]:  # by an earlier test
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ConfigurationError) as caught:
        getattr(compat, door)(ScriptedLLM([]))
    assert str(caught.value).startswith(f"{door}() needs the package {package} (")
    assert f"pip install '{package}'" in str(caught.value)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("wrong", "named"), [("gpt-4o", "a str"), (None, "nothing"), (ScriptedLLM, "the class ScriptedLLM")]
)
def test_what_is_no_llm_is_refused(door: str, wrong: Any, named: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"{door}\(\) takes an LLM of Oarlock's, .* not {named}\."):
        getattr(compat, door)(wrong)


def test_where_crewai_means_oarlock_its_agents_take_the_llm_as_it_is() -> None:
    with compat.as_crewai(force=True), pytest.raises(ConfigurationError, match=r"Agent\(llm=llm\)"):
        compat.as_crewai_llm(ScriptedLLM([]))


def test_usage_is_estimated_where_the_llm_does_not_tell_it() -> None:
    reply = ask(ScriptedLLM(["Some words"]), Request(messages=[{"role": "user", "content": "Some more words"}]))
    assert reply.usage.estimated
    assert reply.usage.requests == 1
    assert reply.usage.total_tokens > 0


async def test_all_colours() -> None:
    request = Request(messages=HI)
    assert ask(ScriptedLLM(["Row row"]), request).text == "Row row"
    assert (await aask(ScriptedLLM(["Row row"]), request)).text == "Row row"
    with stream(ScriptedLLM(["Row row"]), request) as pieces:
        assert [str(piece) for piece in pieces] == ["Row ", "row"]
        assert pieces.reply.text == "Row row"
    async with astream(ScriptedLLM(["Row row"]), request) as apieces:
        assert [str(piece) async for piece in apieces] == ["Row ", "row"]
        assert apieces.reply.text == "Row row"


def test_tools_need_an_llm_that_calls_functions() -> None:
    with pytest.raises(ConfigurationError, match="says that it cannot call functions"):
        ask(ScriptedLLM(["Hello"]), Request(messages=HI, tools=(TOOL,)))


@pytest.mark.parametrize("bound", [True, False])
def test_a_schema_is_in_the_prompt_and_binds_where_it_can(bound: bool) -> None:
    llm = (WithSchemas if bound else ScriptedLLM)(["{}"])
    ask(llm, Request(messages=HI, json_schema=SCHEMA))
    (asked,) = llm.requests
    assert asked.json_schema == (SCHEMA if bound else None)
    assert asked.messages[-1]["content"].startswith("Hi\n\nThe complete answer is one JSON value")
    assert HI == [{"role": "user", "content": "Hi"}]


@pytest.mark.parametrize(
    ("messages", "last"),
    [
        ([{"role": "user", "content": [{"type": "text", "text": "Hi"}]}, {"role": "tool", "content": "1"}], None),
        ([{"role": "system", "content": "Be kind."}], "user"),
    ],
)
def test_where_a_schema_is_written(messages: list[Any], last: str | None) -> None:
    llm = ScriptedLLM(["{}"])
    ask(llm, Request(messages=messages, json_schema=SCHEMA))
    asked = llm.requests[0].messages
    if last is None:  # behind the last words of the user, wherever they are
        assert len(asked) == len(messages)
        assert [part["type"] for part in asked[0]["content"]] == ["text", "text"]
    else:
        assert asked[-1]["role"] == last
        assert asked[-1]["content"].startswith("The complete answer")


def test_an_endpoint_that_refuses_schemas_is_asked_without() -> None:
    refusal = BadRequestError("response_format is not supported", status=400)
    llm = WithSchemas([refusal, "{}"])
    assert ask(llm, Request(messages=HI, json_schema=SCHEMA)).text == "{}"
    assert [request.json_schema for request in llm.requests] == [SCHEMA, None]


def test_another_refusal_is_one() -> None:
    llm = WithSchemas([BadRequestError("No such model", status=404)])
    with pytest.raises(BadRequestError, match="No such model"):
        ask(llm, Request(messages=HI, json_schema=SCHEMA))
    assert len(llm.requests) == 1


def test_limits_of_the_crew_around_hold() -> None:
    """As in a tool of a crew's that runs a LangChain agent."""
    llm, deadline = ScriptedLLM(["Hello"]), time.monotonic() + 1000
    with scope(deadline=deadline, stop=("END",), idempotency_key="k"):
        ask(llm, Request(messages=HI, stop=("END", "STOP")))
    (asked,) = llm.requests
    assert (asked.deadline, asked.stop, asked.idempotency_key) == (deadline, ("END", "STOP"), "k")


def test_an_llm_without_stop_words_is_cut() -> None:
    with LoopbackEndpoint(["one END two"]) as endpoint:
        llm = LLM("openai/gpt-5", base_url=endpoint.url, api_key="k")
        assert ask(llm, Request(messages=HI, stop=("END",))).text == "one "
        assert "stop" not in endpoint.requests[0].json


def test_budgets_around_hold() -> None:
    llm = ScriptedLLM(["Hello", "Hello again"])
    with Budget(requests=1):
        ask(llm, Request(messages=HI))
        with pytest.raises(BudgetExceededError):
            ask(llm, Request(messages=HI))
    assert len(llm.requests) == 1


def test_what_the_user_of_the_run_is_reaches_the_llm() -> None:
    def who(messages: Any, tools: Any) -> str:
        return str(current_call().user)

    with scope(user="ada"):
        assert ask(FunctionLLM(who), Request(messages=HI)).text == "ada"


@pytest.mark.parametrize("error", [AuthenticationError("No.", status=401), LLMTimeoutError("Late.", retry_after=2)])
def test_errors_of_two_kinds(error: Any) -> None:
    class Theirs(Exception):
        pass

    ours = type(error)
    changed = is_also(error, Theirs, module="elsewhere", is_retryable=False)
    assert changed is error
    assert isinstance(error, ours)
    assert isinstance(error, Theirs)
    assert (type(error).__module__, type(error).__name__, error.is_retryable) == ("elsewhere", ours.__name__, False)
    read = pickle.loads(pickle.dumps(error))
    assert type(read) is ours
    assert (str(read), read.status, read.retry_after) == (str(error), error.status, error.retry_after)
    again = is_also(error, LookupError)  # raised through two frameworks
    assert isinstance(again, LookupError)
    assert not isinstance(again, Theirs)


def test_a_custom_call_gets_what_it_takes(caplog: pytest.LogCaptureFixture) -> None:
    class Own(BaseLLM):
        def call(self, messages: Any, top_p: float = 1.0) -> str:
            return f"top_p={top_p}"

    caplog.set_level("DEBUG", "oarlock.compat")
    assert ask(Own(), Request(messages=HI, options={"top_p": 0.5, "seed": 7})).text == "top_p=0.5"
    assert [record.getMessage() for record in caplog.records] == [
        "Own(model='custom') takes no 'seed', and is asked without."
    ]


def test_a_refused_stream_is_asked_again_without_the_schema() -> None:
    refusal = Status(400, body='{"error": {"message": "json_schema is not supported"}}')
    with LoopbackEndpoint([refusal, "{}"]) as endpoint:

        async def main() -> str:
            async with astream(ChatLLM("m", endpoint.url), Request(messages=HI, json_schema=SCHEMA)) as pieces:
                return "".join([str(piece) async for piece in pieces])

        assert asyncio.run(main()) == "{}"
        assert ["response_format" in request.json for request in endpoint.requests] == [True, False]
