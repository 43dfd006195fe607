"""The clouds' own credentials, through their own libraries: Google, Azure, and whatever has `get_token`."""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Sequence
from datetime import UTC
from typing import Any

from oarlock.auth.credentials import secret_of, without_foreign
from oarlock.auth.renewal import MARGIN, Token
from oarlock.auth.token_auth import TokenAuth
from oarlock.contract.auth import Send
from oarlock.contract.classify import classify
from oarlock.contract.errors import AuthenticationError, ConfigurationError, LLMError, a_kind
from oarlock.contract.frames import without_frames
from oarlock.runtime import Runtime, ThreadPool

__all__ = ["AzureCredential", "GoogleCredentials"]

_GOOGLE_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_AZURE_SCOPE = "https://cognitiveservices.azure.com/.default"


class GoogleCredentials(TokenAuth):
    """Signs in with Google credentials, through google-auth (`oarlock[google]`).

    The library talks to Google's token endpoints (or to the metadata server of a Google machine) by itself, in a thread;
    this is the connection that you name by choosing it.

    Args:
        credentials: of google-auth; default: `google.auth.default()`, that is `GOOGLE_APPLICATION_CREDENTIALS`, gcloud's
            login, or the machine's account; looked for at first use.
        scopes: what is asked for.
        margin: seconds before expiry from which on it is renewed.

    Raises:
        ConfigurationError: `oarlock[google]` is not installed, or these are no credentials.
        AuthenticationError: from a call, when Google refuses or no credentials are found.

    Example:
        >>> GoogleCredentials()
        GoogleCredentials(<default>)
    """

    def __init__(
        self, credentials: Any = None, *, scopes: Sequence[str] = (_GOOGLE_SCOPE,), margin: float = MARGIN
    ) -> None:
        super().__init__(margin=margin)
        try:
            import google.auth
        except ImportError:
            raise ConfigurationError("GoogleCredentials needs google-auth: pip install 'oarlock[google]'.") from None
        if credentials is not None and not hasattr(credentials, "refresh"):
            raise ConfigurationError(
                f"GoogleCredentials: credentials must be of google-auth, not of the type {type(credentials).__name__}."
            )
        if isinstance(scopes, str) or not all(isinstance(scope, str) and scope for scope in scopes):
            raise ConfigurationError("GoogleCredentials: scopes must be a list of texts.")
        self._default = google.auth.default
        self._credentials = credentials
        self._given = credentials is not None
        self._scopes = list(scopes)
        self._threads = ThreadPool(2, "oarlock-google")

    async def fetch(self, runtime: Runtime, send: Send, deadline: float | None, old: Token | None) -> Token:
        """Have the library renew its credentials."""
        try:
            await runtime.invoke(self._refresh, None, deadline=deadline, pool=self._threads)
            secret = secret_of("GoogleCredentials", self._credentials.token)
            expiry = self._credentials.expiry  # naive, UTC
        except Exception as error:  # noqa: BLE001  the boundary to the library, whose errors are its own
            failure = _failed("GoogleCredentials", error, "check GOOGLE_APPLICATION_CREDENTIALS, or gcloud auth")
        else:
            expires = math.inf if expiry is None else expiry.replace(tzinfo=UTC).timestamp()
            return Token(secret=secret, expires_at=expires)
        raise without_frames(failure)

    def _refresh(self) -> None:
        from google.auth.transport.requests import Request

        if self._credentials is None:
            self._credentials, _ = self._default(scopes=self._scopes)
        elif self._given and getattr(self._credentials, "requires_scopes", False):
            self._credentials = self._credentials.with_scopes(self._scopes)
        self._credentials.refresh(Request())

    def __getstate__(self) -> dict[str, Any]:
        return without_foreign(self, "_credentials", given=self._given)

    def __deepcopy__(self, memo: Any) -> GoogleCredentials:
        return self  # as a `Secret` does: a copy of an LLM signs in as the same

    def __repr__(self) -> str:
        return f"GoogleCredentials({type(self._credentials).__name__ if self._given else '<default>'})"


class AzureCredential(TokenAuth):
    """Signs in with an Azure credential, through azure-identity (`oarlock[azure]`) or any object with `get_token`.

    The credential talks to Microsoft's endpoints by itself; this is the connection that you name by choosing it.

    Args:
        credential: an object whose `get_token(scope)`, blocking or `async def`, returns an object with `token` and
            `expires_on`; default: `azure.identity.DefaultAzureCredential()`, made at first use.
        scope: what is asked for; default: Azure's model services.
        margin: seconds before expiry from which on it is renewed.

    Raises:
        ConfigurationError: it has no `get_token`, or none is given and `oarlock[azure]` is not installed.
        AuthenticationError: from a call, when no token could be had.

    Example:
        >>> AzureCredential()
        AzureCredential(<default>)
    """

    def __init__(self, credential: Any = None, *, scope: str = _AZURE_SCOPE, margin: float = MARGIN) -> None:
        super().__init__(margin=margin)
        if credential is None:
            try:
                import azure.identity  # noqa: F401
            except ImportError:
                raise ConfigurationError(
                    "AzureCredential needs azure-identity: pip install 'oarlock[azure]'."
                ) from None
        elif not callable(getattr(credential, "get_token", None)):
            raise ConfigurationError(
                f"AzureCredential: credential must have get_token(scope), and {a_kind(credential)} has none."
            )
        if not isinstance(scope, str) or not scope:
            raise ConfigurationError(f"AzureCredential: scope must be a text such as {_AZURE_SCOPE!r}, not {scope!r}.")
        self._credential = credential
        self._given = credential is not None
        self._scope = scope
        self._threads = ThreadPool(2, "oarlock-azure")

    async def fetch(self, runtime: Runtime, send: Send, deadline: float | None, old: Token | None) -> Token:
        """Ask the credential."""
        try:
            if self._credential is None:
                self._credential = await runtime.invoke(_default_azure, None, deadline=deadline, pool=self._threads)
            ask = self._credential.get_token
            forms = (None, ask) if inspect.iscoroutinefunction(ask) else (ask, None)
            answer = await runtime.invoke(*forms, self._scope, deadline=deadline, pool=self._threads)
            if inspect.isawaitable(answer):
                answer = await runtime.invoke(None, _awaited, answer, deadline=deadline)
            secret = secret_of("AzureCredential", answer.token)
            expires = float(answer.expires_on)
        except Exception as error:  # noqa: BLE001  the boundary to the library, whose errors are its own
            failure = _failed("AzureCredential", error, "check the credential and its access to the resource")
        else:
            return Token(secret=secret, expires_at=expires)
        raise without_frames(failure)

    def __getstate__(self) -> dict[str, Any]:
        return without_foreign(self, "_credential", given=self._given)

    def __deepcopy__(self, memo: Any) -> AzureCredential:
        return self  # as a `Secret` does: a copy of an LLM signs in as the same

    def __repr__(self) -> str:
        return f"AzureCredential({type(self._credential).__name__ if self._given else '<default>'})"


async def _awaited(answer: Awaitable[Any]) -> Any:
    return await answer


def _default_azure() -> Any:
    from azure.identity import DefaultAzureCredential

    return DefaultAzureCredential()


def _failed(owner: str, error: Exception, advice: str) -> LLMError:
    ours = classify(error, owner)
    if isinstance(ours, LLMError) and ours.retryable:
        return ours
    return AuthenticationError(f"No token could be had: {str(ours).rstrip('.')}; {advice}.")
