"""The end user's own credential, for each run."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

from oarlock.contract.auth import Auth, Flow
from oarlock.contract.classify import classify
from oarlock.contract.context import current_call
from oarlock.contract.errors import AuthenticationError, ConfigurationError, OarlockError
from oarlock.contract.http import HttpRequest

__all__ = ["OnBehalfOf"]


class OnBehalfOf:
    """Signs in as the end user of the run: `crew.kickoff(inputs, user=...)`.

    Each user has a sign-in of their own, with a token of their own, made when they first need it and kept while they are
    among the latest users. A call outside a run with a user is refused; nobody gets another's token.

    Args:
        sign_in: makes the sign-in for a user, such as `lambda user: TokenExchange(url, user.token)`.
        key: tells users apart; default: the user itself, if it can be a dictionary's key.
        most_users: sign-ins that are kept at once.

    Raises:
        ConfigurationError: a setting that cannot work.
        AuthenticationError: from a call, when the run has no user, or no sign-in could be made for them.

    Example:
        >>> from oarlock.auth import BearerToken
        >>> OnBehalfOf(lambda user: BearerToken(user["token"]), key=lambda user: user["id"])
        OnBehalfOf()
    """

    def __init__(
        self,
        sign_in: Callable[[Any], Auth],
        *,
        key: Callable[[Any], Hashable] | None = None,
        most_users: int = 10_000,
    ) -> None:
        if not callable(sign_in):
            raise ConfigurationError(
                f"OnBehalfOf: sign_in must be a function of the user, not {type(sign_in).__name__}."
            )
        if key is not None and not callable(key):
            raise ConfigurationError(f"OnBehalfOf: key must be a function of the user, not {type(key).__name__}.")
        if isinstance(most_users, bool) or not isinstance(most_users, int) or most_users < 1:
            raise ConfigurationError(f"OnBehalfOf: most_users must be a whole number above zero, not {most_users!r}.")
        self._sign_in = sign_in
        self._key = key or _itself
        self._most = most_users
        self._lock = threading.Lock()
        self._auths: OrderedDict[Hashable, Auth] = OrderedDict()

    def flow(self, request: HttpRequest) -> Flow:
        """Sign one request as the user of this run."""
        user = current_call().user
        if user is None:
            raise AuthenticationError(
                "OnBehalfOf: this call serves no end user: start the run with crew.kickoff(inputs, user=...)."
            )
        yield from self._auth_of(user).flow(request)

    def _auth_of(self, user: Any) -> Auth:
        try:
            key = self._key(user)
            with self._lock:
                auth = self._auths.get(key)
                if auth is not None:
                    self._auths.move_to_end(key)
                    return auth
            auth = self._sign_in(user)
        except OarlockError:
            raise
        except Exception as error:  # noqa: BLE001  the boundary to the user's functions
            problem = str(classify(error, "The function of OnBehalfOf"))
        else:
            return self._kept(key, auth)
        raise AuthenticationError(f"OnBehalfOf: no sign-in could be made for this user: {problem}")

    def _kept(self, key: Hashable, auth: Any) -> Auth:
        if isinstance(auth, type) or not isinstance(auth, Auth):
            raise AuthenticationError(
                f"OnBehalfOf: sign_in must return a sign-in of oarlock.auth, not a {type(auth).__name__}."
            )
        with self._lock:
            kept = self._auths.setdefault(key, auth)  # of two calls at once, both use one
            while len(self._auths) > self._most:
                self._auths.popitem(last=False)
        return kept

    def __repr__(self) -> str:
        return "OnBehalfOf()"

    def __getstate__(self) -> dict[str, Any]:
        return {"_sign_in": self._sign_in, "_key": self._key, "_most": self._most}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._lock = threading.Lock()
        self._auths = OrderedDict()


def _itself(user: Any) -> Hashable:
    hash(user)
    result: Hashable = user
    return result
