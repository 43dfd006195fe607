"""The errors of a transport, in words: what happened at which host, and what to do. Never a secret."""

from __future__ import annotations

from collections.abc import Iterator

from oarlock.contract.errors import (
    ConfigurationError,
    ConnectionFailedError,
    LLMError,
    LLMTimeoutError,
    OarlockError,
    ReplyTooLarge,
    ResponseFormatError,
)
from oarlock.contract.frames import without_frames
from oarlock.contract.http import HttpRequest
from oarlock.contract.secret import scrub
from oarlock.transport.naming import endpoint

__all__ = ["broken", "by_sign", "caused_by", "limit_of", "timed_out", "unsendable"]

# Longest wait that clients are asked for, 30 years; what is longer is no limit. Locks and sockets refuse larger numbers.
FOREVER = 1e9


def caused_by(ours: OarlockError, error: BaseException | None) -> OarlockError:
    """Return our error with a client's as its cause, both without the frames that hold the request.

    An error of the client's may quote the endpoint, and the endpoint the request: credentials are scrubbed from it.
    """
    ours.__cause__ = error
    for one in causes(error):
        one.__traceback__ = None
        one.args = tuple(scrub(arg, 1000) if isinstance(arg, str) else arg for arg in one.args)
    return without_frames(ours)


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Give an error and everything behind it, groups included (anyio tries several addresses at once)."""
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]


def unsendable(request: HttpRequest) -> ConfigurationError:
    """Return the error for a request that no client would send, saying which part is at fault and not what it holds."""
    for name, value in request.headers:
        if not name.isascii() or not name or any(char in name for char in " \t\r\n:"):
            return ConfigurationError("a header's name is empty or has characters that HTTP does not allow.")
        if not value.isprintable():
            return ConfigurationError(
                f"the header {name!r} has a value with a line break or a control character; HTTP does not allow that."
            )
    return ConfigurationError(
        f"the URL of {endpoint(request.url)} cannot be used: it must be absolute, begin with http:// or https://, "
        "and have a valid host and port."
    )


def limit_of(request: HttpRequest) -> float | None:
    """Return the seconds that a request may take, `None` for no limit.

    Raises:
        LLMTimeoutError: there is no time at all.
    """
    seconds = request.timeout
    if seconds is None or seconds >= FOREVER:
        return None
    if seconds > 0:  # false for NaN
        return seconds
    raise LLMTimeoutError(f"no time was left to send the request to {endpoint(request.url)} (timeout).")


def timed_out(where: str, seconds: float | None, *, connecting: bool) -> LLMTimeoutError:
    """Return the error for a wait that reached its limit of so many seconds."""
    limit = "the limit" if seconds is None else f"{round(seconds, 3):g} s"
    if connecting:
        return LLMTimeoutError(f"no connection to {where} within {limit} (connect_timeout).")
    return LLMTimeoutError(f"{where} did not finish its answer within {limit} (timeout).")


def broken(where: str, *, connecting: bool, body: bool) -> ConnectionFailedError:
    """Return the error for a connection that failed at this stage, for no reason that `by_sign` knows."""
    if connecting:
        return ConnectionFailedError(f"no connection to {where} could be made. Check the address and the network.")
    if body:
        return ConnectionFailedError(f"{where} cut its answer before the end.")
    return ConnectionFailedError(f"{where} closed or broke the connection before it answered.")


def by_sign(facts: str, where: str, max_headers: int) -> LLMError | None:
    """Return the error that a client's own words (lower case) speak of, if they are known."""
    if "message head is too large" in facts or "receive buffer too long" in facts or "header list" in facts:
        return ReplyTooLarge(f"{where} sent a response whose headers exceed {max_headers} bytes (max_headers).")
    if "chunk trailers" in facts or "chunk extensions" in facts:  # hyper's own limits, 16 KB
        return ReplyTooLarge(f"{where} sent a response whose trailers or chunk extensions are too large.")
    if any(sign in facts for sign in NOT_HTTP):
        return ResponseFormatError(f"{where} did not answer in HTTP: check the port and http:// or https://.")
    for signs, sentence, retryable in SIGNS:
        if any(sign in facts for sign in signs):
            return ConnectionFailedError(sentence.format(where=where), retryable=retryable)
    return None


NOT_HTTP = ("invalid http version", "illegal status line", "invalid http header parsed")
UNTRUSTED = (
    "the TLS certificate of {where} is not trusted. If its authority is your company's own, give its PEM file as "
    'transport_options={{"verify": "path/to/ca.pem"}}.'
)
REJECTED = "TLS with {where} failed over the client's certificate: check client_certificate."
WANTED = "{where} wants a client certificate, and got none: give auth=ClientCertificate(...), from oarlock.auth."
PLAIN = "{where} does not speak TLS: check the port and http:// or https://."
UNKNOWN = "the host of {where} is not known: its name could not be resolved. Check the URL."
REFUSED = "nothing listens at {where}: the connection was refused."
PROXY = "the proxy on the way to {where} wants a sign-in: put user and password into the proxy's URL."
CLOSED = "the transport was closed while it waited for {where}."

NOT_OUR_CERTIFICATE = (UNTRUSTED, PLAIN, UNKNOWN, REFUSED, PROXY, CLOSED)

# Words of rustls, OpenSSL, hyper, h11 and the operating systems; the first that occurs decides. Then: what it means, and
# whether the same request may succeed later.
SIGNS: tuple[tuple[tuple[str, ...], str, bool], ...] = (
    (("proxy authorization required", "proxyerror: 407"), PROXY, False),
    (("invalid peer certificate", "certificate_verify_failed", "certificate verify failed"), UNTRUSTED, False),
    (("certificate required", "certificaterequired", "alert_certificate_required"), WANTED, False),
    (("certificate", "handshake failure", "handshakefailure"), REJECTED, False),
    (("alert unknown ca", "alert: unknownca", "alert access denied", "alert: accessdenied"), REJECTED, False),
    (("corrupt message", "wrong_version_number", "wrong version number", "record_layer_failure"), PLAIN, False),
    (("dns error", "getaddrinfo", "gaierror", "name or service not known", "nodename nor servname"), UNKNOWN, True),
    (("connection refused", "connectionrefused"), REFUSED, True),
    (("client was closed",), CLOSED, True),
)
