"""Prompts and answers unreadable in the database, without a key that is kept elsewhere."""

from __future__ import annotations

from typing import Any

from oarlock.auth.references import reference
from oarlock.contract.errors import ConfigurationError, RunStoreError
from oarlock.durable.address import Address

__all__ = ["FernetSealer", "new_key", "sealer_of"]


def new_key() -> str:
    """Return a new random key, as a text. Keep it apart from the database: who has both can read it.

    Raises:
        ConfigurationError: `oarlock[sealed]` is not installed.

    Example:
        >>> len(new_key())
        44
    """
    key: bytes = _fernet().generate_key()
    return key.decode()


class FernetSealer:
    """Seals texts with Fernet (AES-128-CBC and HMAC-SHA256), through `cryptography`.

    Args:
        key: from `new_key()`. Several, separated by commas: the first seals, all of them open, so that keys can be changed.
        where: the setting, for messages.

    Raises:
        ConfigurationError: a key is none, or `cryptography` is not installed.
    """

    def __init__(self, key: str, where: str) -> None:
        kind = _fernet()
        from cryptography.fernet import MultiFernet

        try:
            self._fernet = MultiFernet([kind(one.strip().encode()) for one in key.split(",")])
        except ValueError:
            raise ConfigurationError(
                f"{where}: what stands there is no key. Make one: "
                "python -c 'from oarlock.durable import new_key; print(new_key())'"
            ) from None

    def seal(self, text: str) -> str:
        """Return the text unreadable."""
        return self._fernet.encrypt(text.encode()).decode()

    def open(self, sealed: str) -> str:
        """Return it readable.

        Raises:
            RunStoreError: it was sealed with another key, or is damaged.
        """
        from cryptography.fernet import InvalidToken

        try:
            return self._fernet.decrypt(sealed.encode()).decode()
        except InvalidToken:
            raise RunStoreError(
                "What the database of runs holds cannot be opened with this key: it was sealed with another one, or is damaged."
            ) from None


def sealer_of(address: Address) -> FernetSealer | None:
    """Return what seals, if the address names a key.

    Raises:
        ConfigurationError: there is no key where it says.
    """
    if address.key is None:
        return None
    where = f"The key of {address.shown}"
    named = reference(address.key, where)
    if named is None:
        raise ConfigurationError(f"{where} is given by where it is, as key=env:NAME or key=file:PATH, never itself.")
    return FernetSealer(named.now().reveal(), where)


def _fernet() -> Any:
    try:
        from cryptography.fernet import Fernet
    except ImportError as error:
        raise ConfigurationError("A sealed database of runs needs: pip install 'oarlock[sealed]'.") from error
    return Fernet
