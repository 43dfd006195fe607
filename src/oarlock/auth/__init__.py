"""Sign-in: how a request gets the credential that its endpoint wants. Flows are generators and do no I/O."""

from oarlock.auth.api_key import ApiKey
from oarlock.auth.bearer import BearerToken
from oarlock.auth.client_authentication import PrivateKeyJWT
from oarlock.auth.headers import Headers
from oarlock.auth.oauth import ClientCredentials, JWTBearer, RefreshToken, TokenExchange
from oarlock.auth.renewal import Token
from oarlock.auth.token_auth import TokenAuth
from oarlock.contract.auth import Auth

__all__ = [
    "ApiKey",
    "Auth",
    "BearerToken",
    "ClientCredentials",
    "Headers",
    "JWTBearer",
    "PrivateKeyJWT",
    "RefreshToken",
    "Token",
    "TokenAuth",
    "TokenExchange",
]
