"""For tests, the library's and yours: scripted models, a virtual clock, a real endpoint that misbehaves on demand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oarlock._lazy import lazy_names

if TYPE_CHECKING:
    from oarlock.testing.endpoint import (
        Answer,
        Drop,
        Hang,
        JwtIssuer,
        LoopbackEndpoint,
        Raw,
        Status,
        ToolCalls,
        require_bearer,
        require_header,
    )
    from oarlock.testing.scripted import FunctionLLM, ScriptedLLM, ScriptExhaustedError
    from oarlock.testing.virtual import VirtualRuntime

__all__ = [
    "Answer",
    "Drop",
    "FunctionLLM",
    "Hang",
    "JwtIssuer",
    "LoopbackEndpoint",
    "Raw",
    "ScriptExhaustedError",
    "ScriptedLLM",
    "Status",
    "ToolCalls",
    "VirtualRuntime",
    "require_bearer",
    "require_header",
]

__getattr__ = lazy_names(
    __name__,
    {
        **dict.fromkeys(__all__, "endpoint"),
        **dict.fromkeys(("FunctionLLM", "ScriptExhaustedError", "ScriptedLLM"), "scripted"),
        "VirtualRuntime": "virtual",
    },
)


def __dir__() -> list[str]:
    return __all__
