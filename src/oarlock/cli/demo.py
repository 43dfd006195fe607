"""`oarlock demo`: a signed-in crew on a real local model, with an endpoint that misbehaves a little."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from oarlock import Agent, ChatLLM, Crew, CrewOutput, LocalLLM, Task
from oarlock.auth import BearerToken
from oarlock.cli.progress import Steps
from oarlock.contract.events import Event, SignedIn
from oarlock.policies import Deadline, Metrics, Retry
from oarlock.testing import JwtIssuer, LoopbackEndpoint, Status
from oarlock.testing.endpoint import RecordedRequest

_TOKEN_LIFETIME = 1.0  # seconds: short enough to expire while the crew works
_FAILS_AT = 2  # the request that is answered with a 503 and the advice to come back in a second
_DEADLINE = 80.0  # seconds for any one call, so that the demo ends within its minute and a half


def run_demo(model: Path | None) -> None:
    """Start a local model behind a JWT check on loopback, and let the crew of the well-known page work with it."""
    console = Console(highlight=False)
    local = LocalLLM(model, context_window=1024, temperature=0.0, max_tokens=110)
    issuer = JwtIssuer(secret=secrets.token_hex(32), lifetime=_TOKEN_LIFETIME)
    metrics, renewals = Metrics(), Counter[str]()
    console.print(f"Loading {Path(local.model).name}: a real language model, in this process, offline, with no key ...")
    try:
        local.load()
        with LoopbackEndpoint([_Gateway(local)], auth=issuer.check) as endpoint:
            llm = ChatLLM(
                "smollm2-135m",
                endpoint.url,
                auth=BearerToken(lambda: issuer.issue("demo")),
                policies=[Deadline(_DEADLINE), Retry(), metrics],
            )
            _introduce(console, endpoint)
            started = time.monotonic()
            result = _watch(console, _crew(llm), renewals)
            _conclude(console, result, metrics, renewals, len(endpoint.requests), time.monotonic() - started)
    finally:
        local.close()


class _Gateway:
    """What stands behind the endpoint: the model, and one bad moment."""

    def __init__(self, llm: LocalLLM) -> None:
        self._llm = llm
        self._requests = 0

    def __call__(self, request: RecordedRequest) -> str | Status:
        self._requests += 1
        if self._requests == _FAILS_AT:
            return Status(503, headers={"Retry-After": "1"})
        return str(self._llm.call(request.json["messages"]))


def _crew(llm: ChatLLM) -> Crew:
    researcher = Agent(
        role="Research Assistant",
        goal="Find information on a topic",
        backstory="You are a research assistant tasked with finding information.",
        llm=llm,
    )
    writer = Agent(
        role="Health Writer",
        goal="Turn facts into advice",
        backstory="You write short, friendly texts for busy people.",
        llm=llm,
    )
    research = Task(
        description="Research the benefits of exercise",
        expected_output="A summary of the benefits of exercise",
        agent=researcher,
    )
    advice = Task(
        description="Write a short piece of advice for somebody who sits at a desk all day.",
        expected_output="Two or three friendly sentences",
        agent=writer,
    )
    return Crew(agents=[researcher, writer], tasks=[research, advice])


def _introduce(console: Console, endpoint: LoopbackEndpoint) -> None:
    console.print(f"It answers at {endpoint.url}, to whoever signs in with a JWT. Tokens last {_TOKEN_LIFETIME:g} s.")
    console.print()


def _watch(console: Console, crew: Crew, renewals: Counter[str]) -> CrewOutput:
    with Steps(console, total=len(crew.tasks)) as steps:

        def listen(event: Event) -> None:
            if isinstance(event, SignedIn):
                renewals[event.why] += 1
            steps.show(event)

        return crew.kickoff(on_event=listen)


def _conclude(
    console: Console, result: CrewOutput, metrics: Metrics, renewals: Counter[str], requests: int, seconds: float
) -> None:
    console.print()
    for output in result.tasks_output:
        console.print(f"[bold]{escape(output.agent)}[/bold]: {escape(output.description)}")
        console.print(escape(output.raw.strip()), soft_wrap=not console.is_terminal)
        console.print()
    figures = metrics.get_metrics()
    table = Table(title="What it took", title_justify="left", show_header=False)
    table.add_row("Model calls", f"{figures['total_calls']}, in {requests} requests")
    table.add_row("Tokens", f"{figures['prompt_tokens']} read, {figures['completion_tokens']} written")
    table.add_row("Sign-ins", f"{renewals['first use']}, and {renewals.total() - renewals['first use']} renewals")
    table.add_row(
        "Retries", f"{figures['waits'].get('retry', 0)}, waiting {figures['waiting'].get('retry', 0.0):.1f} s"
    )
    table.add_row("Time", f"{seconds:.1f} s")
    console.print(table)
