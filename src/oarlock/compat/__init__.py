"""Other frameworks: CrewAI's names for unmodified scripts, and Oarlock's LLMs inside CrewAI, LangChain and others.

`install_as_crewai()`, then `from crewai import Agent` gives Oarlock's. `as_crewai_llm(llm)`, `as_langchain_model(llm)` and the
like give an LLM the form that another framework takes; those need that framework, which Oarlock does not bring along.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oarlock._lazy import lazy_names

if TYPE_CHECKING:
    from oarlock.compat.install import as_crewai, install_as_crewai, uninstall
    from oarlock.compat.interop.doors import (
        as_async_openai_client,
        as_crewai_llm,
        as_langchain_model,
        as_openai_agents_model,
        as_openai_client,
        as_pydantic_ai_model,
    )
    from oarlock.compat.missing import NotInOarlockError
    from oarlock.compat.scripts import run_script

__all__ = [
    "NotInOarlockError",
    "as_async_openai_client",
    "as_crewai",
    "as_crewai_llm",
    "as_langchain_model",
    "as_openai_agents_model",
    "as_openai_client",
    "as_pydantic_ai_model",
    "install_as_crewai",
    "run_script",
    "uninstall",
]

_DOORS = [name for name in __all__ if name.startswith("as_") and name != "as_crewai"]
__getattr__ = lazy_names(
    __name__,
    {
        "NotInOarlockError": "missing",
        "as_crewai": "install",
        "install_as_crewai": "install",
        "run_script": "scripts",
        "uninstall": "install",
        **dict.fromkeys(_DOORS, "interop.doors"),
    },
)
