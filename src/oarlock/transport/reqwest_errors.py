"""The one place where pyreqwest's errors become ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from oarlock.contract.errors import (
    ConfigurationError,
    ConnectionFailedError,
    LLMError,
    LLMTimeoutError,
    OarlockError,
    ReplyTooLarge,
    ResponseFormatError,
)
from oarlock.transport.naming import endpoint

if TYPE_CHECKING:
    from oarlock.contract.http import HttpRequest
    from oarlock.transport.options import TransportOptions

__all__ = ["out_of_time", "translate"]


def translate(error: Exception, request: HttpRequest, options: TransportOptions, seconds: float | None) -> OarlockError:
    """Return our error for one that pyreqwest raised while it sent `request`; `seconds` is the limit that held.

    The original is its cause, unless it quotes what may be secret.
    """
    if isinstance(error, OarlockError):
        return error
    ours = _translated(error, request, options, seconds)
    if not isinstance(ours, ConfigurationError):  # those answer for errors that quote a header's value or the URL
        ours.__cause__ = error
    return ours


def out_of_time(request: HttpRequest) -> LLMTimeoutError:
    """Return the error for a request whose timeout leaves no time at all."""
    return LLMTimeoutError(f"no time was left to send the request to {endpoint(request.url)} (timeout).")


def _translated(
    error: Exception, request: HttpRequest, options: TransportOptions, seconds: float | None
) -> OarlockError:
    from pyreqwest.exceptions import BuilderError, DetailedPyreqwestError, RequestTimeoutError

    where = endpoint(request.url)
    facts = _facts(error) if isinstance(error, DetailedPyreqwestError) else str(error).lower()
    if isinstance(error, TimeoutError):
        connecting = isinstance(error, RequestTimeoutError) and "(connect)" in facts
        return _timed_out(where, options.connect_timeout if connecting else seconds, connecting=connecting)
    if isinstance(error, BuilderError) or not isinstance(error, DetailedPyreqwestError):
        return unsendable(request)
    return _failed(facts, where, options)


def _facts(error: Any) -> str:
    """Return the chain of causes as one lower-case text, and take URLs out of it: their query may hold a key."""
    causes = error.details.get("causes") or []
    for cause in causes:
        cause["message"] = cause["message"].partition(" for url (")[0]
    return " | ".join([error.message, *(cause["message"] for cause in causes)]).lower()


def unsendable(request: HttpRequest) -> ConfigurationError:
    """Return the error for a request that no client would send, saying which part is at fault and not what it holds."""
    for name, value in request.headers:
        if not name.isascii() or not name or any(char in name for char in " \t\r\n:"):
            return ConfigurationError("a header's name is empty or has characters that HTTP does not allow.")
        if any(char in value for char in "\r\n\0") or not value.isprintable():
            return ConfigurationError(
                f"the header {name!r} has a value with a line break or a control character; HTTP does not allow that."
            )
    return ConfigurationError(
        f"the URL of {endpoint(request.url)} cannot be used: it must be absolute, begin with http:// or https://, "
        "and have a valid host and port."
    )


def _timed_out(where: str, seconds: float | None, *, connecting: bool) -> LLMTimeoutError:
    limit = "the limit" if seconds is None else f"{seconds:g} s"
    if connecting:
        return LLMTimeoutError(f"no connection to {where} within {limit} (connect_timeout).")
    return LLMTimeoutError(f"{where} did not finish its answer within {limit} (timeout).")


def _failed(facts: str, where: str, options: TransportOptions) -> LLMError:
    for sign, make in _SIGNS:
        if sign in facts:
            return make(where, options)
    if "(connect)" in facts:
        return ConnectionFailedError(f"no connection to {where} could be made: {facts.rpartition(' | ')[2]}.")
    if "body" in facts:
        return ConnectionFailedError(f"{where} cut its answer before the end.")
    return ConnectionFailedError(f"the connection to {where} broke before the answer: {facts.rpartition(' | ')[2]}.")


def _untrusted(where: str, _: TransportOptions) -> LLMError:
    return ConnectionFailedError(
        f"the TLS certificate of {where} is not trusted. If its authority is your company's own, give its PEM file as "
        "verify='path/to/ca.pem'.",
        retryable=False,
    )


def _simple(text: str, *, retryable: bool = True) -> Callable[[str, TransportOptions], LLMError]:
    return lambda where, _: ConnectionFailedError(text.format(where=where), retryable=retryable)


def _too_many_headers(where: str, options: TransportOptions) -> LLMError:
    return ReplyTooLarge(f"{where} sent a response whose headers exceed {options.max_headers} bytes (max_headers).")


def _not_http(where: str, _: TransportOptions) -> LLMError:
    return ResponseFormatError(f"{where} did not answer in HTTP: check the port and http:// or https://.")


_SIGNS: tuple[tuple[str, Callable[[str, TransportOptions], LLMError]], ...] = (
    ("invalid peer certificate", _untrusted),
    ("certificate", _simple("TLS with {where} failed over a certificate: check client_certificate.", retryable=False)),
    (
        "corrupt message",
        _simple("{where} does not speak TLS: check the port and http:// or https://.", retryable=False),
    ),
    ("dns error", _simple("the host of {where} is not known: its name could not be resolved. Check the URL.")),
    ("connection refused", _simple("nothing listens at {where}: the connection was refused.")),
    ("message head is too large", _too_many_headers),
    ("invalid http version", _not_http),
)
