"""What the page promises when something fails: its own errors from a direct call, typed ones out of a crew."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from page_blocks import block, page_llm

from oarlock import (
    AuthenticationError,
    BadRequestError,
    ConnectionFailedError,
    EmptyReply,
    LLMError,
    LLMTimeoutError,
    PermissionDeniedError,
    RateLimitError,
    ResponseFormatError,
    ServerError,
)
from oarlock.testing.endpoint import Drop, Hang, JwtIssuer, Status

CATCHING = ["basic", "try_except", "validate_input", "jwt", "function_calling"]

HTML = Status(200, headers={"Content-Type": "text/html"}, body="<html>Sign in</html>")

# What the endpoint does; what a direct call raises, with which words; what a crew raises.
FAILURES = {
    "drop": (Drop(), RuntimeError, "LLM request failed: ", ConnectionFailedError),
    "500": (500, RuntimeError, "LLM request failed: 500", ServerError),
    "503": (503, RuntimeError, "LLM request failed: 503", ServerError),
    "429": (Status(429, headers={"Retry-After": "7"}), RuntimeError, "LLM request failed: 429", RateLimitError),
    "404": (404, RuntimeError, "LLM request failed: 404", BadRequestError),
    "400": (400, RuntimeError, "LLM request failed: 400", BadRequestError),
    "html": (HTML, RuntimeError, "LLM request failed: Expecting value", ResponseFormatError),
    "no choices": ({"error": "none"}, ValueError, "Invalid response format: 'choices'", ResponseFormatError),
    "no choice": ({"choices": []}, ValueError, "Invalid response format: list index out of range", ResponseFormatError),
}


def in_crew(llm: Any) -> Any:
    from crewai import Agent, Crew, Task

    agent = Agent(role="Assistant", goal="Help", backstory="", llm=llm)
    return Crew(agents=[agent], tasks=[Task(description="Help", agent=agent)])


def raised_in_crew(llm: Any) -> LLMError:
    with pytest.raises(LLMError) as caught:
        in_crew(llm).kickoff()
    return caught.value


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("name", CATCHING)
def test_failures(name: str, failure: str, serve: Any) -> None:
    reply, builtin, words, ours = FAILURES[failure]
    endpoint = serve(reply)
    llm = page_llm(name, endpoint.url)

    with pytest.raises(builtin) as direct:
        llm.call("Hi")
    assert type(direct.value) is builtin
    assert words in str(direct.value)

    error = raised_in_crew(llm)
    assert type(error) is ours
    assert isinstance(error, RuntimeError | ValueError)
    assert type(error.__cause__) is builtin
    assert words in str(error)
    assert len(endpoint.requests) == 2


@pytest.mark.parametrize("name", CATCHING)
async def test_failures_on_an_event_loop(name: str, serve: Any) -> None:
    llm = page_llm(name, serve(500).url)
    with pytest.raises(ServerError) as caught:
        await in_crew(llm).akickoff()
    assert type(caught.value.__cause__) is RuntimeError
    with pytest.raises(ServerError):
        await llm.acall("Hi")


@pytest.mark.parametrize("name", CATCHING)
def test_a_timeout(name: str, serve: Any, impatient: None) -> None:
    llm = page_llm(name, serve(Hang()).url)

    with pytest.raises(TimeoutError, match=r"^LLM request timed out$"):
        llm.call("Hi")

    error = raised_in_crew(llm)
    assert isinstance(error, LLMTimeoutError)
    assert isinstance(error, TimeoutError)
    assert type(error.__cause__) is TimeoutError
    assert error.retryable


@pytest.fixture
def closed_port() -> Iterator[str]:
    with socket.socket() as reserved:  # bound, never listening: nobody else gets it, and it refuses
        reserved.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{reserved.getsockname()[1]}/v1"


@pytest.mark.parametrize("name", CATCHING)
def test_a_refused_connection(name: str, closed_port: str) -> None:
    llm = page_llm(name, closed_port)
    with pytest.raises(RuntimeError, match=r"^LLM request failed: "):
        llm.call("Hi")
    error = raised_in_crew(llm)
    assert isinstance(error, ConnectionFailedError)
    assert isinstance(error, RuntimeError)


def test_facts_of_the_response_are_kept(serve: Any) -> None:
    reply = Status(429, headers={"Retry-After": "7", "X-Request-Id": "req-1"})
    error = raised_in_crew(page_llm("basic", serve(reply).url))
    assert (error.status, error.retry_after, error.request_id, error.retryable) == (429, 7.0, "req-1", True)


@pytest.mark.parametrize("name", ["jwt", "auth_errors"])
@pytest.mark.parametrize(
    ("status", "words", "ours"),
    [
        (401, "Authentication failed: Invalid", AuthenticationError),
        (403, "Authorization failed: Insufficient permissions", PermissionDeniedError),
    ],
)
def test_refused_sign_ins(name: str, status: int, words: str, ours: type[LLMError], serve: Any) -> None:
    endpoint = serve(status)
    data = {"messages": [{"role": "user", "content": "Hi"}]}
    llm = page_llm(name, endpoint.url, data=data)

    with pytest.raises(ValueError, match=words):
        llm.call("Hi")

    error = raised_in_crew(llm)
    assert type(error) is ours
    assert isinstance(error, ValueError)
    assert type(error.__cause__) is ValueError
    assert words in str(error)
    assert error.status == status
    assert not error.retryable
    assert len(endpoint.requests) == 2  # one each: never tried again


@pytest.mark.parametrize(("status", "ours"), [(401, AuthenticationError), (403, PermissionDeniedError)])
@pytest.mark.parametrize("name", ["basic", "try_except", "retry", "logging", "metrics", "rate_limiting"])
def test_refused_sign_ins_without_words_for_them(name: str, status: int, ours: type[LLMError], serve: Any) -> None:
    error = raised_in_crew(page_llm(name, serve(status).url))
    assert type(error) is ours
    assert error.status == status
    assert error.__cause__ is not None


def test_an_expired_token(serve: Any) -> None:
    issuer = JwtIssuer(secret="s")
    llm = page_llm("jwt", serve("Never.", auth=issuer.check).url, issuer.issue("ada", lifetime=-1))
    assert isinstance(raised_in_crew(llm), AuthenticationError)


def test_the_auth_fragment_with_its_placeholder_returns_nothing(serve: Any) -> None:
    """`# Process response` returns `None`: a crew says so, in words."""
    llm = page_llm("auth_errors", serve("Hello.").url, data={"messages": []})
    assert llm.call("Hi") is None
    error = raised_in_crew(llm)
    assert isinstance(error, EmptyReply)
    assert "returned None" in str(error)


def test_the_auth_fragment_filled_in(serve: Any) -> None:
    from page_blocks import SURROUNDINGS, execute, in_class

    filled = block("auth_errors").replace(
        "# Process response", 'return response.json()["choices"][0]["message"]["content"]'
    )
    namespace = execute(SURROUNDINGS, in_class("Filled", "Surroundings", filled), data={"messages": []})
    llm = namespace["Filled"]("a-key", f"{serve('Hello.').url}/chat/completions")
    assert llm.call("Hi") == "Hello."
    assert in_crew(llm).kickoff().raw == "Hello."


@pytest.mark.parametrize("name", ["basic", "jwt", "validate_input"])
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("", "http://x"), "Invalid (API key|JWT token): must be a non-empty string"),
        ((None, "http://x"), "Invalid (API key|JWT token): must be a non-empty string"),
        (("a-key", ""), "Invalid endpoint URL: must be a non-empty string"),
        (("a-key", 8000), "Invalid endpoint URL: must be a non-empty string"),
    ],
)
def test_validated_arguments(name: str, arguments: tuple[Any, Any], words: str) -> None:
    from page_blocks import page_class

    with pytest.raises(ValueError, match=words) as caught:
        page_class(name)(*arguments)
    assert type(caught.value) is ValueError


def test_an_empty_answer_ends_clearly(serve: Any) -> None:
    llm = page_llm("basic", serve({"choices": [{"message": {"content": None}}]}).url)
    assert llm.call("Hi") is None
    assert isinstance(raised_in_crew(llm), EmptyReply)


def test_the_failing_task_is_named(serve: Any) -> None:
    error = raised_in_crew(page_llm("basic", serve(500).url))
    assert any("agent 'Assistant'" in note for note in error.__notes__)
