"""What of a request counts as a credential, and how it is taken out of errors."""

from __future__ import annotations

import base64
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from oarlock.contract.errors import LLMError
from oarlock.contract.http import HttpRequest
from oarlock.llms.redaction import credentials_of, redact


def found(url: str = "https://llm.example.com/v1", known: set[str] | None = None, **values: Any) -> set[str]:
    return credentials_of([HttpRequest(method="POST", url=url, **values)], known or set())


def test_headers_of_a_sign_in_are_credentials() -> None:
    basic = base64.b64encode(b"user:pass-word").decode()
    for value, expected in (
        ("Bearer t0ken-1", {"Bearer t0ken-1", "t0ken-1"}),
        ("t0ken-1", {"t0ken-1"}),
        ("a=session-1; b=session-2", {"session-1", "session-2"}),
        (f"Basic {basic}", {basic, "pass-word"}),
        ("Basic not-base-64!", {"not-base-64!"}),
    ):
        assert expected <= found(headers=(("x-token", value),))


def test_what_is_known_or_short_or_usual_is_none() -> None:
    usual = (("Content-Type", "application/json"), ("x-team", "blueberry"), ("x-short", "abc12"))
    assert found(headers=usual, known={"blueberry"}) == set()
    assert found("https://llm.example.com/v1?api-version=2026-01-01", known={"2026-01-01"}) == set()


def test_the_query_and_a_token_endpoints_form_are_searched() -> None:
    assert found("https://llm.example.com/v1?key=a%20secret%20key") == {"a secret key", "a%20secret%20key"}
    form = (("content-type", "application/x-www-form-urlencoded"),)
    body = b"grant_type=client_credentials&client_secret=s3cret-word&scope=everything"
    assert found(headers=form, body=body) == {"s3cret-word"}


@given(st.text(alphabet="QXZqxz0123456789-._~+/=$(", min_size=6, max_size=30))
def test_a_redacted_error_does_not_hold_it(secret: str) -> None:
    error = LLMError(f"No access for {secret}!", code=secret, request_id=f"r {secret}")
    error.add_note(f"Sent with {secret.upper()}.")
    error.__cause__ = cause = ValueError(secret, 5)
    cause.__context__ = error  # a circle ends
    redact(error, {secret})
    assert (str(error), error.code, error.request_id) == ("No access for …!", "…", "r …")
    assert error.__notes__ == ["Sent with …."]
    assert cause.args == ("…", 5)


def test_nothing_to_take_out_changes_nothing() -> None:
    error = LLMError("No access", code="denied")
    redact(error, set())
    assert (str(error), error.code) == ("No access", "denied")
