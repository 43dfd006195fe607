"""Every event in one place, and `to_dict`, which makes plain data of them.

`for event in crew.stream(inputs)` gives them as they happen, and so does `crew.kickoff(inputs, on_event=function)`.
"""

from oarlock.contract import events
from oarlock.contract.event_data import to_dict
from oarlock.contract.events import *  # noqa: F403  the list of them is there

__all__ = ["to_dict"]
__all__ += events.__all__
