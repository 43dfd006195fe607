"""Records of runs, and the page that shows one."""

from oarlock.agents.recording import Recording

__all__ = ["Recording"]
