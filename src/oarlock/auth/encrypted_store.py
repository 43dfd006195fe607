"""Tokens in encrypted files."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any, Final

from oarlock.contract.errors import AuthenticationError, ConfigurationError
from oarlock.contract.secret import Secret

__all__ = ["EncryptedFileStore"]

_MOST: Final = 1 << 20  # bytes of a file that are read; a token has a few thousand


class EncryptedFileStore:
    """Keeps tokens in a folder, each in an encrypted file of its own, through cryptography (in `oarlock[oauth]`).

    The files are encrypted and signed (Fernet: AES-128-CBC and HMAC-SHA256), readable for their owner only, and replaced as
    a whole, so that a crash leaves the old one or the new one. Several processes may use the folder at once.

    Args:
        folder: the folder; made when the first token is saved.
        key: the key, from `EncryptedFileStore.new_key()`. Keep it apart from the folder, in an environment variable or
            a secret manager: who has both has the tokens.

    Raises:
        ConfigurationError: the key is none, the folder is a file, or `oarlock[oauth]` is not installed.

    Example:
        >>> EncryptedFileStore("tokens", key=EncryptedFileStore.new_key())
        EncryptedFileStore('tokens')
    """

    def __init__(self, folder: str | Path, key: str | Secret) -> None:
        if not isinstance(folder, str | Path) or not str(folder):
            raise ConfigurationError(f"EncryptedFileStore: folder must be the path of a folder, not {folder!r}.")
        self._folder = Path(folder).expanduser()
        if self._folder.exists() and not self._folder.is_dir():
            raise ConfigurationError(f"EncryptedFileStore: {str(folder)!r} is a file: give a folder.")
        self._key = Secret(_checked(key))

    @staticmethod
    def new_key() -> str:
        """Return a new random key, as a text."""
        key: bytes = _fernet().generate_key()
        return key.decode()

    def load(self, key: str) -> Secret | None:
        """Return what was saved under a key."""
        path = self._path(key)
        try:
            with path.open("rb") as file:
                sealed = file.read(_MOST)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unusable(path, error) from None
        value = self._opened(key, sealed)
        if value is None:
            raise AuthenticationError(
                f"EncryptedFileStore: {str(path)!r} cannot be opened with this key: it was written with another one, or is "
                "damaged. Give the key it was written with, or delete the file and sign in again."
            )
        return value

    def _opened(self, key: str, sealed: bytes) -> Secret | None:
        from cryptography.fernet import InvalidToken

        try:
            name, value = json.loads(_fernet()(self._key.reveal()).decrypt(sealed))
        except (InvalidToken, ValueError, TypeError):
            return None
        return Secret(value) if name == key and isinstance(value, str) else None  # nobody swaps one file for another

    def save(self, key: str, value: Secret) -> None:
        """Keep a value."""
        sealed = _fernet()(self._key.reveal()).encrypt(json.dumps([key, value.reveal()]).encode())
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._replace(self._path(key), sealed)
        except OSError as error:
            raise _unusable(self._folder, error) from None

    def _replace(self, path: Path, content: bytes) -> None:
        number, name = tempfile.mkstemp(dir=self._folder, prefix=".", suffix=".new")  # with mode 0600
        try:
            with os.fdopen(number, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def delete(self, key: str) -> None:
        """Forget what was saved under a key."""
        path = self._path(key)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise _unusable(path, error) from None

    def _path(self, key: str) -> Path:
        return self._folder / f"{hashlib.sha256(key.encode()).hexdigest()[:40]}.token"

    def __repr__(self) -> str:
        return f"EncryptedFileStore({str(self._folder)!r})"

    def __deepcopy__(self, memo: Any) -> EncryptedFileStore:
        return self


def _fernet() -> Any:
    try:
        from cryptography.fernet import Fernet
    except ImportError:
        raise ConfigurationError("EncryptedFileStore needs cryptography: pip install 'oarlock[oauth]'.") from None
    return Fernet


def _checked(key: Any) -> str:
    text = key.reveal() if isinstance(key, Secret) else key
    fernet = _fernet()
    try:
        fernet(text)
    except (ValueError, TypeError, AttributeError):
        pass
    else:
        if isinstance(text, str):
            return text
    raise ConfigurationError(
        "EncryptedFileStore: key must be a text from EncryptedFileStore.new_key(): 32 random bytes in url-safe base64."
    )


def _unusable(path: Path, error: OSError) -> AuthenticationError:
    return AuthenticationError(
        f"EncryptedFileStore: {str(path)!r} cannot be used: {error.strerror or type(error).__name__}."
    )
