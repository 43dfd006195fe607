"""Requests signed with a shared secret."""

from __future__ import annotations

import base64
import hashlib
import hmac
import inspect
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any, Final

from oarlock.auth.credentials import header_name, printable, secret_of
from oarlock.auth.wire_url import path_and_query, wire_url
from oarlock.contract.auth import Do, Flow, Send
from oarlock.contract.classify import classify
from oarlock.contract.errors import AuthenticationError, ConfigurationError
from oarlock.contract.http import HttpRequest
from oarlock.contract.secret import Secret
from oarlock.runtime import Runtime

__all__ = ["HmacSigner"]

_HASHES: Final = ("sha256", "sha384", "sha512")

SignRequest = Callable[[HttpRequest, float], Mapping[str, str | Secret]]


class HmacSigner:
    """Signs each request with an HMAC (RFC 2104) over its method, path, date and body.

    What is signed is, with line feeds between them: the method, the path with its query, the `Date` header, and the
    body's digest in hexadecimal. The request gets

    - `Date: Mon, 23 Nov 2026 09:00:00 GMT`,
    - `X-Content-SHA256: <digest>`,
    - `Authorization: HMAC-SHA256 KeyId=<key id>,Signature=<base64>`.

    A gateway that wants it otherwise: give `canonical`, `template` and the header names, or a whole `sign` function. The
    URL that is signed is encoded as it is sent. A request that is tried again is signed again.

    Args:
        key: the shared secret: a text, which stands for its UTF-8, or bytes.
        key_id: names the key to the server.
        algorithm: `"sha256"`, `"sha384"` or `"sha512"`.
        header: the header of the signature.
        template: its value, with `{algorithm}`, `{key_id}` and `{signature}`.
        date_header: the header of the time; `None` for none.
        digest_header: the header of the body's digest; `None` for none; default: by the algorithm, `X-Content-SHA256`.
        canonical: returns what is signed, given the request, the date as sent, and the body's digest in hexadecimal.
        encoding: of the signature: `"base64"` or `"hex"`.
        sign: does it all: given the request and the time in seconds since the epoch, returns the headers to add. It must be
            quick and do no I/O.

    Raises:
        ConfigurationError: a setting that cannot work.
        AuthenticationError: from a call, when `canonical` or `sign` fails.

    Example:
        >>> HmacSigner("s3cret", key_id="team-blue")
        HmacSigner(key_id='team-blue')
    """

    def __init__(
        self,
        key: str | bytes | Secret | None = None,
        *,
        key_id: str = "",
        algorithm: str = "sha256",
        header: str = "Authorization",
        template: str = "HMAC-{algorithm} KeyId={key_id},Signature={signature}",
        date_header: str | None = "Date",
        digest_header: str | None = "X-Content-{algorithm}",
        canonical: Callable[[HttpRequest, str, str], str | bytes] | None = None,
        encoding: str = "base64",
        sign: SignRequest | None = None,
    ) -> None:
        if (key is None) == (sign is None):
            raise ConfigurationError("HmacSigner: give the key, or a sign function that has it, not both.")
        if algorithm not in _HASHES:
            raise ConfigurationError(f"HmacSigner: algorithm must be one of {', '.join(_HASHES)}, not {algorithm!r}.")
        if encoding not in ("base64", "hex"):
            raise ConfigurationError(f'HmacSigner: encoding must be "base64" or "hex", not {encoding!r}.')
        for name, function in (("canonical", canonical), ("sign", sign)):
            if function is not None and (not callable(function) or inspect.iscoroutinefunction(function)):
                kind = "an async one" if callable(function) else type(function).__name__
                raise ConfigurationError(f"HmacSigner: {name} must be an ordinary function, not {kind}.")
        if not isinstance(key_id, str) or not printable(key_id):
            raise ConfigurationError(f"HmacSigner: key_id must be a text that a header can carry, not {key_id!r}.")
        self._key = None if key is None else _key(key)
        self.key_id = key_id
        self._algorithm = algorithm
        self._header = header_name("HmacSigner", header)
        self._template = _checked_template(template)
        self._date_header = None if date_header is None else header_name("HmacSigner", date_header)
        digest_name = digest_header and digest_header.replace("{algorithm}", algorithm.upper())
        self._digest_header = None if digest_name is None else header_name("HmacSigner", digest_name)
        self._canonical = canonical or _canonical
        self._encoding = encoding
        self._sign = sign or self._signed

    def flow(self, request: HttpRequest) -> Flow:
        """Sign one request."""
        now: float = yield Do(_time)
        request = request.with_url(wire_url(request.url))
        try:
            headers = self._sign(request, now)
            fields = [
                (header_name("HmacSigner", name), secret_of("HmacSigner", value).reveal())
                for name, value in headers.items()
            ]
        except Exception as error:  # noqa: BLE001  the boundary to the user's functions
            problem = str(classify(error, "The function of HmacSigner"))
        else:
            yield request.with_headers(*fields)
            return
        raise AuthenticationError(problem)

    def _signed(self, request: HttpRequest, now: float) -> dict[str, str]:
        assert self._key is not None
        digest = hashlib.new(self._algorithm, request.body).hexdigest()
        date = formatdate(now, usegmt=True)
        text = self._canonical(request, date, digest)
        data = text.encode() if isinstance(text, str) else text
        mac = hmac.new(self._key.reveal().encode("latin-1"), data, self._algorithm)
        signature = mac.hexdigest() if self._encoding == "hex" else base64.b64encode(mac.digest()).decode()
        value = self._template.format(algorithm=self._algorithm.upper(), key_id=self.key_id, signature=signature)
        dated = {} if self._date_header is None else {self._date_header: date}
        digested = {} if self._digest_header is None else {self._digest_header: digest}
        return {**dated, **digested, self._header: value}

    def explain_refusal(self, wall_time: float) -> str | None:
        """Return what may be wrong when a signature is refused, in words."""
        when = datetime.fromtimestamp(wall_time, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        return f"The request was signed by {self!r} at {when}: check key, key_id, what is signed, and the clock."

    def __repr__(self) -> str:
        return f"HmacSigner(key_id={self.key_id!r})"


async def _time(runtime: Runtime, _send: Send) -> float:
    return runtime.time()


def _canonical(request: HttpRequest, date: str, digest: str) -> str:
    return f"{request.method}\n{path_and_query(request.url)}\n{date}\n{digest}"


def _key(key: Any) -> Secret:
    """Return the key, its bytes written as Latin-1."""
    plain = key.reveal() if isinstance(key, Secret) else key
    if not isinstance(plain, str | bytes) or not plain:
        kind = "empty" if isinstance(plain, str | bytes) else f"of the type {type(plain).__name__}"
        raise ConfigurationError(f"HmacSigner: the key is {kind}. It must be a non-empty text, or bytes.")
    return Secret((plain.encode() if isinstance(plain, str) else plain).decode("latin-1"))


def _checked_template(template: Any) -> str:
    try:
        shown = template.format(algorithm="", key_id="", signature="{}")
    except (LookupError, ValueError, AttributeError):
        shown = ""
    if "{}" not in shown or not printable(shown):
        raise ConfigurationError(
            "HmacSigner: template must hold {signature}, may hold {algorithm} and {key_id}, and nothing else in braces."
        )
    return str(template)
