"""The examples of docs/interop.md that need another framework."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pytest

from oarlock import ToolCall
from oarlock.testing import ScriptedLLM

PAGE = (Path(__file__).parent.parent.parent / "docs" / "interop.md").read_text(encoding="utf-8")
WEATHER = ToolCall(id="1", name="weather", arguments='{"city": "Oslo"}')
PACKING = ToolCall(id="1", name="final_result", arguments='{"items": ["Sunglasses"]}')
SCRIPTS: dict[str, tuple[str, list[Any]]] = {  # for each heading: what has to be installed, and what the model says
    "CrewAI": ("crewai", [WEATHER, "Sunglasses."]),
    "LangChain": ("langchain", [WEATHER, "Sunglasses."]),
    "pydantic-ai": ("pydantic_ai", [PACKING]),
    "OpenAI Agents SDK": ("agents.models", [WEATHER, "Sunglasses."]),
    "What takes an OpenAI client": ("openai", ["Hello."]),
}
BLOCKS = re.findall(r"^## ([^\n]+)\n(?:(?!^## ).)*?^```py\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_every_example_is_known() -> None:
    assert [heading for heading, _ in BLOCKS] == list(SCRIPTS)
    assert PAGE.count("```py\n") == len(BLOCKS)


@pytest.mark.parametrize(("heading", "code"), BLOCKS, ids=[heading for heading, _ in BLOCKS])
def test_it_prints_what_the_page_says(heading: str, code: str) -> None:
    package, script = SCRIPTS[heading]
    pytest.importorskip(package, reason=f"{package} is not installed here: make interop")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "interop.md", "exec"), {"llm": ScriptedLLM(script, supports_function_calling=True)})
    assert re.findall(r"^#> (.*)$", code, re.MULTILINE) == printed.getvalue().strip().splitlines()[-1:]
