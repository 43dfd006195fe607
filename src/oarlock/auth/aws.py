"""AWS Signature Version 4, through botocore."""

from __future__ import annotations

import math
from typing import Any

from oarlock.auth.credentials import secret_of
from oarlock.auth.renewal import Token
from oarlock.auth.token_auth import TokenAuth
from oarlock.contract.auth import Send
from oarlock.contract.classify import classify
from oarlock.contract.errors import AuthenticationError, ConfigurationError, LLMError
from oarlock.contract.http import HttpRequest, HttpResponse
from oarlock.contract.secret import Secret
from oarlock.runtime import Runtime, ThreadPool

__all__ = ["AwsSigV4"]

_LOOK_AGAIN = 60.0  # seconds; botocore renews temporary keys by itself, when it is asked for them
_STALE = (b"ExpiredToken", b"UnrecognizedClientException", b"InvalidClientTokenId")


class AwsSigV4(TokenAuth):
    """Signs each request with AWS Signature Version 4, through botocore (`oarlock[aws]`).

    Without keys of your own botocore looks for credentials as every AWS tool does (environment, files, web identity, a
    container's or machine's role), at first use and in a thread; what it asks for that is the connection that you name by
    choosing it. Temporary keys are renewed.

    Args:
        service: such as `"bedrock"`.
        region: such as `"eu-central-1"`; default: the session's.
        access_key_id, secret_access_key, session_token: fixed keys.
        profile: of the AWS configuration, in place of fixed keys.
        session: a `botocore.session.Session` of your own.

    Raises:
        ConfigurationError: `oarlock[aws]` is not installed, or the settings contradict each other.
        AuthenticationError: from a call, when there are no credentials or no region.

    Example:
        >>> AwsSigV4("bedrock", "eu-central-1", access_key_id="AKIDEXAMPLE", secret_access_key="s3cret")
        AwsSigV4('bedrock', 'eu-central-1')
    """

    def __init__(
        self,
        service: str,
        region: str | None = None,
        *,
        access_key_id: str | Secret | None = None,
        secret_access_key: str | Secret | None = None,
        session_token: str | Secret | None = None,
        profile: str | None = None,
        session: Any = None,
    ) -> None:
        super().__init__(margin=0)
        try:
            import botocore.session
        except ImportError:
            raise ConfigurationError("AwsSigV4 needs botocore: pip install 'oarlock[aws]'.") from None
        if (access_key_id is None) != (secret_access_key is None):
            raise ConfigurationError("AwsSigV4: access_key_id and secret_access_key belong together.")
        if sum(one is not None for one in (access_key_id, profile, session)) > 1:
            raise ConfigurationError("AwsSigV4: give keys, a profile or a session, not more than one of them.")
        if access_key_id is not None and region is None:
            raise ConfigurationError("AwsSigV4: give the region, such as 'eu-central-1'.")
        self.service = service
        self.region = region
        self._session_class = botocore.session.Session
        self._session = session
        self._profile = profile
        self._keys = (
            None
            if access_key_id is None or secret_access_key is None
            else _Keys(access_key_id, secret_access_key, session_token)
        )
        self._threads = ThreadPool(2, "oarlock-aws")

    async def fetch(self, runtime: Runtime, send: Send, deadline: float | None, old: Token | None) -> Token:
        """Get the keys of this moment."""
        if self._keys is not None:
            return Token(secret=Secret(""), expires_at=math.inf, extras={"keys": self._keys})
        try:
            keys = await runtime.invoke(self._look, None, deadline=deadline, pool=self._threads)
        except Exception as error:  # noqa: BLE001  the boundary to the library, whose errors are its own
            ours = classify(error, "AwsSigV4")
            if isinstance(ours, LLMError) and ours.retryable:
                raise ours from None
            problem = str(ours)
        else:
            return Token(secret=Secret(""), expires_at=runtime.time() + _LOOK_AGAIN, extras={"keys": keys})
        raise AuthenticationError(f"AwsSigV4: no AWS credentials could be had: {problem}")

    def _look(self) -> _Keys:
        if self._session is None:
            self._session = self._session_class(profile=self._profile)
        if self.region is None:
            self.region = self._session.get_config_variable("region")
        if self.region is None:
            raise AuthenticationError(
                "AwsSigV4: no region is given or configured: pass region, such as 'eu-central-1'."
            )
        credentials = self._session.get_credentials()
        if credentials is None:
            raise AuthenticationError("AwsSigV4: no AWS credentials were found: log in, or pass keys.")
        frozen = credentials.get_frozen_credentials()
        return _Keys(frozen.access_key, frozen.secret_key, frozen.token)

    def sign(self, request: HttpRequest, token: Token) -> HttpRequest:
        """Return the request with botocore's signature."""
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        signed = AWSRequest(request.method, request.url, dict(request.headers), request.body)
        SigV4Auth(token.extras["keys"].for_botocore(), self.service, self.region).add_auth(signed)
        before = {name.lower() for name, _ in request.headers}
        return request.with_headers(
            *((name, value) for name, value in signed.headers.items() if name.lower() not in before)
        )

    def refuses(self, response: HttpResponse) -> bool:
        """Return whether the keys have expired."""
        return response.status in (400, 401, 403) and any(word in response.body[:4096] for word in _STALE)

    def __repr__(self) -> str:
        return f"AwsSigV4({self.service!r}, {self.region!r})"


class _Keys:
    """One set of keys, which does not show itself."""

    def __init__(self, access: str | Secret, secret: str | Secret, session: str | Secret | None) -> None:
        self._access = secret_of("AwsSigV4: access_key_id", access)
        self._secret = secret_of("AwsSigV4: secret_access_key", secret)
        self._session = None if session is None else secret_of("AwsSigV4: session_token", session)

    def for_botocore(self) -> Any:
        from botocore.credentials import Credentials

        session = None if self._session is None else self._session.reveal()
        return Credentials(self._access.reveal(), self._secret.reveal(), session)

    def __repr__(self) -> str:
        return "<AWS keys>"
