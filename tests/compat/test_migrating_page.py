"""docs/migrating-from-crewai.md: what it says works is there, and what it says is left out says so."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import oarlock.compat.crewai
from oarlock import ConfigurationError
from oarlock.compat import NotInOarlockError, as_crewai
from oarlock.compat.crewai import LLM, Agent, Crew, Task

PAGE = (Path(__file__).parents[2] / "docs" / "migrating-from-crewai.md").read_text(encoding="utf-8")
LEFT_OUT = PAGE[PAGE.index("## What is left out") :]
CELLS = [line.split(" | ")[0] for line in LEFT_OUT.splitlines() if line.startswith("| ")]
CODE = [code for cell in CELLS for code in re.findall(r"`([^`]+)`", cell)]
IMPORTS = [code for code in CODE if code.startswith("from crewai")]
CALLS = [code.replace("...", "'...'") for code in CODE if re.match(r"(Agent|Crew|LLM)\(", code) and "Model" not in code]


@pytest.fixture(autouse=True)
def names() -> Iterator[None]:
    with as_crewai(force=True):
        yield


def test_the_page_was_understood() -> None:
    assert len(IMPORTS) >= 8
    assert len(CALLS) >= 6


@pytest.mark.parametrize("statement", IMPORTS)
def test_imports_that_are_left_out(statement: str) -> None:
    with pytest.raises(NotInOarlockError, match="is not in Oarlock: "):
        exec(statement)


@pytest.mark.parametrize("call", CALLS)
def test_arguments_that_are_left_out(call: str) -> None:
    given = {"Agent": "role='R', goal='G', backstory='B', ", "Crew": "tasks=[], ", "LLM": ""}
    kind = call.partition("(")[0]
    with pytest.raises(ConfigurationError, match="is not in Oarlock: "):
        eval(call.replace("(", f"({given[kind]}", 1), {"Agent": Agent, "Crew": Crew, "LLM": LLM, "Task": Task})


@pytest.mark.parametrize("row", ["agents, tasks, crews", "projects", "tools", "streams", "events"])
def test_names_that_work_are_there(row: str) -> None:
    (cell,) = re.findall(rf"^\| {row} \| (.*) \|$", PAGE, re.MULTILINE)
    classes = {
        name for name in re.findall(r"`@?([A-Z]\w+|[a-z_]+)`", cell) if name[0].isupper() or f"`@{name}`" in cell
    }
    assert classes
    assert classes <= all_names()


def all_names() -> set[str]:
    found = set()
    for module in pkgutil.walk_packages(oarlock.compat.crewai.__path__, "oarlock.compat.crewai."):
        found.update(importlib.import_module(module.name).__dict__)
    return found | set(importlib.import_module("oarlock.compat.crewai_tools").__all__)
