"""Whatever stands in a crew file: a crew comes of it, or one `ConfigurationError` that names the file."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from oarlock import ConfigurationError, Crew
from oarlock.project import load_crew
from oarlock.testing import ScriptedLLM

WORDS = """llm llms agents tasks poet line role goal description agent context tools model policies retry deadline fallback
budget base_url auth process verbose guardrails x"""
NAMES = st.sampled_from(WORDS.split())
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.floats(),
    st.text(max_size=5),
    NAMES,
    st.just("ollama/m"),
    st.just("json:dumps"),
)
VALUES = st.recursive(
    SCALARS, lambda below: st.lists(below, max_size=3) | st.dictionaries(NAMES, below, max_size=4), max_leaves=12
)
FILES = st.fixed_dictionaries(
    {},
    optional={
        "agents": st.dictionaries(NAMES, st.fixed_dictionaries({"role": SCALARS, "goal": SCALARS}, optional={"llm": VALUES}), max_size=2)
        | VALUES,
        "tasks": st.dictionaries(NAMES, st.dictionaries(NAMES, VALUES, max_size=3), max_size=2) | VALUES,
        "llm": VALUES,
        "llms": VALUES,
        "budget": VALUES,
        "tools": VALUES,
        "manager_llm": VALUES,
    },
)  # fmt: skip


def tried(content: Any, **arguments: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "crew.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        try:
            assert isinstance(load_crew(path, **arguments), Crew)
        except ConfigurationError as error:
            if "crew.yaml" not in str(error):
                raise


@given(VALUES | FILES)
def test_any_file(content: Any) -> None:
    tried(content)


GOOD = {
    "llm": {
        "model": "ollama/m",
        "policies": ["log", {"retry": {"attempts": 2}}, {"deadline": 5}, {"fallback": ["groq/m"]}],
    },
    "llms": {"fast": {"model": "m", "base_url": "http://127.0.0.1:9/v1", "options": {"top_p": 1}, "stop": ["x"]}},
    "manager_llm": "fast",
    "process": "sequential",
    "budget": {"tokens": 5},
    "before_kickoff_callbacks": ["json:dumps"],
    "agents": {
        "one": {
            "role": "One",
            "goal": "G",
            "backstory": "B",
            "llm": "fast",
            "tools": [],
            "max_iter": 3,
            "verbose": False,
        },
        "two": {"role": "Two", "goal": "G", "step_callback": "json:dumps"},
    },
    "tasks": {
        "a": {"description": "A", "agent": "one", "callback": "json:dumps", "guardrails": ["It is short."]},
        "b": {"description": "B", "agent": "two", "context": ["a"], "condition": "json:dumps", "output_file": "f.txt"},
    },
    "verbose": False,
}


def paths(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [above, *(path for key, one in inside for path in paths(one, (*above, key)))][bool(not above) :]


@given(st.sampled_from(paths(GOOD)), VALUES, st.booleans())
def test_a_good_file_with_one_thing_changed(path: tuple[Any, ...], value: Any, scripted: bool) -> None:
    content = copy.deepcopy(GOOD)
    place: Any = content
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    tried(content, llm=ScriptedLLM([]) if scripted else None)


def test_the_good_file_is_good() -> None:
    tried(GOOD)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "crew.yaml"
        path.write_text(yaml.safe_dump(GOOD, sort_keys=False))
        assert len(load_crew(path).tasks) == 2


@given(FILES)
def test_any_file_with_a_scripted_llm(content: Any) -> None:
    tried(content, llm=ScriptedLLM([]))
