"""Every Python block of the pages in docs/ runs by itself, and prints what stands behind its `#>`.

`make docs` builds the site, and looks at its links and at what its pages load; the workflow does so on every change. It
takes ten seconds of CPU and packages of 90 MB, so the tests look at the pages and at `nav` instead.
"""

import contextlib
import importlib
import inspect
import io
import os
import pkgutil
import re
import runpy
import shlex
import socket
import subprocess
import sys
import tomllib
import types
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path

import pytest
from pytest_examples import CodeExample, EvalExample, find_examples
from typer.testing import CliRunner

import oarlock
from oarlock import auth
from oarlock.auth.configured import KINDS
from oarlock.cli.app import app, doctor
from oarlock.cli.doctor.examine import STEPS
from oarlock.project import load_crew

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
SITE = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]
PAGES = sorted(DOCS.rglob("*.md"))
BLOCKS = list(find_examples(DOCS))
EXAMPLES = [example for example in BLOCKS if example.prefix == "python"]
FILES = [example for example in BLOCKS if example.prefix.startswith("python title=")]  # of a page's own small project
INSIDE = {"__main__", "_lazy", "agents", "cli", "contract", "dialects", "llms", "runtime"}
PUBLIC_MODULES = [
    "oarlock",
    *(f"oarlock.{name}" for _, name, _ in pkgutil.iter_modules(oarlock.__path__) if name not in INSIDE),
    "oarlock.testing.faults",
]
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
            telemetry = sys.modules.get("oarlock.telemetry.switch")
            if telemetry is not None:
                telemetry.uninstrument()
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


FIVE_MINUTES = DOCS / "first-five-minutes.md"


@pytest.fixture(scope="module")
def newcomers_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Save each file as the page shows it, and let its endpoint run, at a free port."""
    folder = tmp_path_factory.mktemp("five-minutes")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    for file in FILES:
        assert file.path == FIVE_MINUTES, f"{file.path.name} has files of its own: let them run here too"
        (folder / file.prefix_settings()["title"]).write_text(file.source.replace("8011", port), encoding="utf-8")
    command = [sys.executable, "gateway.py"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as gateway:
        assert gateway.stdout is not None
        gateway.stdout.readline()  # it listens
        yield folder
        gateway.kill()


COMMANDS_OF_FIVE_MINUTES = re.findall(
    r"^```console\n\$ python (\S+)\n(.*?)^```$", FIVE_MINUTES.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
)


@pytest.mark.xdist_group("five-minutes")
@pytest.mark.parametrize(("program", "shown"), COMMANDS_OF_FIVE_MINUTES, ids=lambda text: text.split()[0])
def test_the_first_five_minutes_go_as_the_page_says(newcomers_folder: Path, program: str, shown: str):
    done = subprocess.run(
        [sys.executable, program], cwd=newcomers_folder, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.stdout, done.stderr) == (shown, "")


@pytest.mark.model
def test_the_model_of_the_first_five_minutes_answers(newcomers_folder: Path):
    done = subprocess.run(
        [sys.executable, "local.py"], cwd=newcomers_folder, capture_output=True, text=True, check=True
    )
    assert "exercise" in done.stdout.lower()


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_commands_run(page: str, command: str):
    result = CliRunner().invoke(app, shlex.split(command)[1:])
    assert result.exit_code == 0, f"{page}: {result.output}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path):
    for name, anchor in re.findall(r"\]\((?!\w+:)([^)#\s]*)#?([^)\s]*)\)", page.read_text(encoding="utf-8")):
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name} links to {name}, which is not there"
        assert target.is_relative_to(DOCS), f"{page.name} links to {name}, which is not on the site: name it in words"
        assert not anchor or anchor in anchors_of(target), f"{page.name} links to {name}#{anchor}, which is not there"


def anchors_of(page: Path) -> set[str]:
    """Return what GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def pages_in(nav: object) -> Iterator[str]:
    """Yield the pages of a `nav`, in their order."""
    if isinstance(nav, str):
        yield nav
    else:
        for entry in nav.values() if isinstance(nav, dict) else nav:
            yield from pages_in(entry)


def test_every_page_has_its_place_in_the_navigation():
    places = list(pages_in(SITE["nav"]))
    assert len(places) == len(set(places)), "a page stands twice in `nav` of zensical.toml"
    pages = {page.relative_to(DOCS).as_posix() for page in PAGES}
    assert pages <= set(places), f"in zensical.toml give a place in `nav` to: {', '.join(sorted(pages - set(places)))}"
    assert set(places) <= pages, f"`nav` of zensical.toml names what is not there: {sorted(set(places) - pages)}"


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent != DOCS], ids=lambda page: page.name)
def test_the_page_of_a_folder_names_those_in_it(page: Path):
    index = page.parent.with_suffix(".md")
    link = page.relative_to(index.parent).as_posix()
    assert f"({link})" in index.read_text(encoding="utf-8"), f"{index.name} does not name {link}"


def test_the_site_asks_nobody_else_for_anything():
    assert SITE["theme"]["font"] is False
    settings = str(SITE)
    assert not re.search(r"https?://|analytics|extra_javascript|mermaid", settings)


REFERENCE = {
    page.name: re.findall(r"^::: ([\w.]+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    for page in (DOCS / "reference").glob("*.md")
}


def test_what_the_reference_shows_is_there_under_that_name():
    for page, entries in REFERENCE.items():
        for entry in entries:
            module, _, name = entry.rpartition(".")
            assert name in importlib.import_module(module).__all__, f"{page}: {entry} is not public"


@pytest.mark.parametrize("name", PUBLIC_MODULES)
def test_the_reference_shows_every_public_name(name: str):
    shown = [named(entry) for entries in REFERENCE.values() for entry in entries]
    module = importlib.import_module(name)
    missing = [
        f"::: {name}.{public}"
        for public in module.__all__
        if not public.startswith("__") and not any(one is getattr(module, public) for one in shown)
    ]
    assert not missing, f"a page in docs/reference/ needs {missing}"


def named(entry: str) -> object:
    module, _, name = entry.rpartition(".")
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("name", PUBLIC_MODULES)
def test_what_docstrings_say_to_see_is_there(name: str):
    module = importlib.import_module(name)
    for public in (getattr(module, public) for public in module.__all__):
        members = [member for _, member in inspect.getmembers(public, callable)] if inspect.isclass(public) else []
        for documented in (public, *members):
            for reference in re.findall(r"\b[Ss]ee `([^`]+)`", inspect.getdoc(documented) or ""):
                assert leads_somewhere(reference, public), (
                    f"{documented!r} says to see `{reference}`, which is not there"
                )


PUBLIC = {public: module for module in PUBLIC_MODULES for public in importlib.import_module(module).__all__}


def leads_somewhere(reference: str, owner: object) -> bool:
    if reference.startswith(("oarlock ", "docs/")):
        return reference.startswith("oarlock ") or (ROOT / reference).exists()
    path = reference.partition("(")[0].removeprefix("oarlock.")
    first = path.partition(".")[0]
    home = owner if hasattr(owner, first) else importlib.import_module(PUBLIC.get(first, "oarlock"))
    with contextlib.suppress(ImportError):
        importlib.import_module(f"oarlock.{path.rpartition('.')[0] or path}")  # so that it is an attribute
    try:
        attrgetter(path)(home)
    except AttributeError:
        return False
    return True


def test_the_page_on_the_command_line_shows_the_commands_as_they_are():
    script = runpy.run_path(str(ROOT / ".ci" / "command_line.py"))
    shown = (DOCS / "reference" / "command-line.md").read_text(encoding="utf-8")
    assert shown == script["page"](), "commands have changed: run `make command-line`"


def test_the_crew_file_on_its_page_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (text, *_) = re.findall(
        r"^```yaml\n(.*?)^```$", (DOCS / "crew-files.md").read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    (tmp_path / "crew.yaml").write_text(text)
    (tmp_path / "my_tools.py").write_text("def search(words: str) -> str:\n    'Search.'\n    return words\n")
    monkeypatch.setenv("LLM_TOKEN", "secret")
    crew = load_crew(tmp_path / "crew.yaml")
    assert [type(policy).__name__ for policy in crew.agents[0].llm.policies] == ["Deadline", "Retry", "RateLimit"]
    assert [task.output_file for task in crew.tasks] == [None, "summary.md"]


def test_every_extra_has_a_row():
    rows = re.findall(r"^\| `(\w+)` \|", (DOCS / "installing.md").read_text(encoding="utf-8"), re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert rows == sorted(project["optional-dependencies"])


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
