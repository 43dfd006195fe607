"""Sign-in: how a request gets the credential that its endpoint wants. Flows are generators and do no I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oarlock._lazy import lazy_names
from oarlock.contract.auth import Auth
from oarlock.contract.secret import Secret

if TYPE_CHECKING:
    from oarlock.auth.api_key import ApiKey
    from oarlock.auth.aws import AwsSigV4
    from oarlock.auth.bearer import BearerToken
    from oarlock.auth.chain import Chain
    from oarlock.auth.client_authentication import PrivateKeyJWT
    from oarlock.auth.client_certificate import ClientCertificate
    from oarlock.auth.cloud import AzureCredential, GoogleCredentials
    from oarlock.auth.command_token import CommandToken
    from oarlock.auth.configured import from_config, from_env
    from oarlock.auth.device_code import DeviceCode, DevicePrompt
    from oarlock.auth.encrypted_store import EncryptedFileStore
    from oarlock.auth.headers import Headers
    from oarlock.auth.hmac_signer import HmacSigner
    from oarlock.auth.keyring_store import KeyringStore
    from oarlock.auth.negotiate import Negotiate
    from oarlock.auth.oauth import ClientCredentials, JWTBearer, RefreshToken, TokenExchange
    from oarlock.auth.on_behalf_of import OnBehalfOf
    from oarlock.auth.renewal import Token
    from oarlock.auth.session_login import SessionLogin
    from oarlock.auth.store import TokenStore
    from oarlock.auth.token_auth import TokenAuth

__all__ = [
    "ApiKey",
    "Auth",
    "AwsSigV4",
    "AzureCredential",
    "BearerToken",
    "Chain",
    "ClientCertificate",
    "ClientCredentials",
    "CommandToken",
    "DeviceCode",
    "DevicePrompt",
    "EncryptedFileStore",
    "GoogleCredentials",
    "Headers",
    "HmacSigner",
    "JWTBearer",
    "KeyringStore",
    "Negotiate",
    "OnBehalfOf",
    "PrivateKeyJWT",
    "RefreshToken",
    "Secret",
    "SessionLogin",
    "Token",
    "TokenAuth",
    "TokenExchange",
    "TokenStore",
    "from_config",
    "from_env",
]

__getattr__ = lazy_names(
    __name__,
    {
        "ApiKey": "api_key",
        "AwsSigV4": "aws",
        "AzureCredential": "cloud",
        "BearerToken": "bearer",
        "Chain": "chain",
        "ClientCertificate": "client_certificate",
        "ClientCredentials": "oauth",
        "CommandToken": "command_token",
        "DeviceCode": "device_code",
        "DevicePrompt": "device_code",
        "EncryptedFileStore": "encrypted_store",
        "GoogleCredentials": "cloud",
        "Headers": "headers",
        "HmacSigner": "hmac_signer",
        "JWTBearer": "oauth",
        "KeyringStore": "keyring_store",
        "Negotiate": "negotiate",
        "OnBehalfOf": "on_behalf_of",
        "PrivateKeyJWT": "client_authentication",
        "RefreshToken": "oauth",
        "SessionLogin": "session_login",
        "Token": "renewal",
        "TokenAuth": "token_auth",
        "TokenExchange": "oauth",
        "from_config": "configured",
        "from_env": "configured",
        "TokenStore": "store",
    },
)


def __dir__() -> list[str]:
    return __all__
