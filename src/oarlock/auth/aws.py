"""AWS Signature Version 4, through botocore."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any, Final

from oarlock.auth.credentials import secret_of, without_foreign
from oarlock.auth.renewal import Token
from oarlock.auth.token_auth import TokenAuth
from oarlock.auth.wire_url import wire_url
from oarlock.contract.auth import Flow, Send
from oarlock.contract.classify import classify
from oarlock.contract.errors import AuthenticationError, ConfigurationError, LLMError
from oarlock.contract.frames import without_frames
from oarlock.contract.http import HttpRequest, HttpResponse
from oarlock.contract.secret import Secret
from oarlock.runtime import Runtime, ThreadPool

__all__ = ["AwsSigV4"]

_LOOK_AGAIN = 60.0  # seconds; botocore renews temporary keys by itself, when it is asked for them
_STALE = (b"ExpiredToken", b"UnrecognizedClientException", b"InvalidClientTokenId")


_ADDED: Final = frozenset({"authorization", "x-amz-date", "x-amz-security-token", "date"})


class _NoSignatures(logging.Filter):
    """Drops what botocore logs at DEBUG of a request that it signs: the session's token is in it."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith(("CanonicalRequest", "StringToSign", "Signature"))


_NO_SIGNATURES: Final = _NoSignatures()


class AwsSigV4(TokenAuth):
    """Signs each request with AWS Signature Version 4, through botocore (`oarlock[aws]`).

    Without keys of your own botocore looks for credentials as every AWS tool does (environment, files, web identity, a
    container's or machine's role), at first use and in a thread; what it asks for that is the connection that you name by
    choosing it. With keys of your own nothing is looked for. Temporary keys are renewed; when AWS says that keys have
    expired, they are looked for once more. The time in a signature is botocore's, that is the system clock.

    Args:
        service: such as `"bedrock"`; S3, which signs in another way, is not meant.
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
        for name, value in (("service", service), ("region", region), ("profile", profile)):
            if (value is not None or name == "service") and (not isinstance(value, str) or not value.strip()):
                raise ConfigurationError(f"AwsSigV4: {name} must be a text, not {value!r}.")
        if session is not None and not callable(getattr(session, "get_credentials", None)):
            raise ConfigurationError(
                f"AwsSigV4: session must be of botocore, not of the type {type(session).__name__}."
            )
        if session_token is not None and access_key_id is None:
            raise ConfigurationError("AwsSigV4: session_token belongs to access_key_id and secret_access_key.")
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
        self._session_is_given = session is not None
        self._profile = profile
        self._keys = (
            None
            if access_key_id is None or secret_access_key is None
            else _Keys(access_key_id, secret_access_key, session_token)
        )
        self._threads = ThreadPool(2, "oarlock-aws")
        logging.getLogger("botocore.auth").addFilter(_NO_SIGNATURES)

    def flow(self, request: HttpRequest) -> Flow:
        """Sign one request; once more with new keys if those have expired."""
        if self._keys is None:
            yield from super().flow(request)
        else:
            yield self.sign(request, Token(secret=Secret(""), extras={"keys": self._keys}))

    async def fetch(self, runtime: Runtime, send: Send, deadline: float | None, old: Token | None) -> Token:
        """Get the keys of this moment."""
        refused = old is not None and runtime.time() < old.expires_at
        try:
            if refused and not self._session_is_given:
                self._session = None  # botocore keeps what it found; another session looks again
            keys = await runtime.invoke(self._look, None, deadline=deadline, pool=self._threads)
        except Exception as error:  # noqa: BLE001  the boundary to the library, whose errors are its own
            ours = classify(error, "botocore")
            failure = ours if isinstance(ours, LLMError) and ours.retryable else _none_found(ours)
        else:
            if old is None or not refused or not keys.same_as(old.extras["keys"]):
                return Token(secret=Secret(""), expires_at=runtime.time() + _LOOK_AGAIN, extras={"keys": keys})
            failure = AuthenticationError(
                "AwsSigV4: AWS refused the keys as wrong or expired, and there are no others: log in again, or renew them."
            )
        raise without_frames(failure)

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

        url = wire_url(request.url)
        signed = AWSRequest(request.method, url, dict(request.headers), request.body)
        SigV4Auth(token.extras["keys"].for_botocore(), self.service, self.region).add_auth(signed)
        added = [(name, value) for name, value in signed.headers.items() if name.lower() in _ADDED]
        return request.with_url(url).with_headers(*added)

    def refuses(self, response: HttpResponse) -> bool:
        """Return whether the keys have expired."""
        return response.status in (400, 401, 403) and any(word in response.body[:4096] for word in _STALE)

    def explain_refusal(self, wall_time: float) -> str | None:
        """Return what may be wrong when a signature is refused, in words."""
        when = datetime.fromtimestamp(wall_time, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        return f"The request was signed by {self!r} at {when}: check the keys, service, region, and the clock."

    def __getstate__(self) -> dict[str, Any]:
        return without_foreign(self, "_session", given=self._session_is_given)

    def __deepcopy__(self, memo: Any) -> AwsSigV4:
        return self  # as a `Secret` does: a copy of an LLM signs in as the same

    def __repr__(self) -> str:
        return f"AwsSigV4({self.service!r}, {self.region!r})"


class _Keys:
    """One set of keys, which does not show itself."""

    def __init__(self, access: str | Secret, secret: str | Secret, session: str | Secret | None) -> None:
        self._access = secret_of("AwsSigV4: access_key_id", access)
        self._secret = secret_of("AwsSigV4: secret_access_key", secret)
        self._session = None if session is None else secret_of("AwsSigV4: session_token", session)

    def same_as(self, other: _Keys) -> bool:
        return vars(self) == vars(other)

    def for_botocore(self) -> Any:
        from botocore.credentials import Credentials

        session = None if self._session is None else self._session.reveal()
        return Credentials(self._access.reveal(), self._secret.reveal(), session)

    def __repr__(self) -> str:
        return "<AWS keys>"


def _none_found(error: Exception) -> AuthenticationError:
    said = str(error)
    if said.startswith("AwsSigV4: "):  # our own words, from `_look`
        return AuthenticationError(said)
    return AuthenticationError(f"AwsSigV4: no AWS credentials could be had: {said}")
