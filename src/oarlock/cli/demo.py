"""`oarlock demo`: a signed-in crew on a real local model, with an endpoint that misbehaves a little."""

from __future__ import annotations

import secrets
import sys
import time
from collections import Counter
from pathlib import Path

from rich.box import ROUNDED
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from oarlock import Agent, ChatLLM, Crew, CrewOutput, LocalLLM, Task
from oarlock.auth import BearerToken
from oarlock.contract.events import Event, SignedIn
from oarlock.policies import Deadline, Metrics, Retry
from oarlock.testing import JwtIssuer, LoopbackEndpoint, Status
from oarlock.testing.endpoint import RecordedRequest

_TOKEN_LIFETIME = 1.0  # seconds: short enough to expire while the crew works
_FAILS_AT = 2  # the request that is answered with a 503 and the advice to come back in a second
_DEADLINE = 80.0  # seconds for any one call, so that the demo ends within its minute and a half


def run_demo(model: Path | None) -> None:
    """Start a local model behind a JWT check on loopback, and let the crew of the well-known page work with it."""
    # One paragraph an answer, cut where it grows long: a small model repeats itself after that.
    local = LocalLLM(model, context_window=1024, temperature=0.0, max_tokens=160, stop="\n\n", on_length="return")
    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    console.print(f"Loading {local.model}: a real language model, in this process, offline, with no key ...")
    with local.load():
        issuer = JwtIssuer(secret=secrets.token_hex(32), lifetime=_TOKEN_LIFETIME)
        with LoopbackEndpoint([_Gateway(local)], auth=issuer.check) as endpoint:
            _Demonstration(console, endpoint, issuer).run()


class _Demonstration:
    """The crew at work, and what it took."""

    def __init__(self, console: Console, endpoint: LoopbackEndpoint, issuer: JwtIssuer) -> None:
        self._console = console
        self._endpoint = endpoint
        self._metrics = Metrics()
        self._sign_ins: Counter[str] = Counter()
        self._llm = ChatLLM(
            "smollm2-135m",
            endpoint.url,
            auth=BearerToken(lambda: issuer.issue("demo")),
            policies=[Deadline(_DEADLINE), Retry(), self._metrics],
        )

    def run(self) -> None:
        url = self._endpoint.url
        self._console.print(f"It answers at {url}, to whoever signs in with a JWT. Tokens last {_TOKEN_LIFETIME:g} s.")
        self._console.print()
        started = time.monotonic()
        result = self._watch(_crew(self._llm))
        self._show(result)
        self._sum_up(time.monotonic() - started)

    def _watch(self, crew: Crew) -> CrewOutput:
        def listen(event: Event) -> None:
            if isinstance(event, SignedIn):
                self._sign_ins[event.why] += 1

        return crew.kickoff(on_event=listen)

    def _show(self, result: CrewOutput) -> None:
        self._console.print()
        for output in result.tasks_output:
            self._console.print(f"[bold]{escape(output.agent)}[/bold]: {escape(output.description)}")
            self._console.print(escape(output.raw.strip()))
            self._console.print()

    def _sum_up(self, seconds: float) -> None:
        figures = self._metrics.get_metrics()
        renewals = self._sign_ins.total() - self._sign_ins["first use"]
        waits, waited = figures["waits"].get("retry", 0), figures["waiting"].get("retry", 0.0)
        table = Table(title="What it took", title_justify="left", show_header=False)
        table.box = ROUNDED if self._console.is_terminal else None
        table.add_row("Model calls", f"{figures['total_calls']}, in {len(self._endpoint.requests)} requests")
        table.add_row("Tokens", f"{figures['prompt_tokens']} read, {figures['completion_tokens']} written")
        table.add_row("Sign-ins", f"{self._sign_ins['first use']}, and {renewals} renewals of an expired token")
        table.add_row("Retries", f"{waits}, after waiting {waited:.1f} s")
        table.add_row("Time", f"{seconds:.1f} s")
        self._console.print(table)


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
    coach = Agent(
        role="Health Coach",
        goal="Help people to move more",
        backstory="You write short, friendly texts for busy people.",
        llm=llm,
    )
    research = Task(
        description="Research the benefits of exercise",
        expected_output="A summary of the benefits of exercise",
        agent=researcher,
    )
    advice = Task(
        description="Suggest one easy exercise for somebody who sits at a desk all day.",
        expected_output="One short paragraph",
        agent=coach,
        context=[],  # so small a model would repeat what it is shown
    )
    return Crew(agents=[researcher, coach], tasks=[research, advice], verbose=True)
