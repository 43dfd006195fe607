"""One retry loop in the whole stack, whoever stacks what: requests are counted on the wire."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from oarlock import Agent, BaseLLM, ChatLLM, LLMError, Reply, Request, ServerError, Task, tool
from oarlock.policies import CircuitBreaker, Deadline, Retry
from oarlock.testing import LoopbackEndpoint, ScriptedLLM, Status

INSIDE = Retry(5, base_delay=0, throttled_base_delay=0)
OUTSIDE = Retry(2, base_delay=0, throttled_base_delay=0)

Ask = Callable[[BaseLLM], Any]


def ask_blocking(llm: BaseLLM) -> Any:
    return llm.call("Hi")


def ask_async(llm: BaseLLM) -> Any:
    return asyncio.run(llm.acall("Hi"))


def ask_structured(llm: BaseLLM) -> Any:
    return llm.complete(Request(messages=[{"role": "user", "content": "Hi"}]))  # type: ignore[arg-type]


def ask_streaming(llm: BaseLLM) -> Any:
    return list(llm.stream("Hi"))


@pytest.fixture(params=[ask_blocking, ask_async, ask_structured, ask_streaming])
def ask(request: pytest.FixtureRequest) -> Ask:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def endpoint() -> Iterator[LoopbackEndpoint]:
    with LoopbackEndpoint(Status(500)) as endpoint:
        yield endpoint


def chat(endpoint: LoopbackEndpoint, kind: type[ChatLLM] = ChatLLM) -> ChatLLM:
    return kind("m", endpoint.url, policies=[INSIDE])


def sent(endpoint: LoopbackEndpoint, ask: Ask, llm: BaseLLM) -> int:
    """Return how many requests a failing call puts on the wire; they all carry one key."""
    with pytest.raises(LLMError):
        ask(llm)
    assert len(keys(endpoint)) == 1
    return len(endpoint.requests)


def keys(endpoint: LoopbackEndpoint) -> set[str | None]:
    return {request.headers.get("idempotency-key") for request in endpoint.requests}


class Rewriting(ChatLLM):
    """A ready LLM whose user wrote a `call()` around it."""

    def call(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
        return super().call(messages, *args, **kwargs)


class RewritingAsync(ChatLLM):
    async def acall(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
        return await super().acall(messages, *args, **kwargs)


class Asking(BaseLLM):
    """A user's own LLM that asks another one."""

    def __init__(self, other: BaseLLM) -> None:
        super().__init__()
        self.other = other

    def call(self, messages: Any) -> Any:
        return self.other.call(messages)


class AskingAsync(Asking):
    async def acall(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
        return await asyncio.create_task(self.other.acall(messages))


class AskingStructured(BaseLLM):
    def __init__(self, other: BaseLLM) -> None:
        super().__init__()
        self.other = other

    def complete(self, request: Request) -> Reply:
        return self.other.complete(request)


def test_the_loop_of_a_ready_llm(endpoint: LoopbackEndpoint, ask: Ask) -> None:
    assert sent(endpoint, ask, chat(endpoint)) == 5


def test_a_retry_given_later_takes_its_place(endpoint: LoopbackEndpoint, ask: Ask) -> None:
    assert sent(endpoint, ask, chat(endpoint).with_policies(Deadline(60), OUTSIDE)) == 2


@pytest.mark.parametrize("kind", [Rewriting, RewritingAsync])
def test_a_call_written_around_super(endpoint: LoopbackEndpoint, ask: Ask, kind: type[ChatLLM]) -> None:
    assert sent(endpoint, ask, chat(endpoint, kind).with_policies(OUTSIDE)) == 2


@pytest.mark.parametrize("kind", [Rewriting, RewritingAsync])
def test_a_call_written_around_super_without_a_retry_outside(
    endpoint: LoopbackEndpoint, ask: Ask, kind: type[ChatLLM]
) -> None:
    assert sent(endpoint, ask, chat(endpoint, kind)) == 5


@pytest.mark.parametrize("kind", [Asking, AskingAsync, AskingStructured])
def test_a_users_own_llm_that_asks_another(endpoint: LoopbackEndpoint, ask: Ask, kind: Any) -> None:
    assert sent(endpoint, ask, kind(chat(endpoint)).with_policies(OUTSIDE)) == 2


@pytest.mark.parametrize("kind", [Asking, AskingAsync, AskingStructured])
def test_one_that_asks_another_with_policies(endpoint: LoopbackEndpoint, ask: Ask, kind: Any) -> None:
    policed = ChatLLM("m", endpoint.url).with_policies(INSIDE, CircuitBreaker())
    assert sent(endpoint, ask, kind(kind(policed).with_policies(INSIDE)).with_policies(OUTSIDE)) == 2


@pytest.mark.parametrize("kind", [Asking, AskingAsync, AskingStructured])
def test_without_a_retry_outside_the_one_inside_works(endpoint: LoopbackEndpoint, ask: Ask, kind: Any) -> None:
    assert sent(endpoint, ask, kind(chat(endpoint))) == 5


def test_one_attempt_outside_is_one_attempt(endpoint: LoopbackEndpoint, ask: Ask) -> None:
    assert sent(endpoint, ask, Asking(chat(endpoint)).with_policies(Retry(1))) == 1


def test_two_questions_of_one_call_have_two_keys_the_same_in_each_attempt() -> None:
    class Twice(Asking):
        def call(self, messages: Any) -> Any:
            return [self.other.call("What?"), self.other.call("Really?")] and "never"

    with LoopbackEndpoint(["yes", Status(500), "yes", Status(500)]) as endpoint:
        with pytest.raises(LLMError):
            Twice(chat(endpoint)).with_policies(OUTSIDE).call("Hi")
        sent = [(request.prompt, request.headers["idempotency-key"]) for request in endpoint.requests]
    assert [prompt for prompt, _ in sent] == ["What?", "Really?"] * 2
    assert sent[:2] == sent[2:]
    assert sent[0][1] != sent[1][1]


def test_a_thread_of_the_users_own_does_not_multiply_either(endpoint: LoopbackEndpoint, ask: Ask) -> None:
    """It does not know of the loop around it, so the loop inside works, and the one outside sees that it gave up."""

    class InThread(Asking):
        def call(self, messages: Any) -> Any:
            with ThreadPoolExecutor(1) as threads:
                return threads.submit(self.other.call, messages).result()

    assert sent(endpoint, ask, InThread(chat(endpoint)).with_policies(OUTSIDE)) == 5


def test_nor_does_it_where_the_error_is_wrapped(endpoint: LoopbackEndpoint, ask: Ask) -> None:
    class InThread(Asking):
        def call(self, messages: Any) -> Any:
            try:
                with ThreadPoolExecutor(1) as threads:
                    return threads.submit(self.other.call, messages).result()
            except LLMError as error:
                raise RuntimeError("LLM request failed") from error

    assert sent(endpoint, ask, InThread(chat(endpoint)).with_policies(OUTSIDE)) == 5


def test_an_error_object_that_is_raised_again_is_tried_again() -> None:
    down = ServerError("down")
    for _ in range(2):
        llm = ScriptedLLM([down, down])
        with pytest.raises(ServerError):
            llm.with_policies(OUTSIDE).call("Hi")
        assert len(llm.requests) == 2


def test_a_key_is_made_of_whatever_messages_hold() -> None:
    odd = [{"role": "user", "content": "\ud800", 1: object(), (2,): {3}}]

    class Odd(Asking):
        def call(self, messages: Any) -> Any:
            return self.other.call(odd)  # type: ignore[arg-type]

    inner = ScriptedLLM(["ok"])
    assert Odd(inner.with_policies(INSIDE)).with_policies(OUTSIDE).call("Hi") == "ok"
    assert len(inner.requests[0].idempotency_key or "") == 32


# Agents and tools.


def agent(llm: BaseLLM, *tools: Any) -> Agent:
    return Agent(role="R", goal="G", backstory="B", llm=llm, tools=list(tools))


def test_an_agent_adds_no_loop_of_its_own(endpoint: LoopbackEndpoint) -> None:
    with pytest.raises(LLMError):
        agent(chat(endpoint)).execute_task(Task(description="D", expected_output="E"))
    assert len(endpoint.requests) == 5


def test_a_wrong_key_costs_an_agent_one_request() -> None:
    with LoopbackEndpoint(Status(401)) as endpoint:
        with pytest.raises(LLMError):
            agent(chat(endpoint)).execute_task(Task(description="D", expected_output="E"))
        assert len(endpoint.requests) == 1


class RunsTools(BaseLLM):
    """An LLM that runs tools itself, inside its `call()`."""

    def supports_function_calling(self) -> bool:
        return True

    def call(self, messages: Any, tools: Any = None, callbacks: Any = None, available_functions: Any = None) -> str:
        return f"The expert says: {available_functions['expert'](question='Why?')}"


def test_a_tool_that_asks_a_model_retries_by_itself(endpoint: LoopbackEndpoint) -> None:
    @tool
    def expert(question: str) -> str:
        """Ask an expert."""
        return str(chat(endpoint).call(question))

    with pytest.raises(LLMError):
        agent(RunsTools().with_policies(OUTSIDE), expert).execute_task(Task(description="D", expected_output="E"))
    assert len(endpoint.requests) == 5


def test_a_tool_of_the_agents_loop_retries_by_itself(endpoint: LoopbackEndpoint) -> None:
    @tool
    async def expert(question: str) -> str:
        """Ask an expert."""
        return str(await chat(endpoint).acall(question))

    script = ['Thought: ask\nAction: expert\nAction Input: {"question": "Why?"}', "Final Answer: Nobody knows."]
    llm = ScriptedLLM(script).with_policies(OUTSIDE)
    with pytest.raises(LLMError):
        agent(llm, expert).execute_task(Task(description="D", expected_output="E"))
    assert len(endpoint.requests) == 5


def test_two_questions_of_one_tool_have_two_keys() -> None:
    with LoopbackEndpoint("yes") as endpoint:

        @tool
        def expert(question: str) -> str:
            """Ask an expert."""
            return str(chat(endpoint).call(question)) + str(chat(endpoint).call(f"Really? {question}"))

        script = ['Thought: ask\nAction: expert\nAction Input: {"question": "Why?"}', "Final Answer: Yes."]
        agent(ScriptedLLM(script), expert).execute_task(Task(description="D", expected_output="E"))
        assert len(keys(endpoint)) == len(endpoint.requests) == 2
