"""Records to be read: of runs that happened, and of what may become of a file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from oarlock import Agent, BadRequestError, Crew, ServerError, Task, ToolCall, tool
from oarlock.policies import Retry
from oarlock.testing import ScriptedLLM, VirtualRuntime

HOSTILE = "<img src=x onerror=alert(1)><script>document.title='pwned'</script></script><!-- \x1b[31m\u202e\u2028 ]]>"


@tool
def look_up(topic: str) -> str:
    """Look a topic up."""
    return f"Known about {topic}: {HOSTILE}"


def recorded_run(path: Path, *, hostile: str = "", error: Exception | None = None, **settings: Any) -> Path:
    """Record a run of two tasks: a tool, a failure that a retry mends, a guardrail; and an error at its end, if wanted."""
    asks = ToolCall(id="c1", name="look_up", arguments=json.dumps({"topic": f"boats {hostile}"}))
    script = [
        asks,
        f"First{hostile}",
        ServerError(f"bad gateway {hostile}", status=502),
        f"Draft{hostile}",
        error or "Last",
    ]
    llm = ScriptedLLM(script, supports_function_calling=True, latency=2.0, model="gpt-x")
    agent = Agent(role=f"Clerk{hostile}", goal="Know", llm=llm.with_policies(Retry()), tools=[look_up])
    verdicts = iter([(False, f"Say more.{hostile}"), (True, "")])
    tasks = [
        Task(name=f"find{hostile}", description=f"About boats {hostile}", agent=agent),
        Task(name="write", description="Write", agent=agent, guardrail=lambda output: next(verdicts)),
    ]
    crew = Crew(agents=[agent], tasks=tasks, name=f"rowers{hostile}")
    with VirtualRuntime():
        try:
            crew.kickoff(record=settings.get("record", path))
        except BadRequestError:
            assert error is not None
    return path


def line_of(**facts: Any) -> str:
    return json.dumps(facts) + "\n"


def blocks_of(page: str) -> dict[str, Any]:
    """Return what is in the blocks of data of a page."""
    found = re.findall(r'<script type="application/json" id="([\w-]+)">(.*?)</script>', page, re.DOTALL)
    return {name: json.loads(text) for name, text in found}
