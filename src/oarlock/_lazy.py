"""Names of a package that are imported when first used (PEP 562)."""

from __future__ import annotations

import sys
from importlib import import_module

TYPE_CHECKING = False  # true for type checkers; importing `typing` for it would cost more than all the rest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


def lazy_names(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a module's `__getattr__` that takes each name from the submodule it lives in.

    Args:
        package: the package's `__name__`.
        homes: for each name the submodule, such as `"agents.agent"`.

    Example:
        >>> get = lazy_names("oarlock", {"Retry": "policies.retry"})
        >>> get("Retry").__name__
        'Retry'
    """

    def __getattr__(name: str) -> Any:  # noqa: N807
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(f"{package}.{homes[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return __getattr__
