"""A crew of ours as a client of our server: what goes in at one end comes out at the other as what it was."""

from collections.abc import Iterator

import pytest
from serve_helpers import HELLO, KEY, key

from oarlock import Agent, ChatLLM, Crew, Request, Task, tool
from oarlock.auth import ApiKey as ShowKey
from oarlock.contract.reply import Reply, ToolCall, Usage
from oarlock.errors import (
    AuthenticationError,
    BadRequestError,
    BudgetExceededError,
    CircuitOpenError,
    ConnectionFailedError,
    ContentFilterError,
    ContextWindowExceededError,
    EmptyReply,
    LLMError,
    LLMTimeoutError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
    RefusalError,
    ServerError,
    TruncatedReply,
)
from oarlock.serve import create_app, serving
from oarlock.testing import FunctionLLM, ScriptedLLM


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def crew_on(llm: ChatLLM) -> Crew:
    agent = Agent(role="Clerk", goal="Sums", backstory="Exact.", llm=llm, tools=[add])
    return Crew(agents=[agent], tasks=[Task(description="What is 2 + 3?", expected_output="A number", agent=agent)])


def script() -> ScriptedLLM:
    usage = Usage(prompt_tokens=10, completion_tokens=5)
    call = ToolCall(id="c1", name="add", arguments='{"a": 2, "b": 3}')
    replies = [Reply(tool_calls=(call,), usage=usage), Reply(text="It is 5.", usage=usage)]
    return ScriptedLLM(replies, supports_function_calling=True)


def test_a_crew_with_a_tool():
    llm = script()
    with serving(create_app({"mine": llm}, keys=[key()])) as url:
        result = crew_on(ChatLLM("mine", f"{url}/v1", auth=ShowKey(KEY))).kickoff()
    assert str(result) == "It is 5."
    assert result.usage_metrics.total_tokens == 30
    assert llm.requests[1].messages[-1]["content"] == "5"


async def test_many_runs_at_once():
    llm = ScriptedLLM([reply for _ in range(50) for reply in ["It is 5."]])
    with serving(create_app({"mine": llm})) as url:
        crew = crew_on(ChatLLM("mine", f"{url}/v1", function_calling=False))
        results = await crew.akickoff_for_each([{}] * 50)
    assert {str(result) for result in results} == {"It is 5."}


ERRORS = [
    (AuthenticationError("401"), ServerError, 502, False),
    (PermissionDeniedError("403"), ServerError, 502, False),
    (QuotaExceededError("empty"), QuotaExceededError, 429, False),
    (RateLimitError("slow", retry_after=2.5), RateLimitError, 429, True),
    (BudgetExceededError("used up"), QuotaExceededError, 429, False),
    (LLMTimeoutError("slow"), ServerError, 504, True),
    (ConnectionFailedError("refused"), ServerError, 502, True),
    (ServerError("500", status=500), ServerError, 502, True),
    (ServerError("overloaded", status=529), ServerError, 503, True),
    (CircuitOpenError("open", retry_after=4), ServerError, 503, True),
    (BadRequestError("no", status=400), BadRequestError, 400, False),
    (BadRequestError("no such model", status=404), ServerError, 502, False),
    (ContextWindowExceededError("too long", status=400), ContextWindowExceededError, 400, False),
    (ContentFilterError("filtered"), ContentFilterError, 400, False),
    (EmptyReply("nothing"), ServerError, 502, False),
    (TruncatedReply("cut", text="Once"), TruncatedReply, None, False),
    (RefusalError("It refused."), RefusalError, None, False),
    (ZeroDivisionError("a bug"), ServerError, 502, False),
]


@pytest.fixture(scope="module")
def failing() -> Iterator[str]:
    """A server with one model for each error, which raises it."""
    models = {f"error-{number}": FunctionLLM(raising(case[0])) for number, case in enumerate(ERRORS)}
    with serving(create_app(models)) as url:
        yield f"{url}/v1"


def raising(error: Exception):
    def fail(messages, tools):
        raise error

    return fail


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("number", range(len(ERRORS)), ids=[type(case[0]).__name__ for case in ERRORS])
def test_errors_come_out_as_what_they_are(failing, number, streaming):
    error, seen, status, retryable = ERRORS[number]
    client = ChatLLM(f"error-{number}", failing, policies=[])
    with pytest.raises(LLMError) as caught:
        if streaming:
            for _ in client.stream("Hi"):
                pass
        else:
            client.call("Hi")
    assert type(caught.value) is seen
    assert (caught.value.status, caught.value.retryable) == (status, retryable)
    if isinstance(error, LLMError) and error.retry_after:
        assert caught.value.retry_after == -(-error.retry_after // 1)


def test_a_proxy_of_a_proxy():
    with serving(create_app({"mine": ScriptedLLM(["One two"])})) as inner:
        outer = create_app({"theirs": ChatLLM("mine", f"{inner}/v1")})
        with serving(outer) as url:
            stream = ChatLLM("theirs", f"{url}/v1").stream("Hi")
            assert [str(delta) for delta in stream] == ["One ", "two"]
    assert stream.reply.usage.estimated is False  # the estimate has become what a server tells
    assert stream.reply.model == "theirs"


def test_settings_reach_the_llm():
    llm = ScriptedLLM(["One END two"])
    with serving(create_app({"mine": llm})) as url:
        request = Request(messages=HELLO, stop=("END",), temperature=0.25, max_tokens=9)
        assert ChatLLM("mine", f"{url}/v1").complete(request).text == "One "
    assert (llm.requests[0].stop, llm.requests[0].temperature, llm.requests[0].max_tokens) == (("END",), 0.25, 9)
