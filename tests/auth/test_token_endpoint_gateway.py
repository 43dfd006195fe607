"""What is no OAuth server, but answers at the token URL: a gateway that speaks OpenAI's errors."""

from __future__ import annotations

import json

import pytest
from auth_helpers import authorize_by

from oarlock.auth import ClientCredentials
from oarlock.contract.http import HttpRequest, HttpResponse
from oarlock.errors import AuthenticationError, ConfigurationError, LLMError, RateLimitError, ServerError
from oarlock.testing import VirtualRuntime


@pytest.mark.parametrize(
    ("status", "kind", "sent"),
    [
        (200, AuthenticationError, 1),
        (400, AuthenticationError, 1),
        (401, AuthenticationError, 1),
        (404, AuthenticationError, 1),
        (429, RateLimitError, 3),
        (503, ServerError, 3),
    ],
)
def test_an_error_that_is_an_object(status: int, kind: type[LLMError], sent: int) -> None:
    requests: list[HttpRequest] = []

    async def endpoint(request: HttpRequest) -> HttpResponse:
        requests.append(request)
        return HttpResponse(status=status, body=json.dumps({"error": {"message": "no such path"}}).encode())

    auth = ClientCredentials("https://llm.invalid/v1/token", "app", "s3cret")
    runtime = VirtualRuntime()
    with pytest.raises(kind, match=f"HTTP {status}"):
        runtime.run(authorize_by(runtime, auth, endpoint))  # type: ignore[arg-type]
    assert len(requests) == sent


@pytest.mark.parametrize(
    ("setting", "value"), [("scope", 5), ("scope", [5]), ("audience", 5), ("resource", b"x"), ("extra", {"x": 5})]
)
def test_settings_that_are_no_texts(setting: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=f"ClientCredentials: {setting}.* must be a text"):
        ClientCredentials("https://login.example.com/token", "app", "s3cret", **{setting: value})  # type: ignore[arg-type]
