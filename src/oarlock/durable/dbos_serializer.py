"""What DBOS writes and reads for us: JSON, sealed if there is a key. DBOS's own way is pickle, which is never used."""

from __future__ import annotations

import json
from typing import Any, Protocol

from dbos import Serializer

from oarlock.durable.failures import error_from_json, error_to_json

__all__ = ["JsonSerializer", "Sealer"]

_ERROR = "$error"


class Sealer(Protocol):
    """Makes texts unreadable and readable again."""

    def seal(self, text: str) -> str:
        """Return the text unreadable."""

    def open(self, sealed: str) -> str:
        """Return it readable; raises `RunStoreError` if the key is another one."""


class JsonSerializer(Serializer):
    """Plain values as JSON, errors as their redacted words.

    Args:
        sealer: `None` leaves everything readable.
    """

    def __init__(self, sealer: Sealer | None = None) -> None:
        self._sealer = sealer

    def name(self) -> str:
        """Say by what a row was written; one that has another name cannot be read with this."""
        return "oarlock_json" if self._sealer is None else "oarlock_sealed_json"

    def serialize(self, data: Any) -> str:
        """Return a text without a character that some database does not take."""
        value = {_ERROR: error_to_json(data)} if isinstance(data, BaseException) else data
        text = json.dumps(value, allow_nan=False, separators=(",", ":"))
        return text if self._sealer is None else self._sealer.seal(text)

    def deserialize(self, serialized_data: str) -> Any:
        """Return the values, or the error."""
        value = json.loads(serialized_data if self._sealer is None else self._sealer.open(serialized_data))
        return error_from_json(value[_ERROR]) if isinstance(value, dict) and value.keys() == {_ERROR} else value
