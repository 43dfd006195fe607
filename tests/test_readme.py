"""The README's examples run, and what it and its neighbours link to is there."""

import re
from pathlib import Path

import pytest
from pytest_examples import CodeExample, EvalExample, find_examples

ROOT = Path(__file__).parent.parent


EXAMPLES = list(find_examples(str(ROOT / "README.md")))
_names: dict[str, object] = {}  # the README's blocks build on one another


@pytest.mark.xdist_group("readme")
@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_readme(example: CodeExample, eval_example: EvalExample):
    if example.prefix != "python":
        pytest.skip("a command, not Python")
    eval_example.set_config(
        line_length=120, target_version="py311", ruff_ignore=["D", "SIM115", "PTH123", "F401", "F821", "I001", "T201"]
    )
    eval_example.lint_ruff(example)
    _names.update(eval_example.run_print_check(example, module_globals=_names))


PAGES = [*ROOT.glob("*.md"), ROOT / "benchmarks" / "README.md", *(ROOT / "examples").rglob("README.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path):
    for name in re.findall(r"\]\((?!\w+:)([^)#\s]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / name).exists(), f"{page.name} links to {name}, which is not there"
