"""`crewai.hooks.dispatch`."""

from oarlock.compat.crewai.hooks import HookAborted, InterceptionPoint, on
from oarlock.compat.crewai.hooks import clear_all_hooks as clear_all

__all__ = ["HookAborted", "InterceptionPoint", "clear_all", "on"]
