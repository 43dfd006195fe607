"""A person signs in on another device, and the program waits for it (RFC 8628)."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from oarlock.auth.client_authentication import client_authentication
from oarlock.auth.credentials import secret_of
from oarlock.auth.refreshing import NewestRefreshToken
from oarlock.auth.renewal import MARGIN, Token
from oarlock.auth.store import TokenStore, stored_token
from oarlock.auth.token_auth import TokenAuth
from oarlock.auth.token_endpoint import TokenEndpoint, checked_url, origin
from oarlock.contract.auth import Send
from oarlock.contract.errors import AuthenticationError, ConfigurationError, LLMTimeoutError
from oarlock.contract.secret import Secret
from oarlock.runtime import Runtime, ThreadPool

__all__ = ["DeviceCode", "DevicePrompt"]

_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
# Seconds between questions unless the server says otherwise, and what `slow_down` adds (RFC 8628, 3.5).
_INTERVAL: Final = 5.0
_LONGEST_INTERVAL: Final = 60.0
_LONGEST_URL: Final = 2000
_LONGEST_USER_CODE: Final = 100


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
        """Return one line for the person, without characters that a terminal obeys."""
        return f"To sign in, open {_printable(self.url)} and enter the code {_printable(self.code)}"


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
        prompt: a function, blocking or `async def`, that is given the `DevicePrompt` and tells the person; default: writes
            it to standard error.
        refresh_token: one from an earlier sign-in, which is tried first.
        on_refresh_token: is given each new refresh token as a `Secret`, so that the program can keep it; must be quick.
        extra: further fields of the first request, such as `{"audience": "..."}`.
        margin: seconds before expiry from which on the token is renewed.
        timeout: seconds for one request to either endpoint.
        allow_http: allow endpoints over plain HTTP off this machine.
        store: keeps the newest tokens for the next start of the program.
        account: whose tokens they are in the store, where one program signs in several people.

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
        store: TokenStore | None = None,
        account: str = "",
    ) -> None:
        words = scope if scope is None or isinstance(scope, str) else " ".join(scope)
        stored = stored_token("DeviceCode", store, token_url, client_id, words, account)
        super().__init__(margin=margin, stored=stored)
        for name, function in (("prompt", prompt), ("on_refresh_token", on_refresh_token)):
            if function is not None and not callable(function):
                raise ConfigurationError(f"DeviceCode: {name} must be a function, not {type(function).__name__}.")
        client = client_authentication("DeviceCode", client_id, client_secret, None)
        checked_url("DeviceCode", "device_url", device_url, allow_http=allow_http)
        self._device, self._tokens = (
            TokenEndpoint(owner="DeviceCode", url=url, client=client, timeout=timeout, allow_http=allow_http)
            for url in (device_url, token_url)
        )
        self._form = {**(extra or {}), **({} if words is None else {"scope": words})}
        self._prompt = prompt or _to_stderr
        first = None if refresh_token is None else secret_of("DeviceCode: refresh_token", refresh_token)
        self._newest = NewestRefreshToken("DeviceCode", first, on_refresh_token)
        self._pending: _Pending | None = None
        self._threads = ThreadPool(1, "oarlock-prompt")

    async def fetch(self, runtime: Runtime, send: Send, deadline: float | None, old: Token | None) -> Token:
        """Use the refresh token, or have a person sign in."""
        while self._newest:
            try:
                token = await self._tokens.token(runtime, send, deadline, self._newest.grant(), "refresh token")
                return self._newest.kept(token)
            except AuthenticationError as error:
                if error.code != "invalid_grant":
                    raise
            self._newest.forget()  # used up or withdrawn; if another process used it up, the store has a newer one
            await self.from_store(runtime, deadline)
        return self._newest.kept(await self._signed_in(runtime, send, deadline))

    def restore(self, token: Token) -> None:
        """Take over the refresh token from the store."""
        self._newest.restore(token)

    async def _signed_in(self, runtime: Runtime, send: Send, deadline: float | None) -> Token:
        pending = self._pending
        if pending is None or runtime.now() >= pending.until:
            pending = await self._begun(runtime, send, deadline)
            await self._shown(runtime, deadline, pending.prompt)
            self._pending = pending  # only now: a code that nobody has seen helps nobody
        while True:
            if deadline is not None and runtime.now() + pending.interval >= deadline:
                raise LLMTimeoutError(f"Nobody has signed in yet. {pending.prompt}.")
            await runtime.sleep(pending.interval)
            try:
                answer = await self._polled(runtime, send, deadline, pending)
            except AuthenticationError:
                self._pending = None
                raise
            if isinstance(answer, Token):
                self._pending = None
                return answer
            pending = self._pending = answer

    async def _shown(self, runtime: Runtime, deadline: float | None, prompt: DevicePrompt) -> None:
        answer = await runtime.invoke(self._prompt, None, prompt, deadline=deadline, pool=self._threads)
        if inspect.isawaitable(answer):
            await runtime.invoke(None, _awaited, answer, deadline=deadline)

    async def _polled(
        self, runtime: Runtime, send: Send, deadline: float | None, pending: _Pending
    ) -> Token | _Pending:
        """Ask whether the person has signed in; return the token, or how to go on asking."""
        form = {"grant_type": _GRANT, "device_code": pending.code.reveal()}
        try:
            return await self._tokens.token(runtime, send, deadline, form, "device code")
        except AuthenticationError as error:
            slower = error.code == "slow_down"
            if error.code != "authorization_pending" and not slower:
                raise
        if runtime.now() >= pending.until:
            raise AuthenticationError(
                "DeviceCode: nobody signed in while the code was good: call again for a new one.", code="expired_token"
            )
        if not slower:
            return pending
        interval = min(pending.interval + _INTERVAL, _LONGEST_INTERVAL)  # for all further questions (RFC 8628, 3.5)
        return dataclasses.replace(pending, interval=interval)

    async def _begun(self, runtime: Runtime, send: Send, deadline: float | None) -> _Pending:
        answer = await self._device.ask(runtime, send, deadline, self._form, "request for a device code")
        code, user_code = answer.get("device_code"), answer.get("user_code")
        url = _web_page(answer.get("verification_uri") or answer.get("verification_url"))  # Google's name for it
        if not (isinstance(code, str) and code and isinstance(user_code, str) and user_code and url):
            raise AuthenticationError(
                f"DeviceCode: {origin(self._device.url)} answered without device_code, user_code and verification_uri: "
                "check device_url."
            )
        lasts = _number(answer.get("expires_in"), 600.0)
        return _Pending(
            code=Secret(code),
            prompt=DevicePrompt(
                url=url,
                code=_printable(user_code)[:_LONGEST_USER_CODE],
                complete_url=_web_page(answer.get("verification_uri_complete")),
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


def _web_page(value: Any) -> str | None:
    """Return the address of a page for a browser, `None` if it is none: a terminal makes links of what it prints."""
    text = _printable(value).replace(" ", "") if isinstance(value, str) else ""
    return text if len(text) <= _LONGEST_URL and text.startswith(("https://", "http://")) else None


def _printable(text: str) -> str:
    """Return a text without control characters, and without those that change the direction or hide (Unicode Cf)."""
    return "".join(character for character in text if character.isprintable())


async def _awaited(answer: Awaitable[Any]) -> Any:
    return await answer


def _to_stderr(prompt: DevicePrompt) -> None:
    sys.stderr.write(f"{prompt}\n")
