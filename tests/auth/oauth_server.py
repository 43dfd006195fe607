"""A real OAuth 2 server on loopback: authlib's, with clients, users and tokens in memory, and a clock of its own."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import pytest
from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import BaseGrant, ClientMixin, OAuth2Error, TokenEndpointMixin, TokenMixin, grants
from authlib.oauth2.rfc6749.errors import InvalidGrantError, InvalidRequestError, UnauthorizedClientError
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion, JWTBearerGrant
from authlib.oauth2.rfc8628 import DeviceAuthorizationEndpoint, DeviceCodeGrant, DeviceCredentialDict
from flask import Flask, Response, jsonify, request
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, OctKey, RSAKey
from werkzeug.serving import WSGIRequestHandler, make_server

from oarlock.contract.http import Headers
from oarlock.testing import Status

SECRET = "s3cret-of-the-client:0123456789+/"  # what must be encoded in the header and in the form
METHODS = ["client_secret_basic", "client_secret_post", "client_assertion_jwt", "none"]
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT = "urn:ietf:params:oauth:token-type:jwt"
SCOPES = ("llm.use", "offline_access")

SERVER_KEY = RSAKey.generate_key(2048, parameters={"kid": "server-1"})
CLIENT_KEY = ECKey.generate_key("P-256", parameters={"kid": "client-1"})
CLIENT_PEM = CLIENT_KEY.as_pem(private=True).decode()
RSA_CLIENT_KEY = RSAKey.generate_key(2048, parameters={"kid": "client-2"})


@dataclass
class Client(ClientMixin):
    client_id: str
    method: str = "client_secret_basic"
    key: Any = None
    grants: tuple[str, ...] | None = None

    def get_client_id(self) -> str:
        return self.client_id

    def get_allowed_scope(self, scope: str | None) -> str:
        return scope or ""

    def check_client_secret(self, client_secret: str) -> bool:
        return secrets.compare_digest(client_secret.encode(), SECRET.encode())

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == self.method

    def check_grant_type(self, grant_type: str) -> bool:
        return self.grants is None or grant_type in self.grants


@dataclass
class Refresh(TokenMixin):
    client_id: str
    user: str
    scope: str

    def check_client(self, client: Any) -> bool:
        return client.client_id == self.client_id

    def get_scope(self) -> str:
        return self.scope


class InvalidTarget(OAuth2Error):
    error = "invalid_target"


@dataclass(kw_only=True)
class Canned:
    """An answer of the token endpoint's that authlib does not give: a fault."""

    status: int = 200
    body: str = ""
    headers: Mapping[str, str] | None = None
    after: Callable[[], object] | None = None

    def response(self) -> Response:
        if self.after is not None:
            self.after()
        return Response(self.body, self.status, dict(self.headers or {}))


class OAuthServer:
    """The server, running while it is entered.

    Attributes:
        forms: what came to the token endpoint, in order; canned answers included.
        script: answers to give first.
        ahead: seconds by which its clock is ahead of ours.
        lifetime: seconds that its tokens are good for.
        says_expires_in: whether its answers say so, or only the JWT itself does.
    """

    def __init__(self, *, lifetime: int = 3600) -> None:
        self.forms: list[dict[str, str]] = []
        self.script: list[Canned] = []
        self.ahead = 0.0
        self.lifetime = lifetime
        self.says_expires_in = True
        self.refresh: dict[str, Refresh] = {}
        self.devices: dict[str, DeviceCredentialDict] = {}
        self.granted: dict[str, tuple[str, bool]] = {}
        self.withdrawn: set[str] = set()
        self.slow_down = 0
        self.used: set[str] = set()
        self.clients = {client.client_id: client for client in self._clients()}
        self.app = Flask("oauth-server")
        self._server = make_server("127.0.0.1", 0, self.app, threaded=True, request_handler=_Quiet)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.oauth = self._authorization_server()

    @staticmethod
    def _clients() -> Iterable[Client]:
        yield Client("basic")
        yield Client("post", "client_secret_post")
        yield Client("public", "none")
        yield Client("secret-jwt", "client_assertion_jwt", OctKey.import_key(SECRET))
        yield Client("key-jwt", "client_assertion_jwt", CLIENT_KEY)
        yield Client("rsa-jwt", "client_assertion_jwt", RSA_CLIENT_KEY)
        yield Client("may-nothing", grants=())

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def token_url(self) -> str:
        return f"{self.origin}/token"

    @property
    def device_url(self) -> str:
        return f"{self.origin}/device"

    def __enter__(self) -> Self:
        self._environment = pytest.MonkeyPatch()
        self._environment.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")  # loopback
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._environment.undo()

    def time(self) -> float:
        return time.time() + self.ahead

    # What tests do in a user's or an administrator's place.

    def issue(self, subject: str, **claims: Any) -> str:
        """Return an access token."""
        now = self.time()
        facts = {
            "iss": self.origin,
            "sub": subject,
            "iat": now,
            "exp": now + self.lifetime,
            "jti": secrets.token_hex(8),
        }
        return jwt.encode({"alg": "RS256", "kid": "server-1"}, {**facts, **claims}, SERVER_KEY)

    def issue_refresh_token(self, client_id: str, user: str = "ada", scope: str = "llm.use") -> str:
        token = f"refresh-{secrets.token_urlsafe(24)}"
        self.refresh[token] = Refresh(client_id, user, scope)
        return token

    def withdraw_all(self) -> None:
        """From now on every access token that was issued so far is refused."""
        self.withdrawn.add("all-before")
        self._good_from = self._issued

    _good_from = 0
    _issued = 0

    def decide(self, *, approved: bool = True, user: str = "ada") -> None:
        """Have the person at the other device answer all that asks for them."""
        for credential in self.devices.values():
            self.granted[credential["user_code"]] = (user, approved)

    def check(self, headers: Headers) -> Status | None:
        """For `LoopbackEndpoint(auth=...)`: let in who has a good token."""
        scheme, _, text = headers.get("authorization", "").partition(" ")
        try:
            claims = jwt.decode(text, KeySet([SERVER_KEY]), algorithms=["RS256"]).claims
        except (JoseError, ValueError):
            claims = {}
        good = scheme == "Bearer" and claims.get("exp", 0) > self.time() and claims["number"] > self._good_from
        return None if good else Status(401, headers={"www-authenticate": 'Bearer error="invalid_token"'})

    def claims(self, token: str) -> dict[str, Any]:
        return jwt.decode(token, KeySet([SERVER_KEY]), algorithms=["RS256"]).claims

    # How authlib is put together.

    def _authorization_server(self) -> AuthorizationServer:
        self.app.config["OAUTH2_ACCESS_TOKEN_GENERATOR"] = self._access_token
        self.app.config["OAUTH2_REFRESH_TOKEN_GENERATOR"] = lambda *args, **kwargs: (
            "refresh-" + secrets.token_urlsafe(24)
        )
        self.app.config["OAUTH2_SCOPES_SUPPORTED"] = SCOPES
        server = AuthorizationServer(self.app, self.clients.get, self._save)
        server.register_client_auth_method("client_assertion_jwt", _assertion(self))
        for grant in (_client_credentials, _refresh_token, _device_code, _jwt_bearer, _exchange):
            server.register_grant(grant(self))
        server.register_endpoint(_device_endpoint(self))
        self.app.add_url_rule("/token", "token", self._token, methods=["POST"])
        self.app.add_url_rule("/device", "device", self._device, methods=["POST"])
        self.app.add_url_rule("/jwks", "jwks", lambda: jsonify(KeySet([SERVER_KEY]).as_dict(private=False)))
        return server

    def _access_token(self, client: Client, grant_type: str, user: str | None, scope: str) -> str:
        self._issued += 1
        return self.issue(user or client.client_id, client=client.client_id, scope=scope, number=self._issued)

    def _save(self, token: dict[str, Any], oauth_request: Any) -> None:
        if "refresh_token" in token:
            owner = oauth_request.client.client_id, oauth_request.user, token.get("scope", "")
            self.refresh[token["refresh_token"]] = Refresh(*owner)
        token["expires_in"] = self.lifetime
        if not self.says_expires_in:
            del token["expires_in"]

    def _token(self) -> Response:
        self.forms.append(request.form.to_dict())
        if self.script:
            return self.script.pop(0).response()
        return self.oauth.create_token_response()

    def _device(self) -> Response:
        if self.script:
            return self.script.pop(0).response()
        return self.oauth.create_endpoint_response("device_authorization")


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:
        pass


def _assertion(server: OAuthServer) -> JWTBearerClientAssertion:
    class Assertion(JWTBearerClientAssertion):
        def get_audiences(self) -> list[str]:
            return [server.token_url, server.origin]

        def validate_jti(self, claims: Any, jti: str) -> bool:
            new = jti not in server.used
            server.used.add(jti)
            return new

        def resolve_client_public_key(self, client: Client) -> Any:
            return client.key

    return Assertion()


def _client_credentials(server: OAuthServer) -> type:
    class Grant(grants.ClientCredentialsGrant):
        TOKEN_ENDPOINT_AUTH_METHODS = METHODS

    return Grant


def _refresh_token(server: OAuthServer) -> type:
    class Grant(grants.RefreshTokenGrant):
        TOKEN_ENDPOINT_AUTH_METHODS = METHODS
        INCLUDE_NEW_REFRESH_TOKEN = True  # each is good once

        def authenticate_refresh_token(self, refresh_token: str) -> Refresh | None:
            return server.refresh.get(refresh_token)

        def authenticate_user(self, refresh_token: Refresh) -> str:
            return refresh_token.user

        def revoke_old_credential(self, refresh_token: Refresh) -> None:
            server.refresh = {key: value for key, value in server.refresh.items() if value is not refresh_token}

    return Grant


def _device_code(server: OAuthServer) -> type:
    class Grant(DeviceCodeGrant):
        TOKEN_ENDPOINT_AUTH_METHODS = METHODS

        def query_device_credential(self, device_code: str) -> DeviceCredentialDict | None:
            return server.devices.get(device_code)

        def query_user_grant(self, user_code: str) -> tuple[str, bool] | None:
            return server.granted.get(user_code)

        def should_slow_down(self, credential: Any) -> bool:
            server.slow_down -= 1
            return server.slow_down >= 0

    return Grant


def _device_endpoint(server: OAuthServer) -> type:
    class Endpoint(DeviceAuthorizationEndpoint):
        CLIENT_AUTH_METHODS = METHODS

        def get_verification_uri(self) -> str:
            return f"{server.origin}/activate"

        def save_device_credential(self, client_id: str, scope: str, data: dict[str, Any]) -> None:
            credential = DeviceCredentialDict(client_id=client_id, scope=scope, **data)
            server.devices[data["device_code"]] = credential

    return Endpoint


def _jwt_bearer(server: OAuthServer) -> type:
    class Grant(JWTBearerGrant):
        def resolve_issuer_client(self, issuer: str) -> Client | None:
            return server.clients.get(issuer)

        def resolve_client_public_key(self, client: Client) -> Any:
            return client.key

        def authenticate_user(self, subject: str) -> str:
            return subject

        def has_granted_permission(self, client: Any, user: str) -> bool:
            return True

        def get_audiences(self) -> list[str]:
            return [server.token_url]

    return Grant


def _exchange(server: OAuthServer) -> type:
    class Grant(BaseGrant, TokenEndpointMixin):
        GRANT_TYPE = EXCHANGE
        TOKEN_ENDPOINT_AUTH_METHODS = METHODS

        def validate_token_request(self) -> None:
            form = self.request.form
            self.request.client = client = self.authenticate_token_endpoint_client()
            if not client.check_grant_type(self.GRANT_TYPE):
                raise UnauthorizedClientError
            if form.get("subject_token_type") != JWT or not form.get("subject_token"):
                raise InvalidRequestError("subject_token_type")
            if form.get("audience", "llm") != "llm":
                raise InvalidTarget
            self.validate_requested_scope()
            try:
                claims = server.claims(form["subject_token"])
            except (JoseError, ValueError):
                raise InvalidGrantError("The subject token is wrong") from None
            self.request.user = claims["sub"]

        def create_token_response(self) -> tuple[int, Any, Any]:
            token = self.generate_token(
                user=self.request.user, scope=self.request.payload.scope or "", include_refresh_token=False
            )
            self.save_token(token)
            return 200, {**token, "issued_token_type": JWT}, self.TOKEN_RESPONSE_HEADER

    return Grant
