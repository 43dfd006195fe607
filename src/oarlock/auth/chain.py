"""Several sign-ins at once."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from oarlock.auth.foreign import as_auth
from oarlock.contract.auth import Auth
from oarlock.contract.client_identity import IdentitySource
from oarlock.contract.errors import ConfigurationError
from oarlock.contract.http import HttpRequest

__all__ = ["Chain"]


class Chain:
    """Signs each request with several sign-ins, one after the other, such as a client certificate and a token.

    The first is the outermost: the last one signs what all others have added, so a signature over the request belongs at
    the end. Each renews its own credential when the endpoint refuses.

    Args:
        auths: the sign-ins, in order; a `httpx2.Auth` or `httpx.Auth` may be among them.

    Raises:
        ConfigurationError: there is none, one of them is no sign-in, or two are client certificates.

    Example:
        >>> from oarlock.auth import ApiKey, BearerToken
        >>> Chain(ApiKey("team-key", header="x-team"), BearerToken("t0ken"))
        Chain(ApiKey(header='x-team'), BearerToken('…'))
    """

    def __init__(self, *auths: Auth | Any) -> None:
        if not auths:
            raise ConfigurationError("Chain: give at least one sign-in.")
        self.auths = tuple(as_auth(auth, "Chain: what was given") for auth in auths)
        self.client_identity()  # which refuses two certificates

    def flow(self, request: HttpRequest) -> Generator[Any, Any, None]:
        """Sign one request."""
        yield from _signed(self.auths, request)

    def client_identity(self) -> IdentitySource | None:
        """Return the client certificate that a transport is to show, if there is one.

        Raises:
            ConfigurationError: there are two.
        """
        asked = (ask() for auth in self.auths if (ask := getattr(auth, "client_identity", None)) is not None)
        found = [one for one in asked if one is not None]
        if len(found) > 1:
            raise ConfigurationError("Chain: a connection can show one client certificate only, and two are given.")
        return found[0] if found else None

    def explain_refusal(self, wall_time: float) -> str | None:
        """Return what those say that know what may be wrong."""
        explained = (getattr(auth, "explain_refusal", lambda _: None)(wall_time) for auth in self.auths)
        return " ".join(one for one in explained if one) or None

    def __repr__(self) -> str:
        return f"Chain({', '.join(map(repr, self.auths))})"


def _signed(auths: Sequence[Auth], request: HttpRequest) -> Generator[Any, Any, Any]:
    """Yield what the first flow yields, its signed requests as signed by the others; return the last response."""
    if not auths:
        return (yield request)
    flow = auths[0].flow(request)
    response: Any = None
    try:
        item = next(flow)
        while True:
            if isinstance(item, HttpRequest) and _same_place(item.url, request.url):
                answer = response = yield from _signed(auths[1:], item)
            else:  # a `Do`, or a request of the sign-in's own
                answer = yield item
            item = flow.send(answer)
    except StopIteration:
        return response
    finally:
        flow.close()


def _same_place(url: str, other: str) -> bool:
    return url.partition("?")[0] == other.partition("?")[0]
