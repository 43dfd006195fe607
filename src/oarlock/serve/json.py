"""JSON as it goes out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

__all__ = ["JsonAnswer", "dumps"]

_to_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def dumps(value: Any) -> bytes:
    """Return compact JSON in UTF-8; a lone surrogate, which UTF-8 cannot hold, as its escape.

    Example:
        >>> dumps({"text": "\\ud800"})
        b'{"text":"\\\\ud800"}'
    """
    return _to_json(value).encode("utf-8", "backslashreplace")


class JsonAnswer(Response):
    """A JSON answer that nobody keeps or reads as anything else."""

    media_type = "application/json"

    def __init__(self, value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(dumps(value), status, {"cache-control": "no-store", **(headers or {})})
