"""Any LLM as an OpenAI-compatible server: `create_app` for a server of yours, `serve` for ours. Needs `oarlock[serve]`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oarlock._lazy import lazy_names

if TYPE_CHECKING:
    from oarlock.serve.app import create_app
    from oarlock.serve.callers import ApiKey, Caller
    from oarlock.serve.errors import ApiError
    from oarlock.serve.jwt import JwtCheck
    from oarlock.serve.server import serve, serving
    from oarlock.serve.settings import Limits

__all__ = ["ApiError", "ApiKey", "Caller", "JwtCheck", "Limits", "create_app", "serve", "serving"]

_named = lazy_names(
    __name__,
    {
        "ApiError": "errors",
        "ApiKey": "callers",
        "Caller": "callers",
        "JwtCheck": "jwt",
        "Limits": "settings",
        "create_app": "app",
        "serve": "server",
        "serving": "server",
    },
)


def __getattr__(name: str) -> Any:
    try:
        return _named(name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("starlette", "uvicorn", "h11"):
            raise
        from oarlock.contract.errors import ConfigurationError

        raise ConfigurationError("oarlock.serve needs Starlette and uvicorn: pip install 'oarlock[serve]'.") from None


def __dir__() -> list[str]:
    return __all__
