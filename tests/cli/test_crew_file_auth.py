"""Sign-ins in a crew's file, end to end."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from oarlock.contract.errors import ConfigurationError
from oarlock.project.crew_file import load_crew
from oarlock.testing import LoopbackEndpoint, require_bearer, require_header

CANARY = "Zq7canary4vX9Lm20"


def crew_file(folder: Path, url: str, auth: Any) -> Path:
    content = {
        "llm": {"base_url": url, "model": "m", "auth": auth},
        "agents": {"one": {"role": "One", "goal": "Answer", "backstory": "Here."}},
        "tasks": {"ask": {"description": "Say hello", "expected_output": "A word", "agent": "one"}},
        "verbose": False,
    }
    path = folder / "crew.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


PRINTS = [sys.executable, "-S", "-c", f"print({CANARY!r})"]
BEARER = require_bearer(CANARY)
AUTHS: list[tuple[Any, Any]] = [
    ({"type": "bearer_token", "token": "env:MY_SECRET"}, BEARER),
    ({"type": "bearer_token", "token": {"command": PRINTS}}, BEARER),
    ({"type": "command_token", "command": PRINTS}, BEARER),
    ({"type": "api_key", "key": "env:MY_SECRET", "header": "x-key"}, require_header("x-key", CANARY)),
    ({"type": "headers", "headers": {"x-key": "env:MY_SECRET"}}, require_header("x-key", CANARY)),
    (
        {"type": "chain", "auths": [{"type": "api_key", "key": "env:MY_SECRET"}]},
        BEARER,
    ),
    ({"api_key": "env:MY_SECRET", "header": "x-key"}, require_header("x-key", CANARY)),
    ({"api_key": "env:MY_SECRET"}, BEARER),
    ({"bearer_token": "env:MY_SECRET"}, BEARER),
]


@pytest.mark.parametrize(("auth", "check"), AUTHS)
def test_a_crew_signs_in(auth: Any, check: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SECRET", CANARY)
    with LoopbackEndpoint("Hello.", auth=check) as endpoint:
        crew = load_crew(crew_file(tmp_path, endpoint.url, auth))
        assert crew.kickoff().raw == "Hello."
        assert len(endpoint.requests) == 1


@pytest.mark.parametrize(
    ("auth", "words"),
    [
        ("env:MY_SECRET", r"crew.yaml, line \d+: llm.auth must be a mapping"),
        ({}, r"llm.auth.type: the type of sign-in is missing"),
        ({"token": "env:MY_SECRET"}, r"llm.auth.type: the type of sign-in is missing"),
        ({"type": "bearer_tokn"}, "Did you mean 'bearer_token'"),
        ({"api_key": CANARY}, r"llm.auth.key is a secret and must say where it is"),
        ({"type": "bearer_token", "token": CANARY}, r"llm.auth.token is a secret and must say where it is"),
        (
            {"type": "session_login", "login_url": "https://x/login", "fields": {"p": CANARY}},
            r"llm.auth.fields.p must say",
        ),
    ],
)
def test_what_is_wrong_is_said(auth: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        load_crew(crew_file(tmp_path, "http://127.0.0.1:9", auth))
    assert CANARY not in str(caught.value)


def test_no_sign_in(tmp_path: Path) -> None:
    with LoopbackEndpoint("Hello.") as endpoint:
        assert load_crew(crew_file(tmp_path, endpoint.url, None)).kickoff().raw == "Hello."
        assert "authorization" not in endpoint.requests[0].headers
