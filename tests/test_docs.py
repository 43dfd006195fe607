"""Every Python block of the pages in docs/ runs by itself, and prints what stands behind its `#>`."""

import contextlib
import io
import re
import shlex
import sys
import types
from pathlib import Path

import pytest
from pytest_examples import CodeExample, EvalExample, find_examples
from typer.testing import CliRunner

from oarlock.cli.app import app

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
EXAMPLES = [example for example in find_examples(DOCS) if example.prefix == "python"]
COMMANDS = [
    (page.name, line.removeprefix("$ "))
    for page in PAGES
    for block in re.findall(r"^```console\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    for line in block.splitlines()
    if line.startswith("$ oarlock faults") and " serve " not in line  # that one ends with Ctrl-C only
]


def printed_by(example: CodeExample) -> str:
    """Run a block as a program of its own; whatever prints, the library too, counts."""
    module = types.ModuleType("__main__")
    code = compile("\n" * example.start_line + example.source, str(example.path), "exec")
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setitem(sys.modules, "__main__", module)
        exec(code, vars(module))  # our own pages
    return "\n".join(line.rstrip() for line in printed.getvalue().splitlines()).rstrip()


def promised_by(example: CodeExample) -> str:
    lines = re.findall(r"^ *#>(?: (.*))?$", example.source, re.MULTILINE)
    return "\n".join(line.rstrip() for line in lines)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"{example.path.name}:{example.start_line}")
def test_example_does_what_the_page_says(
    example: CodeExample, eval_example: EvalExample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    eval_example.set_config(line_length=120, target_version="py311", ruff_ignore=["D", "S", "T201", "I001"])
    eval_example.lint_ruff(example)
    monkeypatch.chdir(tmp_path)  # some write a file
    assert printed_by(example) == promised_by(example)


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_commands_run(page: str, command: str):
    result = CliRunner().invoke(app, shlex.split(command)[1:])
    assert result.exit_code == 0, f"{page}: {result.output}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path):
    for name, anchor in re.findall(r"\]\((?!\w+:)([^)#\s]*)#?([^)\s]*)\)", page.read_text(encoding="utf-8")):
        target = page.parent / name if name else page
        assert target.exists(), f"{page.name} links to {name}, which is not there"
        assert not anchor or anchor in anchors_of(target), f"{page.name} links to {name}#{anchor}, which is not there"


def anchors_of(page: Path) -> set[str]:
    """Return what GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_index_names_every_page():
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    missing = [page.name for page in PAGES if page.name != "README.md" and f"({page.name})" not in index]
    assert not missing, f"docs/README.md does not name {missing}"
