"""CrewAI's arguments for `LLM` as Oarlock's."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from oarlock.contract.errors import ConfigurationError
from oarlock.llms.presets import PRESETS
from oarlock.policies import Deadline, Retry

__all__ = ["llm_arguments"]

_log = logging.getLogger("oarlock.compat")

_OURS: Final = {
    "azure_openai": "azure",
    "claude": "anthropic",
    "fireworks_ai": "fireworks",
    "google": "gemini",
    "hosted_vllm": "vllm",
    "lm_studio": "lmstudio",
    "nvidia_nim": "nvidia",
    "ollama_chat": "ollama",
    "together_ai": "together",
}
# Names that their providers alone give their models; CrewAI sends a model without a provider by them, too.
_OWN_NAMES: Final = {
    "chatgpt-": "openai",
    "claude-": "anthropic",
    "gemini-": "gemini",
    "gpt-": "openai",
    "o1": "openai",
    "o3": "openai",
    "o4": "openai",
}
_ANYBODYS: Final = "gpt-oss"  # OpenAI's models with open weights are served by everybody but OpenAI
_RENAMED: Final = {
    "api_base": "base_url",
    "default_headers": "headers",
    "endpoint": "base_url",
    "extra_headers": "headers",
    "max_completion_tokens": "max_tokens",
    "max_output_tokens": "max_tokens",
    "stop_sequences": "stop",
}
_OPTIONS: Final = frozenset(
    {
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "n",
        "parallel_tool_calls",
        "presence_penalty",
        "reasoning_effort",
        "response_format",
        "seed",
        "service_tier",
        "thinking",
        "top_k",
        "top_logprobs",
        "top_p",
    }
)
_HEADERS: Final = {"organization": "OpenAI-Organization", "project": "OpenAI-Project"}  # OpenAI's own names for them
# What needs no doing here: a crew streams where it is asked to, a gateway is a base_url, there is no LiteLLM to steer.
_DROPPED: Final = frozenset({"additional_drop_params", "custom_openai", "drop_params", "is_litellm", "stream"})

_SIGNED: Final = "subclass HttpLLM for its format, with auth=oarlock.auth.AwsSigV4(...) to sign in"
_CHAT: Final = "LLM speaks the chat format, not OpenAI's Responses API"
_VERTEX: Final = "give ChatLLM Vertex AI's OpenAI-style address, and auth=oarlock.auth.GoogleCredentials(...)"
_ELSEWHERE: Final = "give ChatLLM the provider's OpenAI-style address as base_url=, or subclass HttpLLM for its format"
_PROVIDERS: Final = {
    "aws": _SIGNED,
    "bedrock": _SIGNED,
    "cohere": _ELSEWHERE,
    "databricks": _ELSEWHERE,
    "meta_llama": _ELSEWHERE,
    "nebius": _ELSEWHERE,
    "perplexity": _ELSEWHERE,
    "replicate": _ELSEWHERE,
    "sagemaker": _SIGNED,
    "snowflake": _ELSEWHERE,
    "vertex_ai": _VERTEX,
    "watsonx": _ELSEWHERE,
}
_ARGUMENTS: Final = {
    "api": _CHAT,
    "auto_chain": _CHAT,
    "auto_chain_reasoning": _CHAT,
    "builtin_tools": _CHAT,
    "callbacks": "use crew.kickoff(on_event=...) or a policy",
    "credentials": _VERTEX,
    "interceptor": "a policy sees every request and answer, auth= and headers= change what is sent",
    "location": _VERTEX,
    "safety_settings": "Gemini's OpenAI-style endpoint takes none",
    "store": _CHAT,
}


def llm_arguments(model: Any, theirs: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return the model and the settings as Oarlock names them.

    Raises:
        ConfigurationError: one of them asks for what is not here.

    Example:
        >>> llm_arguments("hosted_vllm/my-model", {"api_base": "http://127.0.0.1:8000/v1", "top_p": 0.9})
        ('vllm/my-model', {'base_url': 'http://127.0.0.1:8000/v1', 'options': {'top_p': 0.9}})
    """
    given = {name: value for name, value in theirs.items() if value is not None and name not in _DROPPED}
    model = _named(model, given.pop("provider", None), bool(given.get("base_url") or given.get("api_base")))
    for name, instead in _ARGUMENTS.items():
        if given.pop(name, None):
            raise ConfigurationError(f"LLM({name}=...) is not in Oarlock: {instead}.")
    if isinstance(given.get("response_format"), type):
        raise ConfigurationError(
            "LLM(response_format=...) with a class is not in Oarlock: use Task(output_pydantic=...), or "
            "Agent(...).kickoff(prompt, response_format=...)."
        )
    if given.pop("api_version", None) is not None:
        _log.warning("LLM(%r): api_version is not needed and not sent: Azure's version 1 API has none", model)
    return model, _settings(given)


def _settings(given: dict[str, Any]) -> dict[str, Any]:
    options = {**given.pop("options", {}), **given.pop("extra_body", {})}
    settings: dict[str, Any] = {}
    headers: dict[str, Any] = {}
    for name, value in given.items():
        if name in _OPTIONS:
            options[name] = value
        elif name in _HEADERS:
            headers[_HEADERS[name]] = value
        elif name == "max_retries":
            settings["policies"] = _retries(value, given.get("timeout"))
        elif _RENAMED.get(name, name) == "headers":
            headers.update((field, text) for field, text in dict(value).items() if text is not None)
        else:
            settings[_RENAMED.get(name, name)] = value
    return {**settings, **({"headers": headers} if headers else {}), **({"options": options} if options else {})}


def _retries(most: Any, timeout: Any) -> list[Any]:
    """Return policies for a number of retries, with the deadline that an `LLM` has without any."""
    if not isinstance(most, int) or isinstance(most, bool) or most < 0:
        raise ConfigurationError(f"LLM: max_retries must be a whole number of at least 0, not {most!r}.")
    attempts = most + 1
    whole = [Deadline(attempts * timeout)] if isinstance(timeout, int | float) and timeout > 0 else []
    return [*whole, Retry(attempts=attempts)]


def _named(model: Any, provider: Any, has_address: bool) -> Any:
    """Return the model with the name that Oarlock has for its provider."""
    if not isinstance(model, str):
        return model
    if isinstance(provider, str) and provider and not model.startswith(f"{provider}/"):
        model = f"{provider}/{model}"
    first, slash, rest = model.partition("/")
    if slash and first in _PROVIDERS and not has_address:
        raise ConfigurationError(f"LLM({model!r}) is not in Oarlock: {_PROVIDERS[first]}.")
    if not slash and not has_address and not model.startswith(_ANYBODYS):
        own = next((provider for start, provider in _OWN_NAMES.items() if model.startswith(start)), None)
        return f"{own}/{model}" if own else model
    return f"{_OURS[first]}/{rest}" if slash and first in _OURS and first not in PRESETS else model
