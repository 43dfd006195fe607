"""Runs report.py with a stand-in for the model on this machine: no network, no key, no cost."""

import os
import sys

import report

from oarlock.testing import LoopbackEndpoint, ToolCalls

FACTS = """\
A lagoon's turbines run with the flood and the ebb, four times a day [tidal-lagoons]
A lagoon of 320 MW would give about 530 GWh a year [tidal-lagoons]
MeyGen has run four turbines, 6 MW together, in a free current since 2018 [tidal-streams]
A lagoon's walls are most of its price, and last for 120 years [costs]"""
DRAFT = """\
# Tidal power

Tides give power at hours that are known decades ahead."""
REPORT = """\
# Tidal power

Tides give power at hours that are known decades ahead [costs].

A lagoon walls off part of a bay; one of 320 MW would give about 530 GWh a year [tidal-lagoons]. Turbines in a free current
need no wall: four of them, 6 MW together, have run at MeyGen since 2018 [tidal-streams].

A lagoon's walls are most of its price, and last for 120 years [costs]."""


def delegate(coworker: str, task: str, context: str = "") -> ToolCalls:
    """Return the manager's wish to hand work over."""
    return ToolCalls([("delegate_work_to_coworker", {"coworker": coworker, "task": task, "context": context})])


SCRIPT = [
    # The first task: the manager gives it to the researcher, who looks into the notes.
    delegate("Researcher", "Find out how tidal power works, what it yields and what it costs."),
    ToolCalls([("list_notes", {})]),
    ToolCalls([("read_note", {"name": note}) for note in ("tidal-lagoons", "tidal-streams", "costs", "../report.py")]),
    FACTS,
    FACTS,
    # The second: the manager is not content with the writer's draft, and sends it back.
    delegate("Writer", "Write a report on tidal power.", FACTS),
    DRAFT,
    delegate("Writer", "Write it again: yields and costs are missing, and so are the names of the notes.", FACTS),
    REPORT,
    REPORT,
]

with LoopbackEndpoint(SCRIPT, strict=True) as endpoint:
    os.environ["VLLM_BASE_URL"] = endpoint.url  # where LLM("vllm/...") looks for its server
    sys.argv = ["report.py", "tidal power", "--llm", "vllm/stand-in"]
    report.main()
