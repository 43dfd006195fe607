"""Tokens in the operating system's keyring, through the library of that name."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from oarlock.contract.errors import ConfigurationError, a_kind
from oarlock.contract.secret import Secret

__all__ = ["KeyringStore"]


class KeyringStore:
    """Keeps tokens in the operating system's keyring, through keyring (`oarlock[keyring]`).

    That is the Keychain of macOS, the Credential Locker of Windows (whose entries hold at most 1,280 characters), or the
    Secret Service of a Linux desktop. On a server without one, use `EncryptedFileStore`.

    Args:
        service: the name under which the entries stand there.
        backend: a backend of keyring; default: the one that keyring chooses.

    Raises:
        ConfigurationError: `oarlock[keyring]` is not installed, there is no keyring here, or it is one that writes
            in the clear or forgets everything.

    Example:
        >>> KeyringStore("my-app")  # doctest: +SKIP
        KeyringStore('my-app')
    """

    def __init__(self, service: str = "oarlock", *, backend: Any = None) -> None:
        try:
            import keyring
            from keyring.errors import PasswordDeleteError
        except ImportError:
            raise ConfigurationError("KeyringStore needs keyring: pip install 'oarlock[keyring]'.") from None
        if not isinstance(service, str) or not service:
            raise ConfigurationError(f"KeyringStore: service must be a name, not {service!r}.")
        self._service = service
        self._backend = keyring.get_keyring() if backend is None else backend
        self._nothing_there = PasswordDeleteError
        _check(self._backend)

    def load(self, key: str) -> Secret | None:
        """Return what was saved under a key."""
        value = self._backend.get_password(self._service, key)
        return None if value is None else Secret(value)

    def save(self, key: str, value: Secret) -> None:
        """Keep a value."""
        self._backend.set_password(self._service, key, value.reveal())

    def delete(self, key: str) -> None:
        """Forget what was saved under a key."""
        with suppress(self._nothing_there):
            self._backend.delete_password(self._service, key)

    def __repr__(self) -> str:
        return f"KeyringStore({self._service!r})"

    def __deepcopy__(self, memo: Any) -> KeyringStore:
        return self  # the keyring is there once


def _check(backend: Any) -> None:
    if not all(callable(getattr(backend, name, None)) for name in ("get_password", "set_password", "delete_password")):
        raise ConfigurationError(f"KeyringStore: {a_kind(backend)} is no backend of keyring.")
    for one in getattr(backend, "backends", None) or [backend]:  # the chainer saves with the first that can
        name = f"{type(one).__module__}.{type(one).__name__}"
        if name in ("keyring.backends.fail.Keyring", "keyring.backends.null.Keyring"):
            raise ConfigurationError(
                "KeyringStore: there is no keyring here: use EncryptedFileStore, or set one up (see the docs of keyring)."
            )
        if "plaintext" in name.lower():
            raise ConfigurationError(f"KeyringStore: {name} writes in the clear: use EncryptedFileStore.")
