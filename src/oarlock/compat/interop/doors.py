"""The functions that give an LLM the form of another framework's."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from oarlock.compat.install import is_installed
from oarlock.compat.interop.asking import checked_llm
from oarlock.contract.errors import ConfigurationError

if TYPE_CHECKING:
    import crewai
    import openai
    from agents import Model as AgentsModel
    from langchain_core.language_models import BaseChatModel
    from pydantic_ai.models import Model as PydanticAIModel

    from oarlock.contract.llm import BaseLLM

__all__ = [
    "as_async_openai_client",
    "as_crewai_llm",
    "as_langchain_model",
    "as_openai_agents_model",
    "as_openai_client",
    "as_pydantic_ai_model",
]


def as_crewai_llm(llm: BaseLLM, *, stream: bool = False) -> crewai.BaseLLM:
    """Return the LLM as a `crewai.BaseLLM` of the real CrewAI: `crewai.Agent(llm=as_crewai_llm(llm), ...)`.

    Sign-in, policies and all stay those of the LLM. CrewAI repeats nothing that fails.

    Args:
        llm: any LLM of Oarlock's.
        stream: have the answer come in pieces, as events of CrewAI's.

    Raises:
        ConfigurationError: `llm` is no LLM, CrewAI is not installed, or its name is taken by `install_as_crewai()`.
    """
    checked_llm("as_crewai_llm", llm)
    if is_installed():
        raise ConfigurationError(
            "as_crewai_llm() is for the real CrewAI, and in this program `crewai` means Oarlock, whose agents take the LLM "
            "as it is: Agent(llm=llm)."
        )
    return _adapter("crewai", "as_crewai_llm", "crewai").OarlockLLM(llm, stream=stream or None)


def as_langchain_model(llm: BaseLLM) -> BaseChatModel:
    """Return the LLM as a chat model of LangChain's: `create_agent(as_langchain_model(llm), tools)`.

    Raises:
        ConfigurationError: `llm` is no LLM, or langchain-core is not installed.
    """
    checked_llm("as_langchain_model", llm)
    return _adapter("langchain", "as_langchain_model", "langchain-core").OarlockChatModel(llm)


def as_pydantic_ai_model(llm: BaseLLM, *, settings: Any = None) -> PydanticAIModel:
    """Return the LLM as a model of pydantic-ai: `pydantic_ai.Agent(as_pydantic_ai_model(llm))`.

    Args:
        llm: any LLM of Oarlock's.
        settings: pydantic-ai's `ModelSettings` for every request.

    Raises:
        ConfigurationError: `llm` is no LLM, or pydantic-ai, with its extra `openai`, is not installed.
    """
    checked_llm("as_pydantic_ai_model", llm)
    return _adapter("pydantic_ai", "as_pydantic_ai_model", "pydantic-ai-slim[openai]").OarlockModel(llm, settings)


def as_openai_agents_model(llm: BaseLLM) -> AgentsModel:
    """Return the LLM as a model of the OpenAI Agents SDK: `agents.Agent(model=as_openai_agents_model(llm), ...)`.

    The SDK sends traces to OpenAI unless `agents.set_tracing_disabled(True)`.

    Raises:
        ConfigurationError: `llm` is no LLM, or openai-agents is not installed.
    """
    checked_llm("as_openai_agents_model", llm)
    return _adapter("openai_agents", "as_openai_agents_model", "openai-agents").OarlockModel(llm)


def as_openai_client(llm: BaseLLM) -> openai.OpenAI:
    """Return an `openai.OpenAI` client whose chat completions come from the LLM, for libraries that take such a client.

    Its requests leave this process only through the LLM. An error of ours comes as the error of the client's that says
    the same, such as `openai.AuthenticationError`.

    Raises:
        ConfigurationError: `llm` is no LLM, or openai is not installed.

    Example:
        >>> from oarlock.testing import ScriptedLLM
        >>> client = as_openai_client(ScriptedLLM(["Hello."]))  # doctest: +SKIP
        >>> answer = client.chat.completions.create(model="", messages=[{"role": "user", "content": "Hi"}])  # doctest: +SKIP
        >>> answer.choices[0].message.content  # doctest: +SKIP
        'Hello.'
    """
    checked_llm("as_openai_client", llm)
    return _adapter("openai_client", "as_openai_client", "openai").client(llm)


def as_async_openai_client(llm: BaseLLM) -> openai.AsyncOpenAI:
    """Return an `openai.AsyncOpenAI` client; see `as_openai_client`.

    Raises:
        ConfigurationError: `llm` is no LLM, or openai is not installed.
    """
    checked_llm("as_async_openai_client", llm)
    return _adapter("openai_client", "as_async_openai_client", "openai").async_client(llm)


def _adapter(name: str, door: str, package: str) -> Any:
    """Import an adapter.

    Raises:
        ConfigurationError: the package that it is for is not there, or too old.
    """
    try:
        return import_module(f"oarlock.compat.interop.{name}")
    except ImportError as error:
        raise ConfigurationError(
            f"{door}() needs the package {package} ({error}): pip install '{package}'. Oarlock does not bring it along."
        ) from error
