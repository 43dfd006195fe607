"""Kerberos and NTLM, through pyspnego (RFC 4559)."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, Final
from urllib.parse import urlsplit

from oarlock.auth.credentials import text_of
from oarlock.contract.auth import Do, Flow
from oarlock.contract.classify import classify
from oarlock.contract.errors import AuthenticationError, ConfigurationError, LLMError, LLMTimeoutError
from oarlock.contract.http import HttpRequest, HttpResponse
from oarlock.contract.secret import Secret
from oarlock.runtime import Runtime, ThreadPool

__all__ = ["Negotiate"]

_PROTOCOLS: Final = ("negotiate", "kerberos", "ntlm")
_MOST_STEPS: Final = 5  # NTLM takes two, SPNEGO with a change of mechanism three
# One for all: the library's own state, tickets, is the process's as well.
_THREADS = ThreadPool(8, "oarlock-negotiate")


class Negotiate:
    """Signs in by SPNEGO, with a Kerberos ticket or with NTLM, through pyspnego (`oarlock[kerberos]`).

    With Kerberos the first request carries the ticket, so there is no extra round trip, and the server's proof is checked
    if its answer has one. With a password a ticket is asked for at each call; better log in once (`kinit`). Without user name and password the ticket of the person or service that is logged in is used (`kinit`).
    NTLM proves a connection rather than a request, in two round trips over the same one: calls at the same time may take
    each other's connection and be refused, so choose Kerberos where you can, or let one call go at a time
    (`Concurrency(1)`). A server that binds the sign-in to the TLS channel (Extended Protection) refuses both.

    Args:
        username: such as `"me@EXAMPLE.COM"` or `"DOMAIN\\\\me"`; default: who is logged in.
        password: theirs.
        protocol: `"negotiate"` (Kerberos, else NTLM), `"kerberos"` or `"ntlm"`.
        service: the service's name in its principal.
        hostname: the host in the service's principal; default: that of the URL.
        delegate: let the service act as the user elsewhere.

    Raises:
        ConfigurationError: `oarlock[kerberos]` is not installed, or the settings contradict each other.
        AuthenticationError: from a call, when there is no ticket or the server's proof is wrong.

    Example:
        >>> Negotiate(protocol="kerberos")
        Negotiate('kerberos')
    """

    def __init__(
        self,
        username: str | None = None,
        password: str | Secret | None = None,
        *,
        protocol: str = "negotiate",
        service: str = "HTTP",
        hostname: str | None = None,
        delegate: bool = False,
    ) -> None:
        try:
            import spnego
        except ImportError:
            raise ConfigurationError("Negotiate needs pyspnego: pip install 'oarlock[kerberos]'.") from None
        if protocol not in _PROTOCOLS:
            raise ConfigurationError(f"Negotiate: protocol must be one of {', '.join(_PROTOCOLS)}, not {protocol!r}.")
        if password is not None and username is None:
            raise ConfigurationError("Negotiate: password needs username.")
        for name, value in (("username", username), ("service", service), ("hostname", hostname)):
            if (value is not None or name == "service") and (not isinstance(value, str) or not value.strip()):
                raise ConfigurationError(f"Negotiate: {name} must be a text, not {value!r}.")
        self._client = spnego.client
        self._flags = spnego.ContextReq.mutual_auth | (spnego.ContextReq.delegate if delegate else 0)
        self._username = username
        self._password = None if password is None else text_of("Negotiate: password", password)
        self.protocol = protocol
        self._scheme = "NTLM" if protocol == "ntlm" else "Negotiate"
        self._service = service
        self._hostname = hostname

    def flow(self, request: HttpRequest) -> Flow:
        """Sign one request."""
        context = yield self._begun(request)
        token: bytes | None = yield _step(context, None, request.timeout)
        for _ in range(_MOST_STEPS):
            response = yield self._signed(request, token)
            answer = self._challenge(response)
            if answer is None or context.complete:
                break
            token = yield _step(context, answer, request.timeout)
            if token is None or response.status != 401:
                return
        if answer is not None and not context.complete and response.status != 401:
            yield _step(context, answer, request.timeout)

    def _begun(self, request: HttpRequest) -> Do:
        host = self._hostname or urlsplit(request.url).hostname or ""
        return Do(lambda runtime, _send: _guarded(runtime, lambda: self._context(host), request.timeout))

    def _context(self, host: str) -> Any:
        password = None if self._password is None else self._password.reveal()
        return self._client(
            username=self._username,
            password=password,
            hostname=host,
            service=self._service,
            protocol=self.protocol,
            context_req=self._flags,
        )

    def _signed(self, request: HttpRequest, token: bytes | None) -> HttpRequest:
        if token is None:
            return request
        return request.with_headers(("Authorization", f"{self._scheme} {base64.b64encode(token).decode()}"))

    def _challenge(self, response: HttpResponse) -> bytes | None:
        """Return the server's token, if its answer holds one."""
        for value in response.headers.get_all("www-authenticate"):
            found = re.search(rf"(?:^|,)\s*{self._scheme}\s+([A-Za-z0-9+/=]+)", value, re.IGNORECASE)
            if found:
                try:
                    return base64.b64decode(found[1], validate=True)
                except binascii.Error:
                    return None
        return None

    def __repr__(self) -> str:
        return f"Negotiate({self.protocol!r})"


def _step(context: Any, token: bytes | None, timeout: float | None) -> Do:
    return Do(lambda runtime, _send: _guarded(runtime, lambda: context.step(token), timeout))


async def _guarded(runtime: Runtime, work: Any, timeout: float | None) -> Any:
    """Run the library's code, which may ask a ticket server, in a thread."""
    deadline = None if timeout is None else runtime.now() + timeout
    try:
        return await runtime.invoke(work, None, deadline=deadline, pool=_THREADS)
    except TimeoutError:
        failure: LLMError = LLMTimeoutError("Negotiate: the ticket server gave no answer in time.")
    except Exception as error:  # noqa: BLE001  the boundary to the library, whose errors are its own
        problem = str(classify(error, "Negotiate")).rstrip(".")
        advice = "check that there is a ticket (klist), or username and password, and hostname and service"
        if "gssapi library" in problem:  # pyspnego without what it needs for Kerberos outside Windows
            advice = "pip install 'pyspnego[kerberos]', which needs the headers of libkrb5"
        failure = AuthenticationError(f"{problem}: {advice}.")
    raise failure
