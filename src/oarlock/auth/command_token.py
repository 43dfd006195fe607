"""A token that a program prints, as `gcloud`, `az`, `kubectl` plug-ins and company tools do."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from oarlock.auth.bearer import good_until, lifetime
from oarlock.auth.credentials import seconds, secret_of
from oarlock.auth.program import Program
from oarlock.auth.renewal import MARGIN, Token
from oarlock.auth.token_auth import TokenAuth
from oarlock.contract.auth import Send
from oarlock.contract.errors import AuthenticationError, ConfigurationError
from oarlock.contract.secret import Secret, scrub
from oarlock.runtime import Runtime, ThreadPool

__all__ = ["CommandToken"]

_WRAPPERS: Final = ("status", "credential")  # of kubectl's ExecCredential and of `gcloud config config-helper`
_TOKEN_FIELDS: Final = ("access_token", "accessToken", "token", "authorizationToken", "id_token", "idToken")
# In this order: `az` prints expiresOn, a local time, beside expires_on, which is exact.
_EXPIRY_FIELDS: Final = (
    *("expires_on", "expires_at", "expiresAt", "expiry", "token_expiry", "expirationTimestamp"),
    *("expiration", "Expiration", "expiresOn"),
)
_MILLISECONDS: Final = 1e11  # as seconds that is the year 5138


class CommandToken(TokenAuth):
    """Sends `Authorization: Bearer <what a program prints>`.

    The program is run at first use, ahead of the token's expiry and once after a 401; never through a shell, without
    input, and ended with all that it started when its time is up. It prints the token alone, or JSON with it:
    `access_token` (also `accessToken`, `token`, `authorizationToken`, `id_token`), and when it expires: `expires_in` in
    seconds, or `expires_on`, `expires_at`, `expiry`, `expiration`, `expirationTimestamp` as seconds since the epoch or an
    ISO 8601 time. So what `az account get-access-token`, `gcloud config config-helper --format=json`,
    `aws codeartifact get-authorization-token` and `kubectl`'s credential plug-ins print is understood. A token that does
    not say is kept until it is refused; a JWT says it by itself.

    Args:
        command: the program and its arguments, as a list.
        timeout: seconds that it may run.
        env: variables added to its environment.
        cwd: the folder it runs in.
        margin: seconds before expiry from which on it is run again.

    Raises:
        ConfigurationError: the command is no list of texts.
        AuthenticationError: from a call, when the program is not there, fails, or prints no token; with its exit code
            and the scrubbed end of its error output.

    Example:
        >>> CommandToken(["gcloud", "auth", "print-access-token"])
        CommandToken('gcloud')
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        timeout: float = 30.0,
        env: Mapping[str, str | Secret] | None = None,
        cwd: str | Path | None = None,
        margin: float = MARGIN,
    ) -> None:
        super().__init__(margin=margin)
        self._program = Program("CommandToken", command, env=env, cwd=cwd)
        self._timeout = seconds("CommandToken", "timeout", timeout)
        self._threads = ThreadPool(2, "oarlock-command")

    async def fetch(self, runtime: Runtime, send: Send, deadline: float | None, old: Token | None) -> Token:
        """Run the program."""
        left = self._timeout if deadline is None else min(self._timeout, max(0.0, deadline - runtime.now()))
        output: str = await runtime.invoke(self._program.output, None, left, pool=self._threads)
        try:
            return _read(output.strip(), runtime.time())
        except ConfigurationError as error:
            problem = str(error)
        raise AuthenticationError(f"CommandToken: what {self._program.name!r} printed is no token: {problem}")

    def __repr__(self) -> str:
        return f"CommandToken({self._program.name!r})"


def _read(text: str, now: float) -> Token:
    answer = _json(text)
    if isinstance(answer, Mapping):
        value = next((answer[name] for name in _TOKEN_FIELDS if answer.get(name)), None)
        if value is None:
            raise ConfigurationError(f"its JSON has none of {', '.join(_TOKEN_FIELDS)}.")
        secret = secret_of("CommandToken", value)
        expiry = _expiry(answer, now)
    else:
        secret, expiry = secret_of("CommandToken", text if answer is None else answer), None
    return Token(secret=secret, expires_at=good_until(secret, now) if expiry is None else expiry)


def _json(text: str) -> Any:
    """Return the object with the token in it, or the text that is the token; `None` where this is no such JSON."""
    if not text.startswith(("{", '"')):
        return None
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        raise ConfigurationError("it begins like JSON and is none.") from None
    if isinstance(answer, str):
        return answer
    return next((answer[name] for name in _WRAPPERS if isinstance(answer.get(name), Mapping)), answer)


def _expiry(answer: Mapping[str, Any], now: float) -> float | None:
    if answer.get("expires_in") is not None:
        return now + lifetime("CommandToken", answer["expires_in"])
    name = next((name for name in _EXPIRY_FIELDS if answer.get(name)), None)
    if name is None:
        return None
    try:
        moment = lifetime("CommandToken", answer[name])
    except ConfigurationError:
        return _moment(answer[name], local=name == "expiresOn")
    return moment / 1000 if moment > _MILLISECONDS else moment


def _moment(value: Any, *, local: bool) -> float:
    try:
        moment = datetime.fromisoformat(value)
        # A time without an offset is UTC by custom, but in `az`'s expiresOn.
        return (moment if moment.tzinfo or local else moment.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError, OSError):
        raise ConfigurationError(f"the expiry {scrub(repr(value), 60)} is no time.") from None
