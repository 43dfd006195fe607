"""Sign-ins from configuration: a mapping, as of a YAML file, or environment variables."""

from __future__ import annotations

import inspect
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from oarlock.auth.credentials import secret_of
from oarlock.auth.references import Reference, reference
from oarlock.contract.auth import Auth
from oarlock.contract.errors import ConfigurationError, misspelt
from oarlock.contract.secret import Secret

__all__ = ["KINDS", "Kind", "from_config", "from_env"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One sign-in, and which of its arguments are what.

    Attributes:
        name: module and class, below `oarlock.auth`.
        secrets: arguments that must be references.
        sources: secrets that are read whenever they are needed, since they may change: files, and what programs print.
        mappings: arguments that map names to references, or to `text:...` for what is no secret.
        code: arguments that are functions or objects, which no configuration can hold.
    """

    name: str
    secrets: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()
    mappings: frozenset[str] = frozenset()
    code: frozenset[str] = frozenset()

    def load(self) -> Callable[..., Auth]:
        """Return the class."""
        module, _, name = self.name.partition(":")
        loaded: Callable[..., Auth] = getattr(import_module(f"oarlock.auth.{module}"), name)
        return loaded


def _kind(name: str, *, secrets: str = "", sources: str = "", mappings: str = "", code: str = "") -> Kind:
    return Kind(
        name=name,
        secrets=frozenset(secrets.split()),
        sources=frozenset(sources.split()),
        mappings=frozenset(mappings.split()),
        code=frozenset([*code.split(), "stored"]),
    )


KINDS: Final[Mapping[str, Kind]] = {
    "api_key": _kind("api_key:ApiKey", secrets="key"),
    "aws_sig_v4": _kind("aws:AwsSigV4", secrets="access_key_id secret_access_key session_token", code="session"),
    "azure_credential": _kind("cloud:AzureCredential", code="credential"),
    "bearer_token": _kind("bearer:BearerToken", sources="token"),
    "chain": _kind("chain:Chain"),
    "client_certificate": _kind("client_certificate:ClientCertificate", sources="cert key password"),
    "client_credentials": _kind("oauth:ClientCredentials", secrets="client_secret"),
    "command_token": _kind("command_token:CommandToken", mappings="env"),
    "device_code": _kind(
        "device_code:DeviceCode", secrets="client_secret refresh_token", code="prompt on_refresh_token"
    ),
    "google_credentials": _kind("cloud:GoogleCredentials", code="credentials"),
    "headers": _kind("headers:Headers", mappings="headers"),
    "hmac_signer": _kind("hmac_signer:HmacSigner", secrets="key", code="canonical sign"),
    "jwt_bearer": _kind("oauth:JWTBearer", secrets="password client_secret", sources="key"),
    "negotiate": _kind("negotiate:Negotiate", secrets="password"),
    "refresh_token": _kind("oauth:RefreshToken", secrets="refresh_token client_secret", code="on_rotation"),
    "session_login": _kind("session_login:SessionLogin", mappings="fields headers", code="gone"),
    "token_exchange": _kind("oauth:TokenExchange", secrets="client_secret", sources="subject_token actor_token"),
}
"""The sign-ins that configuration can name. One that needs a function of the program, as `OnBehalfOf` does, is not here."""

_TEXT: Final = "text:"
_SECRET_NAME: Final = re.compile("secret|password|token|assertion|key|code|pin", re.IGNORECASE)
_PRIVATE_KEY_JWT: Final = _kind("client_authentication:PrivateKeyJWT", secrets="password", sources="key")
_REFER: Final = 'as env:NAME or file:PATH, or command:["program", "argument"]'
# What environment variables, which are texts, have to be read as; every other argument is a text.
_AS_JSON: Final = frozenset(
    {"allow_http", "auths", "claims", "command", "delegate", "env", "extra", "fields", "headers", "lifetime", "margin"}
    | {"scopes", "timeout"}
)


def from_config(config: Mapping[str, Any], where: str = "auth") -> Auth:
    """Return the sign-in that a mapping describes, as from a YAML file.

    `type` names it; the other names are the arguments of its class. Secrets are given by reference only: `env:NAME`,
    `file:PATH` (without the line break at its end) or `command:["program", "argument"]`; as mappings `{env: NAME}` and so on.
    Values in `headers`, `fields` and `env` are references too, or `text:...` for what is no secret.

    Args:
        config: such as `{"type": "api_key", "key": "env:LLM_KEY"}`.
        where: the place in the user's file, for messages.

    Raises:
        ConfigurationError: an unknown type or argument, a secret in the configuration itself, or one that is not where
            the reference says.

    Example:
        >>> from_config({"type": "command_token", "command": ["gcloud", "auth", "print-access-token"]})
        CommandToken('gcloud')
    """
    return _Reader(where, plain=False).auth(config)


def from_env(prefix: str = "OARLOCK_") -> Auth:
    """Return the sign-in that environment variables describe.

    `OARLOCK_AUTH` names it, as `type` does in `from_config`; the others are its arguments, such as `OARLOCK_CLIENT_ID`.
    Secrets may stand in their variables themselves, or be references. Lists, mappings, numbers and truth values are JSON.

    Args:
        prefix: what the variables' names begin with.

    Raises:
        ConfigurationError: the variable that names the sign-in is not set, or the others do not fit it.

    Example:
        >>> os.environ.update(OARLOCK_AUTH="api_key", OARLOCK_KEY="s3cret", OARLOCK_HEADER="x-api-key")
        >>> from_env()
        ApiKey(header='x-api-key')
        >>> for name in ("OARLOCK_AUTH", "OARLOCK_KEY", "OARLOCK_HEADER"):
        ...     del os.environ[name]
    """
    name = os.environ.get(f"{prefix}AUTH", "")
    if not name:
        raise ConfigurationError(f"{prefix}AUTH is not set: it names the sign-in, one of {', '.join(KINDS)}.")
    kind = _known(name, f"{prefix}AUTH")
    allowed = _arguments(kind)
    config: dict[str, Any] = {"type": name}
    for variable, text in os.environ.items():
        argument = variable.removeprefix(prefix).lower()
        if not variable.startswith(prefix) or argument == "auth":
            continue
        if argument in allowed:
            config[argument] = _parsed(variable, argument, text)
        elif near := get_close_matches(argument, allowed, n=1, cutoff=0.85):
            raise ConfigurationError(f"{variable} is no setting of {name}. Did you mean {prefix}{near[0].upper()}?")
    return _Reader(prefix, plain=True).auth(config)


def _parsed(variable: str, argument: str, text: str) -> Any:
    if argument not in _AS_JSON and not (argument == "client_auth" and text.startswith("{")):
        return text
    try:
        return json.loads(text)
    except ValueError:
        pass
    raise ConfigurationError(f"{variable} must be JSON: a list, a mapping, a number, true or false.")


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads settings of one origin; `plain`: secrets may stand there themselves."""

    where: str
    plain: bool

    def auth(self, config: Any) -> Auth:
        if not isinstance(config, Mapping) or not all(isinstance(name, str) for name in config):
            raise ConfigurationError(f"{self.where} must be a mapping with the type of sign-in, such as api_key.")
        given = dict(config)
        name = given.pop("type", None)
        kind = _known(name, self._named("type"))
        if name == "chain":
            return self._chain(given)
        made: Auth = self._built(kind, given)
        return made

    def _chain(self, given: dict[str, Any]) -> Auth:
        from oarlock.auth.chain import Chain

        auths = given.pop("auths", None)
        if given:
            raise misspelt(self._title, given, ["auths"])
        if not isinstance(auths, list) or not auths:
            raise ConfigurationError(f"{self._named('auths')} must be a list of sign-ins.")
        return Chain(*(_Reader(f"{self._named('auths')}[{n}]", self.plain).auth(one) for n, one in enumerate(auths)))

    def _built(self, kind: Kind, given: Mapping[str, Any]) -> Any:
        allowed = _arguments(kind)
        if unknown := [name for name in given if name not in allowed]:
            raise misspelt(self._title, unknown, allowed)
        if missing := [name for name, needed in allowed.items() if needed and name not in given]:
            raise ConfigurationError(f"{self._title} needs {' and '.join(map(self._named_short, missing))}.")
        values = {name: self._value(kind, name, value) for name, value in given.items()}
        try:
            return kind.load()(**values)
        except ConfigurationError as error:
            problem = str(error)
        except TypeError:
            problem = f"an argument of {kind.name.partition(':')[2]} has a value of the wrong type."
        raise ConfigurationError(f"{self._title}: {problem}")

    def _value(self, kind: Kind, name: str, value: Any) -> Any:
        where = self._named(name)
        if name in kind.sources:
            return self._source(value, where, name)
        if name in kind.secrets:
            return self._secret(value, where)
        if name in kind.mappings:
            return self._mapping(value, where, lasting=name == "fields")
        return self._open(name, value, where)

    def _open(self, name: str, value: Any, where: str) -> Any:
        """Return what is no secret; it may be kept elsewhere as well."""
        if name == "extra":
            return self._extra(value, where)
        if name == "client_auth" and isinstance(value, Mapping):
            return self._client_auth(value, where)
        found = reference(value, where) if isinstance(value, str) else None
        return value if found is None else found.now().reveal()

    def _client_auth(self, value: Mapping[str, Any], where: str) -> Any:
        if list(value) != ["private_key_jwt"] or not isinstance(value["private_key_jwt"], Mapping):
            raise ConfigurationError(f"{where} must be a text, or {{private_key_jwt: {{key: file:PATH, ...}}}}.")
        return _Reader(f"{where}.private_key_jwt", self.plain)._built(_PRIVATE_KEY_JWT, value["private_key_jwt"])  # noqa: SLF001  its own class

    def _secret(self, value: Any, where: str) -> Secret:
        found = reference(value, where)
        return found.now() if found is not None else self._itself(value, where)

    def _source(self, value: Any, where: str, name: str) -> Any:
        found = reference(value, where)
        if found is None and name == "cert" and isinstance(value, str) and "-----BEGIN" not in value:
            return Path(value).expanduser()  # a certificate is no secret
        if found is None:
            return self._itself(value, where)
        if found.kind == "file" and name != "cert":  # which may be no text
            found.now()  # so that a wrong path is found when it is given
        if name in ("cert", "key"):  # a file is read again when it has changed
            return found.later() if found.kind == "file" else found.now()
        if name == "token":
            return _asked(found) if found.kind != "env" else found.now()
        return found.later()

    def _mapping(self, value: Any, where: str, *, lasting: bool) -> Any:
        if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
            raise ConfigurationError(f"{where} must be a mapping of names to references.")
        return {name: self._field(one, f"{where}.{name}", lasting=lasting) for name, one in value.items()}

    def _field(self, value: Any, where: str, *, lasting: bool) -> Any:
        """Return a value; what is `lasting` is read whenever it is needed."""
        if isinstance(value, str) and value.startswith(_TEXT) and len(value) > len(_TEXT):
            return Secret(value.removeprefix(_TEXT))
        found = reference(value, where)
        if found is not None:
            secret = found.now()
            return found.later() if lasting else secret
        if self.plain:
            return self._itself(value, where)
        raise ConfigurationError(f"{where} must say where its value is, {_REFER}; what is no secret is {_TEXT}... .")

    def _extra(self, value: Any, where: str) -> Any:
        if not isinstance(value, Mapping):
            raise ConfigurationError(f"{where} must be a mapping of names to texts.")
        return {
            name: self._secret(one, f"{where}.{name}").reveal()
            if _SECRET_NAME.search(str(name)) or reference(one, where)
            else one
            for name, one in value.items()
        }

    def _itself(self, value: Any, where: str) -> Secret:
        if self.plain and isinstance(value, str):
            if value.strip():
                return Secret(value)
            raise ConfigurationError(f"{where} is empty.")
        raise ConfigurationError(f"{where} is a secret and must say where it is, {_REFER}; it is not kept in the file.")

    @property
    def _title(self) -> str:
        return f"{self.where}*" if self.where.endswith("_") else self.where

    def _named(self, name: str) -> str:
        return f"{self.where}{name.upper()}" if self.plain and self.where.endswith("_") else f"{self.where}.{name}"

    def _named_short(self, name: str) -> str:
        return self._named(name) if self.plain else name


def _asked(found: Reference) -> Callable[[], str]:
    """Return a function for `BearerToken`, which asks it anew when the token has expired or was refused."""
    return lambda: secret_of(found.where, found.now()).reveal()


def _known(name: Any, where: str) -> Kind:
    if isinstance(name, str) and name in KINDS:
        return KINDS[name]
    near = get_close_matches(name, KINDS, n=1) if isinstance(name, str) else []
    if name == "on_behalf_of":
        raise ConfigurationError(f"{where}: on_behalf_of needs a function of the user: make it in the program.")
    said = f"{name!r} is no sign-in. " if name is not None else "the type of sign-in is missing. "
    hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(KINDS)}."
    raise ConfigurationError(f"{where}: {said}{hint}")


def _arguments(kind: Kind) -> dict[str, bool]:
    """Return the arguments that configuration may give, and whether each is needed."""
    if kind.name == "chain:Chain":
        return {"auths": True}
    parameters = inspect.signature(kind.load()).parameters.values()
    return {one.name: one.default is one.empty for one in parameters if one.name not in kind.code}
