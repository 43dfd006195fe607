"""LLMs, sign-ins and policies as configuration has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from oarlock import policies as ready
from oarlock.auth import Auth, from_config
from oarlock.auth.references import reference
from oarlock.contract.errors import ConfigurationError, a_kind, misspelt
from oarlock.contract.llm import BaseLLM
from oarlock.contract.policy import Policy
from oarlock.llms.chat import ChatLLM
from oarlock.llms.llm import LLM
from oarlock.llms.local import LocalLLM
from oarlock.llms.presets import PRESETS

__all__ = ["POLICIES", "auth_from", "llm_from"]

T = TypeVar("T")

_SHORT: Final = {"api_key": "key", "bearer_token": "token"}

POLICIES: Final = {
    "budget": "Budget",
    "cache": "Cache",
    "circuit_breaker": "CircuitBreaker",
    "concurrency": "Concurrency",
    "deadline": "Deadline",
    "fallback": "Fallback",
    "log": "Log",
    "metrics": "Metrics",
    "rate_limit": "RateLimit",
    "retry": "Retry",
}
"""The policies by the names that files have for them."""


def llm_from(settings: Mapping[str, Any], where: str, folder: Path) -> BaseLLM:
    """Return the LLM that a mapping describes.

    Args:
        settings: `model`, and further arguments of `LLM`, `ChatLLM` or `LocalLLM`, whichever the model and `base_url` mean;
            these two may be references such as `env:NAME`.
        where: the place in the user's file, for messages.
        folder: where a GGUF file is looked for, too.

    Raises:
        ConfigurationError: something in it is wrong.
    """
    given = dict(settings)
    policies = _policies(given.pop("policies", None), f"{where}.policies", folder)
    for name in ("model", "base_url"):  # what differs between a test system and the real one
        if (found := reference(given.get(name), f"{where}.{name}")) is not None:
            given[name] = found.now().reveal()
    if "auth" in given:
        given["auth"] = auth_from(given["auth"], f"{where}.auth")
    if given.get("api_key") is not None:
        found = reference(given["api_key"], f"{where}.api_key")
        if found is None:
            raise ConfigurationError(
                f"{where}.api_key is a secret and must say where it is, as env:NAME or file:PATH, not the secret itself."
            )
        given["api_key"] = found.now()
    llm = _built(_kind(given, folder), where, given)
    try:
        return llm.with_policies(*policies) if policies else llm
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}.policies: {error}") from error


def _kind(given: dict[str, Any], folder: Path) -> Callable[..., BaseLLM]:
    model = given.get("model")
    if isinstance(model, str) and model.partition("/")[0] in PRESETS:
        return LLM
    if "base_url" in given:
        return LLM if "api_key" in given else ChatLLM
    if model is None or str(model).endswith(".gguf"):
        if isinstance(model, str) and (folder / model).is_file() and not model.startswith("local/"):
            given["model"] = folder / model
        return LLM if isinstance(model, str) and model.startswith("local/") else LocalLLM
    return LLM


def auth_from(settings: Any, where: str) -> Auth | None:
    """Return the sign-in; `{api_key: env:NAME}` is short for `{type: api_key, key: env:NAME}`."""
    if settings is None:
        return None
    if not isinstance(settings, dict) or not all(isinstance(key, str) for key in settings):
        raise ConfigurationError(f"{where} must be a mapping of names, not {a_kind(settings)}.")
    given = dict(settings)
    for name, argument in _SHORT.items():
        if "type" not in given and name in given:
            given = {"type": name, **{argument if key == name else key: value for key, value in given.items()}}
    return from_config(given, where)


def _policies(items: Any, where: str, folder: Path) -> list[Policy]:
    """Return policies: each a name, or a mapping of one name to its arguments or to its first argument."""
    if items is None:
        return []
    if not isinstance(items, list):
        raise ConfigurationError(f"{where} must be a list, such as [log, {{rate_limit: {{requests_per_minute: 60}}}}].")
    return [_policy(item, f"{where}[{number}]", folder) for number, item in enumerate(items)]


def _policy(item: Any, where: str, folder: Path) -> Policy:
    name, arguments = next(iter(item.items())) if isinstance(item, dict) and len(item) == 1 else (item, None)
    if name not in (POLICIES if isinstance(name, str) else ()):
        if not isinstance(name, str):
            raise ConfigurationError(f"{where} must be a policy's name, or a mapping of one name to its arguments.")
        said = str(misspelt(where, [name], POLICIES))
        raise ConfigurationError(said.replace("has no argument", "is no policy:").replace("It takes", "There are"))
    if name == "fallback":
        return _fallback(arguments, where, folder)
    kind: Callable[..., Policy] = getattr(ready, POLICIES[name])
    if isinstance(arguments, dict):
        if store := reference(arguments.get("store"), f"{where}.store"):  # an address with a password in it
            arguments = {**arguments, "store": store.now()}
        return _built(kind, where, arguments)
    return _built(kind, where, {}) if arguments is None else _built(lambda: kind(arguments), where, {})


def _fallback(items: Any, where: str, folder: Path) -> Policy:
    if not isinstance(items, list) or not items:
        raise ConfigurationError(f"{where}: fallback needs a list of LLMs, such as [mistral/mistral-small-latest].")
    settings = [{"model": one} if isinstance(one, str) else one for one in items]
    if not all(isinstance(one, dict) for one in settings):
        raise ConfigurationError(f"{where}: fallback needs a list of LLMs, each a name or a mapping.")
    llms = [llm_from(one, f"{where}.fallback[{number}]", folder) for number, one in enumerate(settings)]
    return _built(lambda: ready.Fallback(*llms), where, {})


def _built(kind: Callable[..., T], where: str, settings: Mapping[str, Any]) -> T:
    try:
        return kind(**settings)
    except (ConfigurationError, TypeError) as error:
        raise ConfigurationError(f"{where}: {error}") from error
