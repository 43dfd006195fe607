"""A crew under a manager researches a topic in your notes and writes a report.

Run it with: python report.py "tidal power" --llm ollama/llama3.2
"""

import argparse
from pathlib import Path

from oarlock import LLM, Agent, BaseLLM, Crew, Process, Task, tool

NOTES = Path(__file__).with_name("notes")


@tool
def list_notes() -> str:
    """List the notes that there are: the name of each and its title."""
    return "\n".join(
        f"{path.stem}: {path.read_text().splitlines()[0].strip('# ')}" for path in sorted(NOTES.glob("*.md"))
    )


@tool
def read_note(name: str) -> str:
    """Read one of the notes.

    Args:
        name: as list_notes gives it.
    """
    notes = {path.stem: path for path in NOTES.glob("*.md")}  # only these: a model may ask for any path
    if name not in notes:
        raise ValueError(f"There is no note {name!r}. There are: {', '.join(sorted(notes))}.")
    return notes[name].read_text()


def research_crew(llm: BaseLLM) -> Crew:
    """Return a manager's crew, whose report ends up in report.md."""
    researcher = Agent(
        role="Researcher",
        goal="Find what the notes say, and say in which of them it stands",
        backstory="You never guess. What no note says, you do not know.",
        tools=[list_notes, read_note],
    )
    writer = Agent(
        role="Writer",
        goal="Write short reports that a busy reader understands at once",
        backstory="You were a journalist. You put the most important sentence first.",
    )
    research = Task(
        name="research",
        description="Find out about {topic}: how it works, what it yields, what it costs.",
        expected_output="Facts, one a line, each with the name of its note in brackets",
    )
    report = Task(
        name="report",
        description="Write a report on {topic} from the facts that were found.",
        expected_output="A title and at most three short paragraphs, each claim with the name of its note in brackets",
        output_file="report.md",
        markdown=True,
    )
    return Crew(
        agents=[researcher, writer],
        tasks=[research, report],
        process=Process.hierarchical,
        manager_llm=llm,  # also that of the two agents, which have none of their own
        verbose=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("topic")
    parser.add_argument("--llm", default="openai/gpt-4o", help="such as ollama/llama3.2 or anthropic/claude-sonnet-4-5")
    given = parser.parse_args()
    result = research_crew(LLM(given.llm)).kickoff({"topic": given.topic})
    print(result)
    print(f"\nWritten to report.md, with {result.token_usage.requests} model calls.")


if __name__ == "__main__":
    main()
