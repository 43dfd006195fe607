"""Counters, histograms and gauges for Prometheus."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from telemetry_helpers import ADD, ANSWER, Seen, crew_of, events_of

from oarlock import Agent, ChatLLM, ConfigurationError, Crew, Task, ToolCall
from oarlock.auth import BearerToken
from oarlock.contract.errors import AuthenticationError, ServerError
from oarlock.contract.secret import Secret
from oarlock.policies import Cache, CircuitBreaker, Concurrency, Fallback, RateLimit, Retry
from oarlock.serve import ApiKey, create_app, serving
from oarlock.telemetry import Prometheus, instrument, uninstrument
from oarlock.testing import LoopbackEndpoint, ScriptedLLM, VirtualRuntime

DASHBOARD = Path(__file__).parents[2] / "examples" / "grafana-dashboard.json"


class Scraped:
    """A registry, and what a scrape of it gives."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.prometheus = Prometheus(self.registry)

    @property
    def text(self) -> str:
        return generate_latest(self.registry).decode()

    def __call__(self, name: str, **labels: str) -> float | None:
        value = self.registry.get_sample_value(name, labels)
        return None if value is None else round(value, 6)

    def names(self) -> set[str]:
        return {sample.name for family in text_string_to_metric_families(self.text) for sample in family.samples}


@pytest.fixture
def scraped() -> Iterator[Scraped]:
    made = Scraped()
    instrument(made.prometheus)
    yield made
    uninstrument()


@pytest.mark.parametrize("colour", ["blocking", "async"])
def test_calls_errors_tokens_and_waits_are_counted(scraped: Scraped, colour):
    def ask(llm: Any) -> None:
        if colour == "blocking":
            llm.call("Hi")
        else:
            asyncio.run(llm.acall("Hi"))

    with VirtualRuntime():
        llm = ScriptedLLM([ServerError("down", status=503), ANSWER], model="m", latency=2.0).with_policies(Retry())
        ask(llm)
        with pytest.raises(AuthenticationError):
            ask(ScriptedLLM([AuthenticationError("no")], model="m"))
    assert scraped("oarlock_calls_total", model="m", outcome="answered") == 1
    assert scraped("oarlock_calls_total", model="m", outcome="failed") == 1
    assert scraped("oarlock_call_errors_total", model="m", error="AuthenticationError") == 1
    assert scraped("oarlock_tokens_total", model="m", type="input") == 12
    assert scraped("oarlock_tokens_total", model="m", type="output") == 3
    assert scraped("oarlock_waits_total", model="m", cause="retry") == 1
    waited = scraped("oarlock_wait_seconds_total", model="m", cause="retry")
    assert waited is not None
    assert scraped("oarlock_call_duration_seconds_sum", model="m") == pytest.approx(4 + waited)
    assert scraped("oarlock_calls_in_progress", model="m") == 0


def test_a_stream_is_timed_to_its_first_piece_and_may_be_left(scraped: Scraped):
    llm = ScriptedLLM(["one two", "three four"], model="m")
    with llm.stream("Hi") as stream:
        next(stream)
        assert scraped("oarlock_calls_in_progress", model="m") == 1
    list(llm.stream("Hi"))
    assert scraped("oarlock_time_to_first_chunk_seconds_count", model="m") == 2
    assert scraped("oarlock_calls_total", model="m", outcome="abandoned") == 1
    assert scraped("oarlock_calls_in_progress", model="m") == 0


def test_a_fallback_counts_its_own_tokens_and_a_cache_none(scraped: Scraped):
    second = ScriptedLLM([ANSWER], model="second")
    first = ScriptedLLM([ServerError("down", status=503)], model="first").with_policies(Cache(), Fallback(second))
    first.call("Hi")
    cached = ScriptedLLM([ANSWER], model="cached").with_policies(Cache())
    cached.call("Hi")
    cached.call("Hi")
    assert scraped("oarlock_fallbacks_total", model="first", to="second") == 1
    assert scraped("oarlock_tokens_total", model="first", type="input") is None
    assert scraped("oarlock_tokens_total", model="second", type="input") == 12
    assert scraped("oarlock_cache_hits_total", model="cached") == 1
    assert scraped("oarlock_tokens_total", model="cached", type="input") == 12


def test_circuits_and_limits_show_how_they_stand(scraped: Scraped):
    with LoopbackEndpoint([503, "Hello"]) as endpoint:
        rate = RateLimit(requests_per_minute=2, tokens_per_minute=100_000, burst=2)
        llm = ChatLLM("m", endpoint.url, policies=[CircuitBreaker(minimum_calls=1), rate, Concurrency(3)])
        scraped.prometheus.bind(llm)
        name = llm.endpoint_name() or ""
        state = {"endpoint": name, "state": "closed"}
        assert scraped("oarlock_circuit_state", **state) == 1
        assert scraped("oarlock_rate_limit_fill_ratio", endpoint=name, unit="requests") == 0
        with pytest.raises(ServerError):
            llm.call("Hi")
        assert scraped("oarlock_circuit_state", **state) == 0
        assert scraped("oarlock_circuit_state", endpoint=name, state="open") == 1
        assert scraped("oarlock_circuit_changes_total", endpoint=name, state="open") == 1
        assert 0 < (scraped("oarlock_rate_limit_fill_ratio", endpoint=name, unit="requests") or 0) <= 0.5
        assert 0 < (scraped("oarlock_rate_limit_fill_ratio", endpoint=name, unit="tokens") or 0) < 1
        assert scraped("oarlock_concurrency_places", endpoint=name, which="limit") == 3
        assert scraped("oarlock_concurrency_places", endpoint=name, which="taken") == 0
        assert scraped("oarlock_calls_waiting", endpoint=name, cause="rate_limit") == 0


def test_runs_tasks_and_tools_are_counted(scraped: Scraped):
    crew_of(ADD, ToolCall(id="2", name="add", arguments="{}"), "three").kickoff()
    with pytest.raises(AuthenticationError):
        crew_of(AuthenticationError("no")).kickoff()
    assert scraped("oarlock_runs_total", crew="boat", outcome="answered") == 1
    assert scraped("oarlock_runs_total", crew="boat", outcome="failed") == 1
    assert scraped("oarlock_run_duration_seconds_count", crew="boat") == 2
    assert scraped("oarlock_tasks_total", agent="Cox", outcome="failed") == 1
    assert scraped("oarlock_tool_runs_total", tool="add", outcome="answered") == 1
    assert scraped("oarlock_tool_runs_total", tool="add", outcome="failed") == 1
    assert scraped("oarlock_tool_duration_seconds_count", tool="add") == 2


def test_sign_ins_are_counted_and_no_key_is_in_a_label(scraped: Scraped):
    canary = "canary-5f1e07b2-key"
    with LoopbackEndpoint(["Hello"]) as endpoint:
        ChatLLM("m", endpoint.url, auth=BearerToken(lambda: canary)).call("Hi")
        scraped.prometheus.bind(ChatLLM("m", f"{endpoint.url}?key={canary}", policies=[Concurrency(1)]))
    assert scraped("oarlock_sign_ins_total", method="BearerToken", why="first use") == 1
    assert canary not in scraped.text


def test_names_that_models_make_up_cannot_fill_the_memory(scraped: Scraped):
    calls = [[ToolCall(id=f"{number}", name=f"made_up_{number}")] for number in range(105)]
    llm = ScriptedLLM([*calls, "done"], model="m", supports_function_calling=True)
    agent = Agent(role="Cox", goal="g", backstory="", llm=llm, tools=[crew_of().agents[0].tools[0]], max_iter=200)
    Crew(agents=[agent], tasks=[Task(description="x", expected_output="y", agent=agent)]).kickoff()
    assert scraped("oarlock_tool_runs_total", tool="other", outcome="failed") == 5


def test_a_registry_has_the_metrics_once():
    registry = CollectorRegistry()
    Prometheus(registry)
    with pytest.raises(ConfigurationError, match="has Oarlock's metrics already"):
        Prometheus(registry)
    with pytest.raises(ConfigurationError, match="registry must be a"):
        Prometheus("default")


@pytest.mark.parametrize("first", ["otel", "prometheus"])
def test_beside_opentelemetry_both_see_everything(scraped: Scraped, seen: Seen, first):
    uninstrument()
    both = [seen.telemetry(), scraped.prometheus]
    instrument(*(both if first == "otel" else both[::-1]))
    with LoopbackEndpoint([500, "Hello"]) as endpoint, VirtualRuntime():
        second = ChatLLM("second", endpoint.url, auth=BearerToken(lambda: "a-token"))
        llm = ScriptedLLM([ServerError("down", status=503)], model="first").with_policies(Fallback(second))
        assert "".join(map(str, llm.stream("Hi"))) == "Hello"
    assert seen.tree() == ["chat first", "  chat second"]
    tokens = seen.span("chat second").attributes["gen_ai.usage.input_tokens"]
    assert scraped("oarlock_tokens_total", model="second", type="input") == tokens > 0
    assert scraped("oarlock_tokens_total", model="first", type="input") is None
    assert "gen_ai.usage.input_tokens" not in seen.span("chat first").attributes
    assert [name for name, _ in events_of(seen.span("chat second"))] == [
        "oarlock.signed_in",
        "oarlock.retry",
        "oarlock.waited",
    ]
    assert scraped("oarlock_sign_ins_total", method="BearerToken", why="first use") == 1
    assert [name for name, _ in events_of(seen.span("chat first"))] == ["oarlock.fallback"]
    assert scraped("oarlock_waits_total", model="second", cause="retry") == 1
    assert scraped("oarlock_waits_total", model="first", cause="retry") is None  # it would count twice


def test_as_a_policy_it_counts_one_llm():
    scraped = Scraped()
    llm = ScriptedLLM(["a", "b"], model="m").with_policies(scraped.prometheus)
    llm.call("Hi")
    ScriptedLLM(["a"], model="n").with_policies(scraped.prometheus.__call__).call("Hi")
    assert scraped("oarlock_calls_total", model="m", outcome="answered") == 1
    assert scraped("oarlock_calls_total", model="custom", outcome="answered") == 1
    assert "Counts each call" in scraped.prometheus.explain()
    assert repr(scraped.prometheus) == "Prometheus()"


def expressions(panels: list[dict[str, Any]]) -> Iterator[str]:
    for panel in panels:
        yield from (target["expr"] for target in panel.get("targets", ()))
        yield from expressions(panel.get("panels", []))


def test_the_dashboard_asks_for_metrics_that_there_are(scraped: Scraped):
    families = {
        f"{name}{suffix}"
        for family in scraped.registry.collect()
        for name in [family.name]
        for suffix in {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
    }
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    asked = {
        name
        for expression in [
            *expressions(dashboard["panels"]),
            *(
                variable["query"]["query"]
                for variable in dashboard["templating"]["list"]
                if variable["type"] == "query"
            ),
        ]
        for name in re.findall(r"\boarlock_\w+", expression)
    }
    assert asked <= families
    assert len(asked) > 12


def test_the_dashboard_is_one_that_grafana_takes():
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    assert {"title", "uid", "schemaVersion", "panels", "templating", "time"} <= dashboard.keys()
    assert dashboard["id"] is None  # else an import would take the place of another dashboard
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken
        taken |= cells
        if panel["type"] != "row":
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert all(target["refId"] and target["datasource"] == panel["datasource"] for target in panel["targets"])


@pytest.mark.parametrize("key", [None, "a-key-of-at-least-16-characters"])
def test_a_server_shows_the_figures_to_those_with_its_keys(scraped: Scraped, key):
    keys = [] if key is None else [ApiKey("prometheus", Secret(key))]
    app = create_app({"mine": ScriptedLLM(["Hello"], model="m")}, keys=keys, metrics=scraped.prometheus)
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    with serving(app) as url, httpx2.Client(base_url=url) as client:
        body = {"model": "mine", "messages": [{"role": "user", "content": "Hi"}]}
        assert client.post("/v1/chat/completions", json=body, headers=headers).status_code == 200
        shown = client.get("/metrics", headers=headers)
        assert 'oarlock_calls_total{model="m",outcome="answered"} 1.0' in shown.text
        assert shown.headers["content-type"].startswith("text/plain")
        openmetrics = client.get("/metrics", headers={**headers, "accept": "application/openmetrics-text"})
        assert openmetrics.text.endswith("# EOF\n")
        assert client.get("/metrics").status_code == (200 if key is None else 401)


def test_a_server_without_metrics_has_none():
    with serving(create_app({"mine": ScriptedLLM(["Hello"])})) as url:
        assert httpx2.get(f"{url}/metrics").status_code == 404
