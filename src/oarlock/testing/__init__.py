"""For tests, the library's and yours: scripted models, a virtual clock, a real endpoint that misbehaves on demand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oarlock._lazy import lazy_names

if TYPE_CHECKING:
    from oarlock.testing.contract.check import check_llm
    from oarlock.testing.contract.pytest_case import LLMContract
    from oarlock.testing.contract.report import CheckResult, ContractError, ContractReport
    from oarlock.testing.endpoint import (
        Answer,
        Drop,
        Hang,
        JwtIssuer,
        LoopbackEndpoint,
        Raw,
        RecordedRequest,
        Status,
        ToolCalls,
        require_bearer,
        require_header,
    )
    from oarlock.testing.scripted import FunctionLLM, ScriptedLLM, ScriptExhaustedError
    from oarlock.testing.virtual import VirtualRuntime

__all__ = [
    "Answer",
    "CheckResult",
    "ContractError",
    "ContractReport",
    "Drop",
    "FunctionLLM",
    "Hang",
    "JwtIssuer",
    "LLMContract",
    "LoopbackEndpoint",
    "Raw",
    "RecordedRequest",
    "ScriptExhaustedError",
    "ScriptedLLM",
    "Status",
    "ToolCalls",
    "VirtualRuntime",
    "check_llm",
    "require_bearer",
    "require_header",
]

__getattr__ = lazy_names(
    __name__,
    {
        **dict.fromkeys(__all__, "endpoint"),
        **dict.fromkeys(("FunctionLLM", "ScriptExhaustedError", "ScriptedLLM"), "scripted"),
        "VirtualRuntime": "virtual",
        **dict.fromkeys(("CheckResult", "ContractError", "ContractReport"), "contract.report"),
        "LLMContract": "contract.pytest_case",
        "check_llm": "contract.check",
    },
)


def __dir__() -> list[str]:
    return __all__
