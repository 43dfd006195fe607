"""`crewai.llm`: its `LLM`, with the arguments that CrewAI has for it."""

from __future__ import annotations

import logging
from typing import Any, Final

import oarlock
from oarlock.contract.errors import ConfigurationError
from oarlock.contract.llm import BaseLLM
from oarlock.llms.presets import PRESETS

__all__ = ["LLM", "BaseLLM"]

_log = logging.getLogger("oarlock.compat")

_OURS: Final = {
    "azure_openai": "azure",
    "google": "gemini",
    "hosted_vllm": "vllm",
    "lm_studio": "lmstudio",
    "ollama_chat": "ollama",
    "together_ai": "together",
}
_RENAMED: Final = {
    "api_base": "base_url",
    "extra_headers": "headers",
    "max_completion_tokens": "max_tokens",
}
_OPTIONS: Final = frozenset(
    {"frequency_penalty", "logit_bias", "logprobs", "n", "presence_penalty", "reasoning_effort", "seed", "top_logprobs"}
    | {"top_p"}
)
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
# What needs no doing here: a crew streams where it is asked to, and there is no LiteLLM to steer.
_DROPPED: Final = frozenset({"additional_drop_params", "drop_params", "is_litellm", "stream"})


class LLM(oarlock.LLM):
    """`oarlock.LLM` with CrewAI's arguments: `LLM(model="openai/gpt-4o", temperature=0.2, top_p=0.9)`.

    `model` must name its provider, unless `provider` or `base_url` is given or the name is a provider's own, as `gpt-4o`,
    `claude-sonnet-4-5` and `gemini-2.5-flash` are. A name that says nothing of its provider is refused.

    Raises:
        ConfigurationError: an argument that does not exist, or one that asks for what is not here.

    Example:
        >>> LLM(model="hosted_vllm/my-model", api_base="http://127.0.0.1:8000/v1", top_p=0.9).options
        {'top_p': 0.9}
    """

    def __new__(cls, model: Any = None, **theirs: Any) -> Any:
        """Return an LLM; see `oarlock.LLM`."""
        if isinstance(model, str) and model.startswith("local/"):
            model, settings = _settled(model, theirs)
            return super().__new__(cls, model, **settings)
        return super().__new__(cls, model)

    def __init__(self, model: str, **theirs: Any) -> None:
        ours, settings = _settled(model, theirs)
        super().__init__(ours, **settings)


def _settled(model: Any, theirs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return the model and the settings as Oarlock names them."""
    given = {name: value for name, value in theirs.items() if value is not None and name not in _DROPPED}
    model = _named(model, given.pop("provider", None), bool(given.get("base_url") or given.get("api_base")))
    if given.pop("callbacks", None):
        raise ConfigurationError("LLM: callbacks are not in Oarlock: use crew.kickoff(on_event=...) or a policy.")
    if isinstance(given.get("response_format"), type):
        raise ConfigurationError("LLM: response_format is not in Oarlock: use Task(output_pydantic=...).")
    if given.pop("api_version", None) is not None:
        _log.warning("LLM(%r): api_version is not needed and not sent: Azure's version 1 API has none", model)
    options = dict(given.pop("options", {}))
    settings: dict[str, Any] = {}
    for name, value in given.items():
        if name in _OPTIONS or name == "response_format":
            options[name] = value
        else:
            settings[_RENAMED.get(name, name)] = value
    return model, {**settings, "options": options} if options else settings


def _named(model: Any, provider: Any, has_address: bool) -> Any:
    """Return the model with the name that Oarlock has for its provider."""
    if not isinstance(model, str):
        return model
    if isinstance(provider, str) and provider and not model.startswith(f"{provider}/"):
        model = f"{provider}/{model}"
    first, slash, rest = model.partition("/")
    if not slash and not has_address and not model.startswith(_ANYBODYS):
        own = next((provider for start, provider in _OWN_NAMES.items() if model.startswith(start)), None)
        return f"{own}/{model}" if own else model
    return f"{_OURS[first]}/{rest}" if slash and first in _OURS and first not in PRESETS else model
