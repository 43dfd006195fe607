"""`crewai.LLM`: CrewAI's arguments lead to Oarlock's LLM."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from pydantic import BaseModel

import oarlock
from oarlock import ConfigurationError, LocalLLM, ServerError
from oarlock.compat.crewai import LLM
from oarlock.testing import LoopbackEndpoint, VirtualRuntime, require_bearer


def test_its_arguments_arrive() -> None:
    with LoopbackEndpoint("Hello.", auth=require_bearer("the-secret-key")) as endpoint:
        llm = LLM(
            model="openai/gpt-4o",
            temperature=0.7,
            timeout=120,
            max_tokens=4000,
            top_p=0.9,
            frequency_penalty=0.1,
            presence_penalty=0.1,
            response_format={"type": "json_object"},
            stop=["END"],
            seed=42,
            api_key="the-secret-key",
            api_base=endpoint.url,
            api_version=None,
            stream=True,
            drop_params=True,
        )
        assert llm.call("Hi") == "Hello."
        sent = endpoint.requests[0].json
    del sent["messages"]
    assert sent == {
        "model": "gpt-4o",
        "temperature": 0.7,
        "max_completion_tokens": 4000,
        "top_p": 0.9,
        "frequency_penalty": 0.1,
        "presence_penalty": 0.1,
        "response_format": {"type": "json_object"},
        "stop": ["END"],
        "seed": 42,
    }
    assert isinstance(llm, oarlock.LLM)


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ({"model": "hosted_vllm/m"}, "LLM('vllm/m', base_url='http://127.0.0.1:8000/v1')"),
        ({"model": "gpt-4o", "provider": "openai"}, "LLM('openai/gpt-4o', base_url='https://api.openai.com/v1')"),
        ({"model": "openai/gpt-4o", "provider": "openai"}, "LLM('openai/gpt-4o', base_url='https://api.openai.com/v1')"),
        ({"model": "o4-mini"}, "LLM('openai/o4-mini', base_url='https://api.openai.com/v1')"),
        ({"model": "claude-sonnet-4-5"}, "LLM('anthropic/claude-sonnet-4-5', base_url='https://api.anthropic.com/v1')"),
        ({"model": "gpt-4o", "base_url": "https://llm.example.com/v1"}, "LLM('gpt-4o', base_url='https://llm.example.com/v1')"),
        ({"model": "ollama/l", "base_url": "http://localhost:11434"}, "LLM('ollama/l', base_url='http://localhost:11434/v1')"),
    ],
)  # fmt: skip
def test_providers(arguments: dict[str, Any], shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("OPENAI_BASE_URL", "OPENAI_API_BASE", "VLLM_BASE_URL", "VLLM_API_BASE"):
        monkeypatch.delenv(variable, raising=False)
    assert repr(LLM(**arguments)) == shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"model": "llama3"}, "LLM: 'llama3' names no provider"),
        ({"model": "bedrock/claude", "region_name": "x"}, "bedrock/claude'\\) is not in Oarlock: subclass HttpLLM"),
        ({"model": 7}, "model must be a text"),
        ({"model": "openai/m", "callbacks": [print]}, "is not in Oarlock: use crew.kickoff"),
        ({"model": "openai/m", "response_format": BaseModel}, r"use Task\(output_pydantic"),
        ({"model": "openai/m", "api": "responses"}, "LLM speaks the chat format"),
        ({"model": "openai/m", "max_retries": -1}, "max_retries must be a whole number of at least 0"),
        ({"model": "openai/m", "temprature": 1}, "Did you mean 'temperature'"),
    ],
)
def test_what_is_not_here_is_said(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        LLM(**arguments)


def test_other_names_for_the_same() -> None:
    with LoopbackEndpoint("Hello.") as endpoint:
        llm = LLM(
            model="openai/m",
            endpoint=endpoint.url,
            custom_openai=True,
            organization="org-1",
            project="proj-1",
            default_headers={"x-team": "blue"},
            extra_headers={"x-cost": "9", "x-project": None},
            max_output_tokens=7,
            stop_sequences=["END"],
            extra_body={"user": "ada"},
            top_k=3,
            api_key="the-secret-key",
        )
        assert llm.call("Hi") == "Hello."
        (request,) = endpoint.requests
    assert "x-project" not in request.headers  # what os.getenv() did not find
    sent = {name: request.json[name] for name in ("max_completion_tokens", "stop", "user", "top_k")}
    assert sent == {"max_completion_tokens": 7, "stop": ["END"], "user": "ada", "top_k": 3}
    headers = ("openai-organization", "openai-project", "x-team", "x-cost")
    assert [request.headers[name] for name in headers] == ["org-1", "proj-1", "blue", "9"]


@pytest.mark.parametrize(("retries", "asked"), [(0, 1), (2, 3)])
def test_a_number_of_retries(retries: int, asked: int) -> None:
    with LoopbackEndpoint([503]) as endpoint, VirtualRuntime():
        llm = LLM(model="openai/m", base_url=endpoint.url, api_key="the-secret-key", max_retries=retries, timeout=10)
        with pytest.raises(ServerError):
            llm.call("Hi")
        assert len(endpoint.requests) == asked
    assert [type(policy).__name__ for policy in llm.policies] == ["Deadline", "Retry"]


def test_a_version_of_azures_old_api_is_said_to_be_dropped(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "oarlock.compat"):
        LLM(model="azure/m", base_url="https://me.openai.azure.com", api_version="2024-10-21")
    assert "api_version is not needed" in caplog.text


def test_local_models() -> None:
    assert isinstance(LLM(model="local/", temperature=0), LocalLLM)


@pytest.mark.parametrize(
    ("name", "said"),
    [("get_token_usage_summary", r"Metrics\(\)"), ("stream_events", r"llm\.stream"), ("zzz", "not in Oarlock")],
)
def test_methods_that_are_not_here(name: str, said: str) -> None:
    llm = LLM(model="openai/gpt-4o")
    assert not hasattr(llm, name)
    with pytest.raises(AttributeError, match=said):
        getattr(llm, name)
