"""Every Python block of the pages in docs/ runs by itself, and prints what stands behind its `#>`."""

import contextlib
import inspect
import io
import os
import re
import shlex
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_examples import CodeExample, EvalExample, find_examples
from typer.testing import CliRunner

from oarlock import auth
from oarlock.auth.configured import KINDS
from oarlock.cli.app import app, doctor
from oarlock.cli.doctor.examine import STEPS

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
    with pytest.MonkeyPatch.context() as patch, environment_restored(), contextlib.redirect_stdout(printed):
        patch.setitem(sys.modules, "__main__", module)
        try:
            exec(code, vars(module))  # our own pages
        finally:
            durable = sys.modules.get("oarlock.durable.here")
            if durable is not None:  # as at the end of a program: its engine has threads
                durable.HERE.close()
    return "\n".join(line.rstrip() for line in printed.getvalue().splitlines()).rstrip()


@contextlib.contextmanager
def environment_restored() -> Iterator[None]:
    """Take back what an example sets in the environment."""
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


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


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "README.md"], ids=lambda page: page.name)
def test_an_index_names_the_page(page: Path):
    """A page stands in README.md, one of a folder in the page with the folder's name."""
    index = DOCS / "README.md" if page.parent == DOCS else page.parent.with_suffix(".md")
    link = page.relative_to(index.parent).as_posix()
    assert f"({link})" in index.read_text(encoding="utf-8"), f"{index.name} does not name {link}"


def test_every_sign_in_has_a_row_and_a_page():
    table = (DOCS / "sign-in.md").read_text(encoding="utf-8")
    sign_ins = {name for name in auth.__all__ if hasattr(getattr(auth, name), "flow")} - {"Auth", "TokenAuth"}
    missing = {name for name in sign_ins if not re.search(rf"^\| \[`{name}`\]\(sign-in/", table, re.MULTILINE)}
    assert not missing
    titles = {page.read_text(encoding="utf-8").splitlines()[0] for page in (DOCS / "sign-in").glob("*.md")}
    assert {f"# {name}" for name in sign_ins} <= titles


@pytest.mark.parametrize("page", sorted((DOCS / "sign-in").glob("*.md")), ids=lambda page: page.name)
def test_the_settings_of_a_page_are_arguments(page: Path):
    text = page.read_text(encoding="utf-8")
    sign_in = getattr(auth, text.splitlines()[0].removeprefix("# "), None)
    rows = re.findall(r"^\| ((?:`\w+=`(?:, )?)+) \|", text, re.MULTILINE)
    settings = {name for row in rows for name in re.findall(r"`(\w+)=`", row)}
    if sign_in is None:  # a page for something else
        assert not settings
    else:
        assert settings <= set(inspect.signature(sign_in).parameters)


def test_every_sign_in_that_can_be_configured_is_named():
    text = (DOCS / "sign-in" / "configuration.md").read_text(encoding="utf-8")
    (paragraph,) = re.findall(r"^(`type` is .*?)\.", text, re.MULTILINE | re.DOTALL)
    assert re.findall(r"`(\w+)`", paragraph) == ["type", *sorted(KINDS)]


def test_the_doctors_page_has_its_steps_and_options():
    text = (DOCS / "doctor.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) == list(STEPS)
    (command,) = (one for one in app.registered_commands if one.callback is doctor)
    assert command.callback is not None
    options = {name.removeprefix("as_").replace("_", "-") for name in inspect.signature(command.callback).parameters}
    assert set(re.findall(r"`--(?:no-)?([a-z-]+)", text)) == options - {"target"}
