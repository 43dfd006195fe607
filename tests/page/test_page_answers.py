"""Every class and fragment of the page answers: directly, in agents and crews, blocking, async, inside a running loop."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from page_blocks import all_names, block, execute, page_class, page_llm

from oarlock.testing.endpoint import JwtIssuer, require_bearer

ANSWERING = ["basic", "try_except", "retry", "validate_input", "jwt", "logging", "rate_limiting", "metrics"]
ANSWERING += ["function_calling"]


def crew_of(llm: Any, **settings: Any) -> Any:
    from crewai import Agent, Crew, Task

    agent = Agent(role="Research Assistant", goal="Find information", backstory="You research.", llm=llm)
    task = Task(description="Research {topic}", agent=agent, expected_output="A summary")
    return Crew(agents=[agent], tasks=[task], **settings)


EXERCISE = {"topic": "the benefits of exercise"}


def test_there_are_eleven_blocks() -> None:
    assert len(all_names()) == 11
    assert set(all_names()) == {*ANSWERING, "auth_errors", "crew"}


@pytest.mark.parametrize("name", ANSWERING)
def test_called_directly(name: str, serve: Any) -> None:
    endpoint = serve("Hello there.", auth=require_bearer("a-key"))
    llm = page_llm(name, endpoint.url)

    assert llm.call("Hi") == "Hello there."
    assert llm.call([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]) == "Hello there."
    assert [len(request.json["messages"]) for request in endpoint.requests] == [1, 2]
    assert [request.prompt for request in endpoint.requests] == ["Hi", "Hi"]


@pytest.mark.parametrize("name", ANSWERING)
def test_in_an_agent(name: str, serve: Any) -> None:
    from crewai import Agent, Task

    endpoint = serve("Exercise is good.")
    agent = Agent(role="Research Assistant", goal="Find", backstory="You research.", llm=page_llm(name, endpoint.url))
    task = Task(description="Research the benefits of exercise", agent=agent, expected_output="A summary")

    assert agent.execute_task(task) == "Exercise is good."
    system, user = endpoint.requests[0].json["messages"]
    assert system["role"] == "system"
    assert "Research Assistant" in system["content"]
    assert "benefits of exercise" in user["content"]


@pytest.mark.parametrize("name", ANSWERING)
def test_in_a_crew(name: str, serve: Any) -> None:
    endpoint = serve("Exercise is good.")

    result = crew_of(page_llm(name, endpoint.url)).kickoff(inputs=EXERCISE)

    assert str(result) == result.raw == "Exercise is good."
    assert result.tasks_output[0].agent == "Research Assistant"
    assert result.token_usage.successful_requests == 1
    assert result.token_usage.total_tokens > 0
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize("name", ANSWERING)
async def test_on_an_event_loop(name: str, serve: Any) -> None:
    endpoint = serve("Exercise is good.")
    llm = page_llm(name, endpoint.url)
    crew = crew_of(llm)

    assert (await crew.akickoff(inputs=EXERCISE)).raw == "Exercise is good."
    assert (await crew.kickoff_async(inputs=EXERCISE)).raw == "Exercise is good."
    assert await llm.acall("Hi") == "Exercise is good."
    # blocking doors, inside the running loop
    assert crew.kickoff(inputs=EXERCISE).raw == "Exercise is good."
    assert crew.agents[0].kickoff("Hi").raw == "Exercise is good."
    assert llm.call("Hi") == "Exercise is good."
    assert len(endpoint.requests) == 6


@pytest.mark.parametrize("name", ["jwt", "function_calling", "metrics"])
async def test_one_crew_runs_many_times_at_once(name: str, serve: Any) -> None:
    endpoint = serve(lambda request: request.prompt.split("\n")[0])
    crew = crew_of(page_llm(name, endpoint.url))

    results = await asyncio.gather(*(crew.akickoff(inputs={"topic": number}) for number in range(20)))

    assert [result.raw for result in results] == [f"Research {number}" for number in range(20)]


@pytest.mark.parametrize("name", ANSWERING)
def test_the_parts_of_a_class_mean_what_the_page_says(name: str) -> None:
    llm = page_llm(name, "http://127.0.0.1:9")
    says_so = name in ("basic", "jwt", "function_calling")

    assert llm.supports_function_calling() is says_so
    assert llm.supports_stop_words() is says_so
    assert llm.get_context_window_size() == 8192
    assert llm.stop == []


def test_a_key_never_shows(serve: Any) -> None:
    llm = page_llm("jwt", serve(401).url, "very-secret-token-value")
    crew = crew_of(llm)
    with pytest.raises(ValueError) as caught:
        crew.kickoff(inputs=EXERCISE)
    shown = f"{llm!r} {crew!r} {crew.agents[0]!r} {caught.value!r} {caught.value}"
    assert "very-secret" not in shown


def run_crew_block(url: str, token: str) -> None:
    text = block("crew").replace("https://your-llm-endpoint.com/v1", url).replace("your.jwt.token", token)
    assert url in text
    assert token in text
    execute(block("jwt"), text)


def test_using_your_custom_llm(serve: Any, capsys: pytest.CaptureFixture[str]) -> None:
    issuer = JwtIssuer(secret="s")
    endpoint = serve("Stronger heart.", "Better sleep.", auth=issuer.check, strict=True)

    run_crew_block(endpoint.url, issuer.issue("ada"))

    assert capsys.readouterr().out == "Stronger heart.\nBetter sleep.\n"
    assert len(endpoint.requests) == 2
    for request in endpoint.requests:
        assert "A summary of the benefits of exercise" in request.prompt


async def test_using_your_custom_llm_inside_a_running_loop(serve: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run_crew_block(serve("Stronger heart.").url, "a.b.c")
    assert capsys.readouterr().out == "Stronger heart.\nStronger heart.\n"


def test_using_your_custom_llm_with_an_expired_token(serve: Any) -> None:
    from oarlock import AuthenticationError

    issuer = JwtIssuer(secret="s")
    endpoint = serve("Never said.", auth=issuer.check)
    with pytest.raises(AuthenticationError, match="Authentication failed: Invalid JWT token"):
        run_crew_block(endpoint.url, issuer.issue("ada", lifetime=-1))
    assert len(endpoint.requests) == 1  # a wrong key costs one request


def test_the_manager_llm_serves_agents_without_one(serve: Any) -> None:
    from crewai import Agent, Crew, Task

    llm = page_llm("jwt", serve("From the manager.").url)
    agent = Agent(role="Assistant", goal="Help", backstory="")
    crew = Crew(agents=[agent], tasks=[Task(description="Help", agent=agent)], manager_llm=llm)
    assert crew.kickoff().raw == "From the manager."


def test_a_token_renewed_between_runs_is_used_at_once(serve: Any) -> None:
    issuer = JwtIssuer(secret="s")
    endpoint = serve("Let in.", auth=issuer.check)
    llm = page_llm("jwt", endpoint.url, issuer.issue("ada", lifetime=-1))
    crew = crew_of(llm)
    with pytest.raises(ValueError, match="Authentication failed"):
        crew.kickoff(inputs=EXERCISE)

    llm.jwt_token = issuer.issue("ada")

    assert crew.kickoff(inputs=EXERCISE).raw == "Let in."


def test_two_tasks_the_second_sees_the_first(serve: Any) -> None:
    from crewai import Agent, Crew, Process, Task

    endpoint = serve("Facts.", "A text.")
    agent = Agent(role="Writer", goal="Write", backstory="", llm=page_llm("basic", endpoint.url))
    tasks = [Task(description="Find facts", agent=agent), Task(description="Write", agent=agent)]

    result = Crew(agents=[agent], tasks=tasks, process=Process.sequential).kickoff()

    assert [output.raw for output in result.tasks_output] == ["Facts.", "A text."]
    assert "Facts." in endpoint.requests[1].prompt


def test_stop_words_in_a_tool_loop_are_per_run(serve: Any) -> None:
    """The page's classes take `self.stop = []`; a ReAct run neither changes it nor leaks into it."""
    from crewai.tools import tool

    @tool
    def weather(city: str) -> str:
        """Tell the weather."""
        return f"Rain in {city}."

    written = 'Thought: look\nAction: weather\nAction Input: {"city": "Oslo"}\nObservation: Sun.\nFinal Answer: Sun.'
    endpoint = serve(written, "Thought: I know\nFinal Answer: Rain.")
    llm = page_llm("metrics", endpoint.url)  # no function calling: works through text
    crew = crew_of(llm)
    crew.agents[0].tools = [weather]

    assert crew.kickoff(inputs=EXERCISE).raw == "Rain."
    assert endpoint.requests[1].prompt == "Observation: Rain in Oslo."
    assert llm.stop == []
    assert llm.get_metrics()["total_calls"] == 2


def test_classes_keep_their_signatures() -> None:
    import inspect

    assert list(inspect.signature(page_class("jwt")).parameters) == ["jwt_token", "endpoint"]
    assert list(inspect.signature(page_class("jwt").call).parameters)[1:] == [
        "messages",
        "tools",
        "callbacks",
        "available_functions",
    ]
