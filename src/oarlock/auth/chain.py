"""Several sign-ins at once."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from oarlock.contract.auth import Auth
from oarlock.contract.errors import ConfigurationError
from oarlock.contract.http import HttpRequest

__all__ = ["Chain"]


class Chain:
    """Signs each request with several sign-ins, one after the other, such as a client certificate and a token.

    The first is the outermost: the last one signs what all others have added, so a signature over the request belongs at
    the end. Each renews its own credential when the endpoint refuses.

    Args:
        auths: the sign-ins, in order.

    Raises:
        ConfigurationError: there is none, or one of them is no sign-in.

    Example:
        >>> from oarlock.auth import ApiKey, BearerToken
        >>> Chain(ApiKey("team-key", header="x-team"), BearerToken("t0ken"))
        Chain(ApiKey(header='x-team'), BearerToken('…'))
    """

    def __init__(self, *auths: Auth) -> None:
        if not auths:
            raise ConfigurationError("Chain: give at least one sign-in.")
        for auth in auths:
            if isinstance(auth, type) or not isinstance(auth, Auth):
                raise ConfigurationError(f"Chain: a {type(auth).__name__} is no sign-in of oarlock.auth.")
        self.auths = auths

    def flow(self, request: HttpRequest) -> Generator[Any, Any, None]:
        """Sign one request."""
        yield from _signed(self.auths, request)

    def __repr__(self) -> str:
        return f"Chain({', '.join(map(repr, self.auths))})"


def _signed(auths: Sequence[Auth], request: HttpRequest) -> Generator[Any, Any, Any]:
    """Yield what the first flow yields, its signed requests as signed by the others; return the last response."""
    if not auths:
        return (yield request)
    flow = auths[0].flow(request)
    answer: Any = None
    try:
        item = next(flow)
        while True:
            if isinstance(item, HttpRequest) and _same_place(item.url, request.url):
                answer = yield from _signed(auths[1:], item)
            else:  # a `Do`, or a request of the sign-in's own
                answer = yield item
            item = flow.send(answer)
    except StopIteration:
        return answer
    finally:
        flow.close()


def _same_place(url: str, other: str) -> bool:
    return url.partition("?")[0] == other.partition("?")[0]
