"""What a client is told of a run that failed."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from oarlock.contract.errors import LLMError, OarlockError, RunCancelledError
from oarlock.contract.secret import scrub
from oarlock.serve.errors import api_error

__all__ = ["failure"]


def failure(error: BaseException) -> dict[str, Any]:
    """Return an error's type, code and message, as far as they are the client's business.

    Example:
        >>> from oarlock.contract.errors import GuardrailError
        >>> failure(GuardrailError("The answer is too long."))
        {'type': 'GuardrailError', 'code': 'guardrail', 'message': 'The answer is too long.'}
    """
    kind = type(error).__name__
    if isinstance(error, asyncio.CancelledError | RunCancelledError):
        return {"type": "Cancelled", "code": "cancelled", "message": "The run was cancelled."}
    if isinstance(error, LLMError) or not isinstance(error, OarlockError):
        told = api_error(error if isinstance(error, Exception) else RuntimeError())
        return {
            "type": kind if isinstance(error, OarlockError) else "Error",
            "code": told.code,
            "message": told.message,
        }
    code = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.removesuffix("Error")).lower()
    return {"type": kind, "code": code, "message": scrub(str(error), 1000)}
