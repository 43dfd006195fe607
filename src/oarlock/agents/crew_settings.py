"""What a crew's settings must be, its agents, tasks and process aside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oarlock.agents.approval import check_approver, check_cache
from oarlock.agents.definitions import check_budget, check_takes_one, function, functions, text
from oarlock.agents.hooks import name_of
from oarlock.agents.limits import per_minute
from oarlock.agents.run_log import log_path
from oarlock.contract.checks import flag

if TYPE_CHECKING:
    from oarlock.agents.crew import Crew

__all__ = ["check_settings"]


def check_settings(crew: Crew) -> None:
    """Check what may be said of a crew besides its agents and tasks, and make its limit.

    Raises:
        ConfigurationError: a value cannot work.
    """
    text("Crew", "name", crew.name)
    for name in ("verbose", "full_output"):
        flag("Crew", name, getattr(crew, name))
    function("Crew", "step_callback", crew.step_callback, "the step")
    for name in ("task_callback", "on_human_input"):
        function("Crew", name, getattr(crew, name), "the TaskOutput")
    for name, of in (("before_kickoff_callbacks", "the inputs"), ("after_kickoff_callbacks", "the CrewOutput")):
        given = functions("Crew", name, getattr(crew, name))
        for one in given:
            check_takes_one(f"Crew: {name}: {name_of(one)}", one, of)
        setattr(crew, name, given)
    check_budget("Crew", crew.budget)
    check_approver("Crew", crew.on_approval)
    check_cache("Crew", crew.cache)
    log_path(crew.output_log_file)
    _check_record("Crew", crew.record)
    crew.limit = per_minute("Crew", crew.max_rpm)


def _check_record(owner: str, given: object) -> None:
    if given is not None:
        from oarlock.agents.recording import recording_of  # most runs are not recorded

        recording_of(owner, given)
