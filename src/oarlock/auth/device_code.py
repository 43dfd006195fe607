"""A person signs in on another device, and the program waits for it (RFC 8628)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from oarlock.auth.client_authentication import client_authentication
from oarlock.auth.credentials import secret_of
from oarlock.auth.renewal import MARGIN, Token
from oarlock.auth.token_auth import TokenAuth
from oarlock.auth.token_endpoint import TokenEndpoint, origin
from oarlock.contract.auth import Send
from oarlock.contract.errors import AuthenticationError, ConfigurationError, LLMTimeoutError
from oarlock.contract.secret import Secret, scrub
from oarlock.runtime import Runtime, ThreadPool

__all__ = ["DeviceCode", "DevicePrompt"]

_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
# Seconds between questions unless the server says otherwise, and what `slow_down` adds (RFC 8628, 3.5).
_INTERVAL: Final = 5.0
_LONGEST_INTERVAL: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicePrompt:
    """What a person must be told to sign in.

    Attributes:
        url: the page to open on any device.
        code: what to enter there.
        complete_url: the page with the code filled in, for a link or a QR code, if the server has one.
        expires_in: seconds for which the code is good.
    """

    url: str
    code: str
    complete_url: str | None
    expires_in: float

    def __str__(self) -> str:
        return f"To sign in, open {self.url} and enter the code {self.code}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pending:
    code: Secret
    prompt: DevicePrompt
    until: float  # monotonic
    interval: float


class DeviceCode(TokenAuth):
    """Has a person sign in on their phone or another browser, once; from then on the refresh token serves.

    The first call asks for a code, shows it, and waits for the person within its own time limit. When that ends before they
    have signed in, the next attempt or call goes on waiting for the same code. Let the first call have time for it, with a
    `timeout` of some minutes.

    Args:
        device_url: the device authorization endpoint, `https://...`.
        token_url: the token endpoint, `https://...`.
        client_id: as the client is registered.
        client_secret: its secret, if it has one.
        scope: what is asked for; most servers give a refresh token only for `offline_access`.
        prompt: is given the `DevicePrompt` and tells the person; default: writes it to standard error.
        refresh_token: one from an earlier sign-in, which is tried first.
        on_refresh_token: is given each new refresh token as a `Secret`, so that the program can keep it; must be quick.
        extra: further fields of the first request, such as `{"audience": "..."}`.
        margin: seconds before expiry from which on the token is renewed.
        timeout: seconds for one request to either endpoint.
        allow_http: allow endpoints over plain HTTP off this machine.

    Raises:
        ConfigurationError: a setting that cannot work.
        AuthenticationError: from a call, when the person declined or the server refuses.
        LLMTimeoutError: from a call, when nobody has signed in yet.

    Example:
        >>> DeviceCode("https://login.example.com/device", "https://login.example.com/token", "my-app")
        DeviceCode('https://login.example.com')
    """

    def __init__(
        self,
        device_url: str,
        token_url: str,
        client_id: str,
        *,
        client_secret: str | Secret | None = None,
        scope: str | Sequence[str] | None = None,
        prompt: Callable[[DevicePrompt], Any] | None = None,
        refresh_token: str | Secret | None = None,
        on_refresh_token: Callable[[Secret], Any] | None = None,
        extra: Mapping[str, str] | None = None,
        margin: float = MARGIN,
        timeout: float = 10.0,
        allow_http: bool = False,
    ) -> None:
        super().__init__(margin=margin)
        for name, function in (("prompt", prompt), ("on_refresh_token", on_refresh_token)):
            if function is not None and not callable(function):
                raise ConfigurationError(f"DeviceCode: {name} must be a function, not {type(function).__name__}.")
        client = client_authentication("DeviceCode", client_id, client_secret, None)
        self._device = TokenEndpoint(
            owner="DeviceCode", url=device_url, client=client, timeout=timeout, allow_http=allow_http
        )
        self._tokens = TokenEndpoint(
            owner="DeviceCode", url=token_url, client=client, timeout=timeout, allow_http=allow_http
        )
        words = scope if scope is None or isinstance(scope, str) else " ".join(scope)
        self._asked = {**(extra or {}), **({} if words is None else {"scope": words})}
        self._prompt = prompt or _to_stderr
        self._on_refresh = on_refresh_token
        self._refresh = None if refresh_token is None else secret_of("DeviceCode: refresh_token", refresh_token)
        self._pending: _Pending | None = None
        self._threads = ThreadPool(1, "oarlock-prompt")

    async def fetch(self, runtime: Runtime, send: Send, deadline: float | None, old: Token | None) -> Token:
        """Use the refresh token, or have a person sign in."""
        token = await self._refreshed(runtime, send, deadline)
        if token is None:
            token = await self._signed_in(runtime, send, deadline)
        newer = token.extras.get("refresh_token")
        if isinstance(newer, Secret) and newer != self._refresh:
            self._refresh = newer
            if self._on_refresh is not None:
                self._on_refresh(newer)
        return token

    async def _refreshed(self, runtime: Runtime, send: Send, deadline: float | None) -> Token | None:
        if self._refresh is None:
            return None
        form = {"grant_type": "refresh_token", "refresh_token": self._refresh.reveal()}
        try:
            return await self._tokens.token(runtime, send, deadline, form, "refresh token")
        except AuthenticationError as error:
            if error.code != "invalid_grant":
                raise
            self._refresh = None  # used up or withdrawn: the person signs in again
            return None

    async def _signed_in(self, runtime: Runtime, send: Send, deadline: float | None) -> Token:
        pending = self._pending
        if pending is None or runtime.now() >= pending.until:
            pending = self._pending = await self._begun(runtime, send, deadline)
            await runtime.invoke(self._prompt, None, pending.prompt, deadline=deadline, pool=self._threads)
        interval = pending.interval
        form = {"grant_type": _GRANT, "device_code": pending.code.reveal()}
        while True:
            if deadline is not None and runtime.now() + interval >= deadline:
                raise LLMTimeoutError(f"Nobody has signed in yet. {pending.prompt}.")
            await runtime.sleep(interval)
            try:
                token = await self._tokens.token(runtime, send, deadline, form, "device code")
            except AuthenticationError as error:
                if error.code not in ("authorization_pending", "slow_down"):
                    self._pending = None
                    raise
                interval = min(interval + (_INTERVAL if error.code == "slow_down" else 0.0), _LONGEST_INTERVAL)
            else:
                self._pending = None
                return token

    async def _begun(self, runtime: Runtime, send: Send, deadline: float | None) -> _Pending:
        answer = await self._device.ask(runtime, send, deadline, self._asked, "request for a device code")
        texts = [answer.get(name) for name in ("device_code", "user_code")]
        url = answer.get("verification_uri") or answer.get("verification_url")  # Google's name for it
        if not all(isinstance(text, str) and text for text in (*texts, url)):
            raise AuthenticationError(
                f"DeviceCode: {origin(self._device.url)} answered without device_code, user_code and verification_uri: "
                "check device_url."
            )
        complete = answer.get("verification_uri_complete")
        lasts = _number(answer.get("expires_in"), 600.0)
        return _Pending(
            code=Secret(str(texts[0])),
            prompt=DevicePrompt(
                url=scrub(str(url)),
                code=scrub(str(texts[1]), 100),
                complete_url=scrub(complete, 1000) if isinstance(complete, str) else None,
                expires_in=lasts,
            ),
            until=runtime.now() + lasts,
            interval=min(_number(answer.get("interval"), _INTERVAL), _LONGEST_INTERVAL),
        )

    def __repr__(self) -> str:
        return f"DeviceCode({origin(self._tokens.url)!r})"


def _number(value: Any, default: float) -> float:
    ok = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e9
    return float(value) if ok else default


def _to_stderr(prompt: DevicePrompt) -> None:
    sys.stderr.write(f"{prompt}\n")
