"""For tests, the library's and yours: scripted models, a virtual clock, a real endpoint that misbehaves on demand."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oarlock.testing.endpoint import (
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

_HOMES = {
    "FunctionLLM": "scripted",
    "ScriptExhaustedError": "scripted",
    "ScriptedLLM": "scripted",
    "VirtualRuntime": "virtual",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES.get(name, 'endpoint')}"), name)


def __dir__() -> list[str]:
    return __all__
