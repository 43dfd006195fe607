"""Checks of the settings of LLMs behind HTTP, made when one is built."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from oarlock.contract.checks import seconds
from oarlock.contract.client_identity import IdentitySource
from oarlock.contract.errors import ConfigurationError, a_kind
from oarlock.contract.http import is_loopback
from oarlock.contract.order import check_order
from oarlock.contract.policy import Policy, in_default_order, merged

__all__ = [
    "checked_headers",
    "checked_mapping",
    "checked_policies",
    "client_certificate_of",
    "refuse_clear_text",
    "sends_in_clear",
    "within",
]

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token: RFC 9110, section 5.6.2
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")  # section 5.5; no line break, which would begin another header


def within(owner: str, name: str, value: float | None, timeout: float) -> float | None:
    """Return a limit on a part of an attempt, which ends with the timeout in any case; `None` for none.

    Raises:
        ConfigurationError: it could never be reached, or is no number of seconds.
    """
    if value is not None and seconds(owner, name, value) > timeout:
        raise ConfigurationError(
            f"{owner}: {name} must not be above timeout ({timeout:g}), which ends an attempt first, and is {value:g}."
        )
    return value


def checked_mapping(owner: str, name: str, value: Any) -> dict[str, Any]:
    """Return a mapping whose keys are texts, as a dict of its own; `None` is an empty one.

    Raises:
        ConfigurationError: it is anything else.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{owner}: {name} must be a mapping, not {a_kind(value)}.")
    for key in value:
        if not isinstance(key, str):
            raise ConfigurationError(f"{owner}: the keys of {name} must be texts, and one is {key!r}.")
    return dict(value)


def checked_headers(owner: str, headers: Any) -> tuple[tuple[str, str], ...]:
    """Return headers that can be sent as they are; their values are not shown in errors.

    Raises:
        ConfigurationError: one has no name or value that HTTP allows.
    """
    items = tuple(checked_mapping(owner, "headers", headers).items())
    for name, value in items:
        if not _HEADER_NAME.fullmatch(name):
            raise ConfigurationError(f"{owner}: headers has {name!r}, which is no name of a header.")
        if not isinstance(value, str):
            raise ConfigurationError(f"{owner}: headers[{name!r}] must be a text, not {a_kind(value)}.")
        if not _HEADER_VALUE.fullmatch(value):
            raise ConfigurationError(f"{owner}: headers[{name!r}] has characters that a header must not have.")
    return items


def checked_policies(owner: str, policies: Any, *further: Policy) -> tuple[Policy, ...]:
    """Return policies that can stand together.

    Raises:
        ConfigurationError: it is no list of policies, or they would multiply retries.
    """
    if isinstance(policies, str | bytes | Mapping) or not isinstance(policies, Sequence):
        given = policies.__name__ if isinstance(policies, type) else a_kind(policies)
        raise ConfigurationError(f"{owner}: policies must be a list such as [Retry(), Deadline(60)], not {given}.")
    together = merged((), (*policies, *further))
    check_order(in_default_order(together))
    return together


def client_certificate_of(owner: str, auth: Any, base_url: str, options: Mapping[str, Any]) -> IdentitySource | None:
    """Return the client certificate in a sign-in, `None` if it has none.

    Raises:
        ConfigurationError: it would never be shown, or another one is among the transport's options.
    """
    ask = getattr(auth, "client_identity", None)
    certificate: IdentitySource | None = ask() if ask is not None else None
    if certificate is None:
        return None
    if options.get("client_certificate") is not None:
        raise ConfigurationError(f"{owner}: give the client certificate in auth or in transport_options, not in both.")
    if not base_url.lower().startswith("https:"):
        raise ConfigurationError(
            f"{owner}: auth has a client certificate, which is shown over https:// only: check base_url."
        )
    return certificate


def sends_in_clear(base_url: str) -> bool:
    """Return whether everybody on the way could read what is sent to this URL."""
    parts = urlsplit(base_url)
    return parts.scheme == "http" and not is_loopback(parts.hostname or "")


def refuse_clear_text(owner: str, base_url: str) -> None:
    """Refuse to send a credential over plain HTTP to another machine.

    Raises:
        ConfigurationError: the URL is `http://`, and not of the loopback interface.
    """
    if sends_in_clear(base_url):
        raise ConfigurationError(
            f"{owner}: base_url is http://, so that everybody on the way could read the credential: use https://, or say "
            "allow_http=True. Without auth, http:// is taken as it is."
        )
