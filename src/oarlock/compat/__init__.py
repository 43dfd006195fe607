"""CrewAI's names for unmodified scripts: `install_as_crewai()`, then `from crewai import Agent` gives Oarlock's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oarlock._lazy import lazy_names

if TYPE_CHECKING:
    from oarlock.compat.install import as_crewai, install_as_crewai, uninstall
    from oarlock.compat.scripts import run_script

__all__ = ["as_crewai", "install_as_crewai", "run_script", "uninstall"]

__getattr__ = lazy_names(
    __name__,
    {"as_crewai": "install", "install_as_crewai": "install", "run_script": "scripts", "uninstall": "install"},
)
