"""Every failure gets its type, whichever library or code it came from."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import urllib.error
from email.message import Message
from typing import Any

import httpx
import httpx2
import pytest
import requests
import urllib3

from oarlock.contract.classify import classify, error_for_status
from oarlock.contract.errors import (
    AuthenticationError,
    BadRequestError,
    CallFailedError,
    ConfigurationError,
    ConnectionFailedError,
    ContextWindowExceededError,
    LLMError,
    LLMTimeoutError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
    ResponseFormatError,
    ServerError,
    StepsExhaustedError,
)

STATUSES = [
    (400, BadRequestError, False),
    (401, AuthenticationError, False),
    (403, PermissionDeniedError, False),
    (404, BadRequestError, False),
    (407, BadRequestError, False),
    (408, LLMTimeoutError, True),
    (409, BadRequestError, True),
    (413, BadRequestError, False),
    (422, BadRequestError, False),
    (429, RateLimitError, True),
    (500, ServerError, True),
    (501, ServerError, False),
    (503, ServerError, True),
    (529, ServerError, True),
    (599, ServerError, True),
]


def requests_error(status: int) -> Exception:
    response = requests.Response()
    response.status_code = status
    response.url = "http://127.0.0.1/v1"
    response.headers.update({"Retry-After": "7", "X-Request-Id": "req-1"})
    try:
        response.raise_for_status()
    except requests.HTTPError as error:
        return error
    raise AssertionError


def httpx_error(library: Any, status: int) -> Exception:
    response = library.Response(
        status,
        headers={"Retry-After": "7", "X-Request-Id": "req-1"},
        request=library.Request("POST", "http://127.0.0.1/v1"),
    )
    try:
        response.raise_for_status()
    except library.HTTPStatusError as error:
        return error
    raise AssertionError


def openai_like(status: int) -> Exception:
    class APIStatusError(Exception):
        def __init__(self) -> None:
            super().__init__(f"Error code: {status}")
            self.status_code = status
            self.code = None
            self.response = httpx.Response(status, headers={"retry-after": "7", "x-request-id": "req-1"})

    return APIStatusError()


def aiohttp_like(status: int) -> Exception:
    class ClientResponseError(Exception):
        def __init__(self) -> None:
            super().__init__(f"{status}, message='...'")
            self.status = status
            self.headers = {"Retry-After": "7", "X-Request-Id": "req-1"}

    return ClientResponseError()


class TestStatus:
    @pytest.mark.parametrize(("status", "kind", "retryable"), STATUSES)
    @pytest.mark.parametrize(
        "make",
        [requests_error, lambda s: httpx_error(httpx, s), lambda s: httpx_error(httpx2, s), openai_like, aiohttp_like],
        ids=["requests", "httpx", "httpx2", "openai", "aiohttp"],
    )
    def test_of_any_library(self, make: Any, status: int, kind: type[LLMError], retryable: bool) -> None:
        original = make(status)
        error = classify(original, "MyLLM.call()")
        assert type(error) is kind
        assert (error.status, error.retryable) == (status, retryable)
        assert (error.retry_after, error.request_id) == (7.0, "req-1")
        assert error.__cause__ is original
        assert str(error).startswith(f"MyLLM.call() failed with HTTP status {status}")

    @pytest.mark.parametrize(("status", "kind", "retryable"), STATUSES)
    def test_by_itself(self, status: int, kind: type[LLMError], retryable: bool) -> None:
        error = error_for_status(status, "words")
        assert (type(error), error.retryable, str(error), error.status) == (kind, retryable, "words", status)

    def test_urllib(self) -> None:
        headers = Message()
        headers["Retry-After"] = "7"
        error = classify(urllib.error.HTTPError("http://127.0.0.1", 429, "Too Many Requests", headers, None))
        assert (type(error), error.retry_after) == (RateLimitError, 7.0)

    @pytest.mark.parametrize("code", ["insufficient_quota", "billing_hard_limit_reached"])
    def test_a_quota_is_never_retried(self, code: str) -> None:
        error = error_for_status(429, "x", code=code)
        assert (type(error), error.retryable, error.code) == (QuotaExceededError, False, code)

    @pytest.mark.parametrize(
        ("code", "words"),
        [
            ("context_length_exceeded", "x"),
            (None, "This model's maximum context length is 8192 tokens."),
            (None, "the request exceeds the available context size"),
            (None, "prompt is too long: 210000 tokens > 200000 maximum"),
        ],
    )
    def test_a_context_window(self, code: str | None, words: str) -> None:
        assert type(error_for_status(400, words, code=code)) is ContextWindowExceededError
        assert code or type(error_for_status(500, words)) is ServerError

    def test_the_server_may_forbid_a_retry(self) -> None:
        assert error_for_status(503, "x", headers={"x-should-retry": "false"}).retryable is False
        assert error_for_status(503, "x", headers={"x-should-retry": " False "}).retryable is False
        assert error_for_status(503, "x", headers={"x-should-retry": "true"}).retryable is True

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 407, 413, 422, 501])
    def test_the_server_cannot_demand_a_retry(self, status: int) -> None:
        assert error_for_status(status, "x", headers={"x-should-retry": "true"}).retryable is False
        assert (
            error_for_status(429, "x", code="insufficient_quota", headers={"x-should-retry": "true"}).retryable is False
        )

    def test_a_date_is_read_against_the_given_time(self) -> None:
        headers = {"retry-after": "Thu, 01 Jan 1970 00:01:00 GMT"}
        assert error_for_status(429, "x", headers=headers, wall_time=50).retry_after == 10

    def test_odd_attributes_do_not_matter(self) -> None:
        class Odd(Exception):
            status_code = "429"
            status = 200
            response = "gone"
            headers = 7

        assert type(classify(Odd("x"))) is CallFailedError

    def test_broken_headers_do_not_matter(self) -> None:
        class Odd(Exception):
            status_code = 429
            response = type("R", (), {"headers": [1, 2]})()

        assert type(classify(Odd("x"))) is RateLimitError


class TestKinds:
    @pytest.mark.parametrize(
        ("error", "kind", "retryable"),
        [
            (TimeoutError("slow"), LLMTimeoutError, True),
            (requests.Timeout(), LLMTimeoutError, True),
            (requests.ConnectTimeout(), LLMTimeoutError, True),
            (requests.ReadTimeout(), LLMTimeoutError, True),
            (httpx.ReadTimeout("x"), LLMTimeoutError, True),
            (httpx.PoolTimeout("x"), LLMTimeoutError, True),
            (httpx2.ConnectTimeout("x"), LLMTimeoutError, True),
            (urllib3.exceptions.ReadTimeoutError(None, "/", "x"), LLMTimeoutError, True),
            (ConnectionRefusedError(111, "refused"), ConnectionFailedError, True),
            (ConnectionResetError(), ConnectionFailedError, True),
            (BrokenPipeError(), ConnectionFailedError, True),
            (http.client.RemoteDisconnected("x"), ConnectionFailedError, True),
            (http.client.IncompleteRead(b"x"), ConnectionFailedError, True),
            (requests.ConnectionError(), ConnectionFailedError, True),
            (requests.exceptions.ChunkedEncodingError(), ConnectionFailedError, True),
            (requests.exceptions.ProxyError(), ConnectionFailedError, True),
            (urllib3.exceptions.ProtocolError("x"), ConnectionFailedError, True),
            (urllib3.exceptions.NewConnectionError(None, "x"), ConnectionFailedError, True),  # type: ignore[arg-type]
            (httpx.ConnectError("x"), ConnectionFailedError, True),
            (httpx.ReadError("x"), ConnectionFailedError, True),
            (httpx.WriteError("x"), ConnectionFailedError, True),
            (httpx.ProxyError("x"), ConnectionFailedError, True),
            (httpx2.RemoteProtocolError("x"), ConnectionFailedError, True),
            (httpx2.ReadError("x"), ConnectionFailedError, True),
            (socket.gaierror(-2, "Name or service not known"), ConnectionFailedError, True),
            (ssl.SSLError("bad"), ConnectionFailedError, True),
            (ssl.SSLCertVerificationError("bad"), ConnectionFailedError, False),
            (requests.exceptions.SSLError("[SSL: CERTIFICATE_VERIFY_FAILED]"), ConnectionFailedError, False),
            (requests.exceptions.SSLError("[SSL: WRONG_VERSION_NUMBER]"), ConnectionFailedError, True),
            (requests.exceptions.ContentDecodingError(), ResponseFormatError, False),
            (httpx.DecodingError("x"), ResponseFormatError, False),
            (json.JSONDecodeError("Expecting value", "", 0), ResponseFormatError, False),
            (requests.exceptions.JSONDecodeError("Expecting value", "", 0), ResponseFormatError, False),
            (ValueError("Invalid response format: 'choices'"), ResponseFormatError, False),
            (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x"), ResponseFormatError, False),
            (RuntimeError("broken"), CallFailedError, False),
            (KeyError("choices"), CallFailedError, False),
            (AttributeError("x"), CallFailedError, False),
            (NotImplementedError(), CallFailedError, False),
            (OSError("disk"), CallFailedError, False),
            (MemoryError(), CallFailedError, False),
        ],
        ids=lambda value: f"{type(value).__module__}.{type(value).__name__}" if isinstance(value, Exception) else None,
    )
    def test_table(self, error: Exception, kind: type[LLMError], retryable: bool) -> None:
        ours = classify(error, "MyLLM.call()")
        assert isinstance(ours, LLMError)
        assert (type(ours), ours.retryable) == (kind, retryable)
        assert ours.__cause__ is error
        assert str(ours).startswith("MyLLM.call() ")

    def test_our_own_pass_unchanged(self) -> None:
        for error in (RateLimitError("x"), ConfigurationError("x"), StepsExhaustedError("x")):
            assert classify(error) is error

    def test_anthropic_like_names(self) -> None:
        kind = type("APIConnectionError", (Exception,), {"__module__": "anthropic._exceptions"})
        assert type(classify(kind("x"))) is ConnectionFailedError
        kind = type("APITimeoutError", (kind,), {"__module__": "openai"})
        assert type(classify(kind("x"))) is LLMTimeoutError

    def test_the_names_of_a_users_own_classes_mean_nothing(self) -> None:
        kind = type("ConnectionPolicyError", (Exception,), {"__module__": "mycompany.llm"})
        assert type(classify(kind("x"))) is CallFailedError


class TestThePagesPatterns:
    def wrapped(self, original: Exception, to: type[Exception], words: str, *, hide: bool = False) -> Exception:
        try:
            try:
                raise original
            except Exception as e:
                if hide:
                    raise to(f"{words}: {e!s}") from None
                raise to(f"{words}: {e!s}")
        except Exception as error:
            return error

    @pytest.mark.parametrize(("status", "kind", "retryable"), STATUSES)
    def test_a_status_behind_a_runtime_error(self, status: int, kind: type[LLMError], retryable: bool) -> None:
        error = classify(self.wrapped(requests_error(status), RuntimeError, "LLM request failed"))
        assert (type(error), error.status, error.retryable) == (kind, status, retryable)
        assert error.retry_after == 7

    def test_a_lost_connection_behind_a_runtime_error(self) -> None:
        error = classify(self.wrapped(requests.ConnectionError("refused"), RuntimeError, "LLM request failed"))
        assert type(error) is ConnectionFailedError

    def test_a_timeout(self) -> None:
        assert (
            type(classify(self.wrapped(requests.Timeout("x"), TimeoutError, "LLM request timed out")))
            is LLMTimeoutError
        )

    def test_hidden_with_from_none(self) -> None:
        error = classify(self.wrapped(requests_error(429), RuntimeError, "LLM request failed", hide=True))
        assert isinstance(error, CallFailedError)

    @pytest.mark.parametrize(
        ("sentence", "kind", "status"),
        [
            ("Authentication failed: Invalid JWT token", AuthenticationError, 401),
            ("Authentication failed: Invalid API key or token", AuthenticationError, 401),
            ("Authorization failed: Insufficient permissions", PermissionDeniedError, 403),
        ],
    )
    def test_the_pages_sentences(self, sentence: str, kind: type[LLMError], status: int) -> None:
        direct = classify(ValueError(sentence))
        rewrapped = classify(self.wrapped(ValueError(sentence), ValueError, "Invalid response format"))
        for error in (direct, rewrapped):
            assert (type(error), error.status, error.retryable) == (kind, status, False)
            assert sentence in str(error)
            assert isinstance(error, ValueError)

    @pytest.mark.parametrize("original", [KeyError("choices"), IndexError("list index out of range")])
    def test_a_wrong_shape(self, original: Exception) -> None:
        error = classify(self.wrapped(original, ValueError, "Invalid response format"))
        assert type(error) is ResponseFormatError
        assert "Invalid response format" in str(error)

    def test_three_tries_of_their_own(self) -> None:
        words = "LLM request failed after 3 attempts"
        assert type(classify(self.wrapped(requests.ConnectionError("x"), TimeoutError, words))) is LLMTimeoutError

    def test_our_error_wrapped_by_a_users_code_keeps_its_facts(self) -> None:
        ours = RateLimitError("slow", status=429, retry_after=3, request_id="r", attempts=2)
        error = classify(self.wrapped(ours, RuntimeError, "LLM request failed"), "Outer.call()")
        assert type(error) is RateLimitError
        assert (error.retry_after, error.request_id, error.status) == (3, "r", 429)
        assert "Outer.call() failed: LLM request failed" in str(error)

    def test_a_status_that_is_handled_does_not_count(self) -> None:
        """An error while answering a 404 elsewhere: `from` names the cause, and that wins over the context."""

        def call() -> None:
            try:
                raise requests_error(404)
            except requests.HTTPError:
                raise RuntimeError("no answer") from TimeoutError("slow")

        with pytest.raises(RuntimeError) as caught:
            call()
        assert type(classify(caught.value)) is LLMTimeoutError

    @pytest.mark.parametrize(
        ("reason", "kind"), [(ConnectionRefusedError(), ConnectionFailedError), (TimeoutError(), LLMTimeoutError)]
    )
    def test_urllib(self, reason: OSError, kind: type[LLMError]) -> None:
        with pytest.raises(urllib.error.URLError) as caught:
            try:
                raise reason
            except OSError as error:
                raise urllib.error.URLError(error)
        assert type(classify(caught.value)) is kind


class TestWords:
    def test_secrets_are_scrubbed(self) -> None:
        for kind in (RuntimeError, ValueError, TimeoutError, ConnectionError):
            assert "hunter2hunter2" not in str(classify(kind("bad key sk-hunter2hunter2 given")))
        error = requests_error(401)
        error.args = ("401 for https://host/?api_key=hunter2hunter2",)
        assert "hunter2hunter2" not in str(classify(error))

    def test_huge_ones_are_cut(self) -> None:
        assert len(str(classify(RuntimeError("x" * 10**6)))) < 400

    def test_what_counts_may_stand_behind_the_cut(self) -> None:
        certificate = classify(requests.exceptions.SSLError("x" * 500 + "[SSL: CERTIFICATE_VERIFY_FAILED]"))
        assert isinstance(certificate, ConnectionFailedError)
        assert not certificate.retryable
        assert type(classify(ValueError("x" * 500 + " Authentication failed"))) is AuthenticationError

    def test_control_characters_go(self) -> None:
        assert "\x1b" not in str(classify(ValueError("\x1b[31m\x00\n")))

    @pytest.mark.parametrize("base", [Exception, ValueError, TimeoutError])
    def test_an_error_that_cannot_be_shown(self, base: type[Exception]) -> None:
        class Broken(base):  # type: ignore[misc,valid-type]
            def __str__(self) -> str:
                raise RuntimeError("no words")

        error = classify(Broken())
        assert isinstance(error, LLMError)
        assert "Broken" in str(error)

    def test_an_error_whose_attributes_fail(self) -> None:
        class Broken(Exception):
            @property
            def response(self) -> Any:
                raise RuntimeError("not read yet")

        assert type(classify(Broken("x"))) is CallFailedError

    def test_a_ring_of_causes_ends(self) -> None:
        first, second = RuntimeError("a"), RuntimeError("b")
        first.__cause__, second.__cause__ = second, first
        assert type(classify(first)) is CallFailedError

    def test_an_empty_message_names_the_class(self) -> None:
        assert str(classify(RuntimeError(), "MyLLM.call()")) == "MyLLM.call() failed: RuntimeError"
