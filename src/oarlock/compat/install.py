"""Making `import crewai` mean `oarlock.compat.crewai`, through one finder on `sys.meta_path`."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import ModuleType

from oarlock.compat.missing import COMPANIONS, missing_module
from oarlock.contract.errors import ConfigurationError

__all__ = ["as_crewai", "install_as_crewai", "is_installed", "uninstall"]

_NAME = "crewai"
_HOME = "oarlock.compat."  # where the module `crewai` lives
_lock = threading.RLock()


def install_as_crewai(force: bool = False) -> bool:
    """Let `crewai` and its submodules be those of `oarlock.compat.crewai`, for this process.

    Calling it again changes nothing. An installed CrewAI stays what it is, unless forced.

    Args:
        force: also when CrewAI itself is installed.

    Returns:
        Whether `import crewai` now gives Oarlock.

    Raises:
        ConfigurationError: forced, but CrewAI itself has been imported already.

    Example:
        >>> install_as_crewai()
        True
        >>> from crewai import Agent
        >>> Agent.__module__
        'oarlock.compat.crewai.agent'
        >>> uninstall()
    """
    with _lock:
        if is_installed():
            return True
        imported = sys.modules.get(_NAME) is not None
        if not force and (imported or _real_crewai_is_installed()):
            return False
        if imported:
            raise ConfigurationError(
                "CrewAI itself has already been imported, so its names cannot become Oarlock's any more. "
                "Call install_as_crewai(force=True) before anything imports crewai."
            )
        sys.meta_path.insert(0, _Finder())
        return True


def uninstall() -> None:
    """Undo `install_as_crewai()`. What scripts have imported by then keeps working."""
    with _lock:
        if not is_installed():
            return
        sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Finder)]
        for name in [name for name in sys.modules if name.partition(".")[0] in {_NAME, *COMPANIONS}]:
            if sys.modules[name] is sys.modules.get(_HOME + name):
                del sys.modules[name]


@contextmanager
def as_crewai(force: bool = False) -> Iterator[bool]:
    """Install the names for a `with` block; gives what `install_as_crewai` returns.

    Example:
        >>> with as_crewai():
        ...     from crewai import Crew
    """
    before = is_installed()
    try:
        yield install_as_crewai(force)
    finally:
        if not before:
            uninstall()


class _Finder(MetaPathFinder):
    """Finds our modules under CrewAI's names, and says clearly which there are not."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        top = fullname.partition(".")[0]
        if top == _NAME or (top in COMPANIONS and _is_ours_to_give(fullname, path)):
            return spec_from_loader(fullname, _Alias(import_module(_HOME + fullname)), is_package=True)
        # `from crewai import Flow` asks the package for Flow and then, by the package's own name, for a submodule Flow.
        theirs = fullname.removeprefix(_HOME)
        if theirs == fullname or theirs.partition(".")[0] not in {_NAME, *COMPANIONS}:
            return None
        spec = _found_by_others(fullname, path)
        if spec is None:
            raise missing_module(theirs, _names_beside(fullname))
        return spec


class _Alias(Loader):
    """Gives a module that is there already a second name in `sys.modules`; it stays one and the same object."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._spec = module.__spec__
        if not hasattr(module, "__path__"):
            module.__path__ = []  # so that a missing name is asked of `_Finder`, which says what to do instead

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec  # the import system has just put the alias's in its place


def _is_ours_to_give(name: str, path: Sequence[str] | None) -> bool:
    """Return whether a companion of CrewAI, or a module in it, is not there itself."""
    top = name.partition(".")[0]
    return _found_by_others(name, path) is None if name == top else sys.modules.get(top) is sys.modules.get(_HOME + top)


def is_installed() -> bool:
    """Return whether `crewai` means Oarlock in this process."""
    return any(isinstance(finder, _Finder) for finder in sys.meta_path)


def _real_crewai_is_installed() -> bool:
    """Return whether there is a package `crewai` with code; a mere folder or file of that name is none."""
    spec = _found_by_others(_NAME, None)
    return spec is not None and spec.origin is not None and spec.submodule_search_locations is not None


def _found_by_others(name: str, path: Sequence[str] | None) -> ModuleSpec | None:
    for finder in list(sys.meta_path):
        if isinstance(finder, _Finder) or not hasattr(finder, "find_spec"):
            continue
        spec = finder.find_spec(name, path)
        if spec is not None:
            return spec
    return None


def _names_beside(fullname: str) -> list[str]:
    return list(getattr(sys.modules.get(fullname.rpartition(".")[0]), "__all__", ()))
