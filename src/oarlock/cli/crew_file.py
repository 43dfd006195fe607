"""`oarlock run crew.yaml`: a whole crew from one file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from oarlock.contract.errors import ConfigurationError
from oarlock.project.crew_file import load_crew

__all__ = ["run_crew_file"]


def run_crew_file(path: Path, inputs: Sequence[str], llm: str | None = None, record: Path | None = None) -> None:
    """Run the crew of a YAML file and print its answer; what happens meanwhile goes to standard error.

    Args:
        path: the file.
        inputs: each as NAME=VALUE.
        llm: the name of an LLM in place of those in the file.
        record: where to record the run.

    Raises:
        ConfigurationError: the file cannot be read, or something in it is wrong; the message says where.
    """
    crew = load_crew(path, llm=llm)
    crew.streams = False  # the answer is printed as a whole
    try:
        print(crew.kickoff(_inputs(inputs), record=record))
    except ConfigurationError as error:
        if "needs an input" in str(error):
            error.add_note("On the command line: --input NAME=VALUE.")
        raise


def _inputs(pairs: Sequence[str]) -> dict[str, str]:
    inputs = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise ConfigurationError(f"An input is given as NAME=VALUE, not {pair!r}.")
        inputs[name] = value
    return inputs
