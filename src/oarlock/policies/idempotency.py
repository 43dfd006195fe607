"""The key by which an endpoint knows a request that it has seen before."""

from __future__ import annotations

from oarlock.contract.context import current_call
from oarlock.contract.request import Request
from oarlock.runtime import Runtime

__all__ = ["key_of"]


def key_of(runtime: Runtime, request: Request) -> str:
    """Return the idempotency key of a request: its own, else a new one.

    A `call()` or a tool may ask more than one question while it serves one call. Each of them needs a key of its own, or
    the endpoint might answer the second with what it said to the first; and the same key in each attempt of that call. So
    a key that was inherited from the call around stands for the question too.
    """
    own = request.idempotency_key
    if own is None:
        return runtime.new_id()
    if own != current_call().idempotency_key:
        return own
    import hashlib  # brings OpenSSL, which takes as long to load as a tenth of the library

    question = repr((own, request.messages, request.tools))
    return hashlib.sha256(question.encode("utf-8", "surrogatepass")).hexdigest()[:32]
