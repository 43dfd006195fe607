"""`crewai.utilities.llm_utils`, and how the other modules here find the LLMs that scripts name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final, cast

from oarlock.agents.definitions import check_llm
from oarlock.compat.crewai.llm import LLM
from oarlock.contract.errors import ConfigurationError
from oarlock.contract.llm import BaseLLM

__all__ = ["create_llm", "environment_llm", "with_llms"]

_VARIABLES: Final = ("MODEL", "MODEL_NAME", "OPENAI_MODEL_NAME")
_HINT: Final = (
    "Pass LLM('provider/model'), ChatLLM(model, base_url, auth=...), or an object of your own subclass of BaseLLM."
)


def create_llm(llm_value: Any = None) -> BaseLLM:
    """Return the LLM that was given, or that the environment names. No provider is chosen that was not named.

    Args:
        llm_value: an LLM object; a model's name, such as `"openai/gpt-4o"`; a mapping of the arguments of `crewai.LLM`; or
            `None` for what one of the environment variables `MODEL`, `MODEL_NAME` and `OPENAI_MODEL_NAME` names.

    Raises:
        ConfigurationError: it is anything else, or nothing names a model.

    Example:
        >>> from oarlock.testing import ScriptedLLM
        >>> llm = ScriptedLLM(["Hello"])
        >>> create_llm(llm) is llm
        True
    """
    if llm_value is None:
        llm = environment_llm()
        if llm is None:
            raise ConfigurationError(
                f"create_llm() was given no LLM, and none of {', '.join(_VARIABLES)} names one. {_HINT}"
            )
        return llm
    return _llm_of("create_llm()", "llm_value", llm_value)


def environment_llm() -> BaseLLM | None:
    """Return the LLM that an environment variable names, `None` if none does.

    Raises:
        ConfigurationError: it names no model with its provider.
    """
    for variable in _VARIABLES:
        if name := os.environ.get(variable, "").strip():
            return _named(f"the environment variable {variable}", name)
    return None


def with_llms(owner: str, given: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return arguments with LLMs in the place of their names and settings, those in `config` too.

    Raises:
        ConfigurationError: a name or a setting is wrong.
    """
    config = given.get("config")
    made = dict(given)
    for name in names:
        value = made.get(name)
        if value is None and isinstance(config, Mapping):
            value = config.get(name)
        if isinstance(value, str | Mapping):
            made[name] = _llm_of(owner, name, value)
    return made


def _llm_of(owner: str, name: str, value: Any) -> BaseLLM:
    if isinstance(value, str):
        return _named(f"{owner}({name}={value!r})", value)
    if isinstance(value, Mapping) and "model" in value:
        return LLM(**value)
    check_llm(owner, name, value)
    return cast("BaseLLM", value)


def _named(where: str, name: str) -> BaseLLM:
    try:
        return LLM(name)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {str(error).removeprefix('LLM: ')}") from None
