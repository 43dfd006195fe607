"""A token that a program prints, as `gcloud`, `az`, `kubectl` plug-ins and company tools do."""

from __future__ import annotations

import json
import math
import os
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from oarlock.auth.bearer import jwt_expiry, lifetime
from oarlock.auth.credentials import seconds, secret_of
from oarlock.auth.renewal import MARGIN, Token
from oarlock.auth.token_auth import TokenAuth
from oarlock.contract.auth import Send
from oarlock.contract.errors import AuthenticationError, ConfigurationError
from oarlock.contract.secret import Secret, scrub
from oarlock.runtime import Runtime, ThreadPool

__all__ = ["CommandToken"]

_TOKEN_FIELDS: Final = ("access_token", "accessToken", "token", "id_token", "idToken")
_EXPIRY_FIELDS: Final = ("expires_on", "expiresOn", "expiry", "expires_at", "expirationTimestamp", "Expiration")
_MOST_OUTPUT: Final = 1024 * 1024  # characters; a token is a few thousand


class CommandToken(TokenAuth):
    """Sends `Authorization: Bearer <what a program prints>`.

    The program is run at first use, ahead of the token's expiry and once after a 401; never through a shell. It prints the
    token alone, or JSON with it: `access_token` (also `accessToken`, `token`, `id_token`), and when it expires:
    `expires_in` in seconds, or `expires_on`, `expiry`, `expires_at`, `expirationTimestamp` as seconds since the epoch or
    an ISO 8601 time. The output of `kubectl`'s credential plug-ins and of `az account get-access-token` is understood. A
    token that does not say is kept until it is refused; a JWT says it by itself.

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
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
        margin: float = MARGIN,
    ) -> None:
        super().__init__(margin=margin)
        if isinstance(command, str | bytes):
            raise ConfigurationError(
                'CommandToken: command must be a list such as ["gcloud", "auth", "print-access-token"], '
                "not one text: no shell reads it."
            )
        if not isinstance(command, Sequence) or not command or not all(isinstance(one, str) for one in command):
            raise ConfigurationError(
                f"CommandToken: command must be a list of texts, not of the type {type(command).__name__}."
            )
        self._command = list(command)
        self._timeout = seconds("CommandToken", "timeout", timeout)
        self._env = None if env is None else {name: Secret(value) for name, value in env.items()}
        self._cwd = cwd
        self._threads = ThreadPool(2, "oarlock-command")

    async def fetch(self, runtime: Runtime, send: Send, deadline: float | None, old: Token | None) -> Token:
        """Run the program."""
        left = self._timeout if deadline is None else min(self._timeout, max(0.0, deadline - runtime.now()))
        output: str = await runtime.invoke(self._run, None, left, pool=self._threads)
        return _read(output, runtime.time())

    def _run(self, timeout: float) -> str:
        extra = {} if self._env is None else {name: value.reveal() for name, value in self._env.items()}
        name = self._command[0]
        try:
            done = subprocess.run(  # noqa: S603  a list, never a shell
                self._command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=timeout,
                env={**os.environ, **extra},
                cwd=self._cwd,
                check=False,
            )
        except subprocess.TimeoutExpired:
            problem = f"gave no token within {timeout:.0f} s, and was stopped"
        except OSError as error:
            problem = f"cannot be run: {error.strerror or type(error).__name__}"
        else:
            if done.returncode == 0:
                return done.stdout[:_MOST_OUTPUT].decode("utf-8", "replace")
            said = scrub(done.stderr[-2000:].decode("utf-8", "replace"))
            problem = f"failed with exit code {done.returncode}{f': {said}' if said else ''}"
        raise AuthenticationError(f"CommandToken: {name!r} {problem}.")

    def __repr__(self) -> str:
        return f"CommandToken({self._command[0]!r})"


def _read(output: str, now: float) -> Token:
    text = output.strip()
    answer = _json(text)
    try:
        if answer is None:
            secret = secret_of("CommandToken", text)
            expiry = jwt_expiry(secret.reveal())
        else:
            value = next((answer[name] for name in _TOKEN_FIELDS if answer.get(name)), None)
            secret = secret_of("CommandToken", value)  # type: ignore[arg-type]
            expiry = _expiry(answer, now)
            expiry = jwt_expiry(secret.reveal()) if expiry is None else expiry
    except ConfigurationError as error:
        raise AuthenticationError(f"The program's output is no token: {error}") from None
    return Token(secret=secret, expires_at=math.inf if expiry is None else expiry)


def _json(text: str) -> dict[str, Any] | None:
    if not text.startswith("{"):
        return None
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        return None
    status = answer.get("status")  # Kubernetes' ExecCredential
    return status if isinstance(status, dict) else answer


def _expiry(answer: Mapping[str, Any], now: float) -> float | None:
    if answer.get("expires_in") is not None:
        return now + lifetime("CommandToken", answer["expires_in"])
    value = next((answer[name] for name in _EXPIRY_FIELDS if answer.get(name)), None)
    if value is None:
        return None
    try:
        return lifetime("CommandToken", value)
    except ConfigurationError:
        return _moment(value)


def _moment(value: Any) -> float:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise ConfigurationError(f"the expiry {scrub(repr(value), 60)} is no time") from None
    # `az` writes local time without an offset beside `expires_on`; a bare time elsewhere is UTC by custom.
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
