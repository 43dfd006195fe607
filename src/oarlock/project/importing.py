"""What a file names by where it is imported from: `package.module:name`."""

from __future__ import annotations

import re
import sys
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from oarlock.contract.errors import ConfigurationError

__all__ = ["imported", "is_import_path"]

_PATH: Final = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")


def is_import_path(value: Any) -> bool:
    """Return whether this is written as `package.module:name`."""
    return isinstance(value, str) and _PATH.fullmatch(value) is not None


def imported(path: Any, where: str, folder: Path) -> Any:
    """Return what an import path names.

    Args:
        path: such as `my_tools:search`.
        where: the place in the user's file, for messages.
        folder: where to look first.

    Raises:
        ConfigurationError: it is no such path, or there is nothing of that name.

    Example:
        >>> imported("json:dumps", "crew.yaml", Path())("a")
        '"a"'
    """
    if not is_import_path(path):
        raise ConfigurationError(f"{where} must say where to import it from, as in my_module:my_name, not {path!r}.")
    name, _, attributes = path.partition(":")
    beside = str(folder.resolve())
    if beside not in sys.path:
        sys.path.insert(0, beside)
    try:
        found: Any = import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # the module is there; what it imports itself is not
        raise ConfigurationError(f"{where}: there is no module {error.name!r} here or installed.") from None
    for attribute in attributes.split("."):
        if not hasattr(found, attribute):
            near = get_close_matches(attribute, dir(found), n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ConfigurationError(f"{where}: {name} has no {attribute!r}.{hint}")
        found = getattr(found, attribute)
    return found
