"""The end user's own credential, for each run."""

from __future__ import annotations

import inspect
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Final

from oarlock.auth.foreign import as_auth
from oarlock.contract.auth import Auth, Do, Flow, Send
from oarlock.contract.classify import classify
from oarlock.contract.context import current_call
from oarlock.contract.errors import AuthenticationError, ConfigurationError, OarlockError
from oarlock.contract.http import HttpRequest, HttpResponse
from oarlock.runtime import Runtime

__all__ = ["OnBehalfOf"]


_UNHASHABLE: Final = (
    "OnBehalfOf: this user cannot be told apart from others, being of a kind that may change: "
    "give key, a function such as lambda user: user['id']."
)


class OnBehalfOf:
    """Signs in as the end user of the run: `crew.kickoff(inputs, user=...)`.

    Each user has a sign-in of their own, with a token of their own, made when they first need it and kept while they are
    among the latest users and it does not fail: then the next call makes it anew. A call outside a run with a user is refused; nobody gets another's token.

    Args:
        sign_in: makes the sign-in for a user, such as `lambda user: TokenExchange(url, user.token)`.
        key: tells users apart, by something that never changes and is never given to another; default: the user itself,
            if it can be a dictionary's key. A user who is a text or number, or a frozen dataclass, can be.
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
        self._auths = _Auths()

    def flow(self, request: HttpRequest) -> Flow:
        """Sign one request as the user of this run."""
        user = current_call().user
        if user is None:
            raise AuthenticationError(
                "OnBehalfOf: this call serves no end user: start the run with crew.kickoff(inputs, user=...)."
            )
        auth = self._auth_of(user)
        flow = auth.flow(request)
        answer: Any = None
        try:
            while True:
                item = flow.send(answer)
                answer = yield self._watched(item, auth) if isinstance(item, Do) else item
        except StopIteration:
            if isinstance(answer, HttpResponse) and answer.status == 401:
                self._forget(auth)
        finally:
            flow.close()

    def _watched(self, item: Do, auth: Auth) -> Do:
        async def work(runtime: Runtime, send: Send) -> Any:
            try:
                return await item.work(runtime, send)
            except AuthenticationError:
                self._forget(auth)
                raise

        return Do(work)

    def _forget(self, auth: Auth) -> None:
        """Drop a sign-in that failed: the next call's user may bring a newer token."""
        with self._lock:
            for key in [key for key, kept in self._auths.items() if kept is auth]:
                del self._auths[key]

    def _auth_of(self, user: Any) -> Auth:
        try:
            key = _told_apart(self._key(user))
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
        try:
            made = as_auth(auth, "what the function sign_in returned")
        except ConfigurationError as error:
            if inspect.iscoroutine(auth):
                auth.close()  # of an `async def`, which it must not be
            problem = str(error)
        else:
            if getattr(made, "client_identity", _nothing)() is None:
                return self._remembered(key, made)
            problem = (
                "a client certificate is shown by the LLM's connections, which all users share: give it to the LLM, as in "
                "Chain(ClientCertificate(...), OnBehalfOf(...))."
            )
        raise AuthenticationError(f"OnBehalfOf: {problem}")

    def _remembered(self, key: Hashable, auth: Auth) -> Auth:
        with self._lock:
            kept = self._auths.setdefault(key, auth)  # of two calls at once, both use one
            while len(self._auths) > self._most:
                self._auths.popitem(last=False)
        return kept

    def explain_refusal(self, wall_time: float) -> str | None:
        """Return what the sign-in of this call's user says may be wrong."""
        user = current_call().user
        explain = None if user is None else getattr(self._auth_of(user), "explain_refusal", None)
        return "It was the end user's own sign-in." if explain is None else explain(wall_time)

    def __repr__(self) -> str:
        return "OnBehalfOf()"

    def __getstate__(self) -> dict[str, Any]:
        return {"_sign_in": self._sign_in, "_key": self._key, "_most": self._most}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._lock = threading.Lock()
        self._auths = _Auths()


def _nothing() -> None:
    return None


class _Auths(OrderedDict[Hashable, Auth]):
    """Sign-ins by user; shows no user, who may carry a token."""

    def __repr__(self) -> str:
        return f"<{len(self)} users>"


def _told_apart(key: Any) -> Hashable:
    if not isinstance(key, Hashable):
        raise AuthenticationError(_UNHASHABLE)
    return key


def _itself(user: Any) -> Any:
    return user
