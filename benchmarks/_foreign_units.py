"""Finding the scripts in somebody else's documentation and example projects."""

from __future__ import annotations

import ast
import builtins
import json
import re
import symtable
import sys
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

_FENCE = re.compile(r"^([ \t]*)(`{3,})(\w+)([^\n]*)\n(.*?)^[ \t]*\2[ \t]*$", re.DOTALL | re.MULTILINE)
_PAGES = (".md", ".mdx")
_CONFIG = re.compile(r"(agents|tasks)\.yaml")
_IMPORTS = "from crewai import LLM, Agent, Crew, Task\nfrom crewai.tools import tool"
_AGENT = "Agent(role='NAME', goal='Do what is asked', backstory='Experienced')"
_TASK = f"NAME = Task(description='Do NAME', expected_output='A report', agent={_AGENT})"
_TOOL = '@tool("NAME")\ndef NAME(query: str) -> str:\n    """Look something up."""\n    return "A result."'
_LLM = "NAME = LLM('openai/gpt-4o')"
_ADDED = {
    "agent": f"NAME = {_AGENT}",
    "agents": f"NAME = {_AGENT}",
    "context": _TASK,
    "llm": _LLM,
    "manager_agent": f"NAME = {_AGENT}",
    "manager_llm": _LLM,
    "tasks": _TASK,
    "tools": _TOOL,
}
"""What to write for a name, by the argument that it is given to."""
_CREW = f"NAME = Crew(agents=[], tasks=[Task(description='Do NAME', expected_output='A report', agent={_AGENT})])"
_GIVEN = frozenset(dir(builtins)) | {"__class__", "__file__", "__name__"}
_STANDARD = {"dataclass": "from dataclasses import dataclass", "field": "from dataclasses import field"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One script: a block of a page with what it continues, or an example project.

    Attributes:
        name: where it is from.
        code: what to run; of a project the path of its script.
        files: the YAML files beside it, by their paths.
        folder: of a project.
        problem: why it cannot be run by itself, by anybody.
        blocks: how many blocks of the page it is put together from.
        added: the names of agents, tasks, tools and LLMs that its page leaves to the reader, and that it was given.
    """

    name: str
    code: str
    files: dict[str, str] = field(default_factory=dict)
    folder: Path | None = None
    problem: str = ""
    blocks: int = 1
    added: tuple[str, ...] = ()

    @property
    def uses_crewai(self) -> bool:
        """Whether it imports CrewAI at all."""
        return self.folder is not None or bool(re.search(r"^\s*(?:from|import)\s+crewai", self.code, re.MULTILINE))


@dataclass(frozen=True, slots=True)
class Block:
    """A code block of a page, with the names that it binds, those that it imports, and those that it leaves to others."""

    code: str
    bound: frozenset[str]
    imports: dict[str, str]
    missing: frozenset[str]


def units_below(*folders: Path) -> Iterator[Unit]:
    """Yield the scripts of all pages (.md, .mdx), notebooks and example projects below these folders."""
    usual = _usual_imports(folders)
    for folder in map(Path.resolve, folders):
        for page in _files(folder, *_PAGES):
            yield from _of_page(page.relative_to(folder).with_suffix("").as_posix(), page, usual)
        for notebook in _files(folder, ".ipynb"):
            yield _of_notebook(folder, notebook)
        for script in _files(folder, ".py"):
            if _is_program(script):
                yield Unit(
                    name=script.relative_to(folder).as_posix(), code=str(script), folder=_project_of(script, folder)
                )


def _of_page(name: str, page: Path, usual: dict[str, str]) -> Iterator[Unit]:
    blocks = _blocks_of(page.read_text(encoding="utf-8"))
    for number, (block, files) in enumerate(blocks, 1):
        if isinstance(block, Block):
            before = [one for one, _ in blocks[: number - 1] if isinstance(one, Block)]
            yield _assembled(f"{name}#{number}", block, before, usual, files)
        else:
            yield Unit(name=f"{name}#{number}", code=block, problem="no complete Python")


def _files(folder: Path, *endings: str) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix in endings and path.is_file())


def _blocks_of(text: str) -> list[tuple[Block | str, dict[str, str]]]:
    """Return the Python blocks of a page, those that do not parse as text, each with the YAML files shown before it."""
    found: list[tuple[Block | str, dict[str, str]]] = []
    files: dict[str, str] = {}
    for _, _, language, info, body in _FENCE.findall(text):
        code = textwrap.dedent(body)
        if language in ("yaml", "yml") and (name := _CONFIG.search(info + code.lstrip().partition("\n")[0])):
            files = {**files, f"config/{name[0]}": code}
        elif language in ("python", "py"):
            found.append((_block(code) or code, files))
    return found


def _block(code: str) -> Block | None:
    try:
        compile(code, "block", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        top = symtable.symtable(code, "block", "exec")
    except (SyntaxError, ValueError):
        return None
    names = {one.get_name(): one for one in top.get_symbols()}
    bound = frozenset(name for name, one in names.items() if one.is_assigned())
    imports = dict(_imports_in(ast.parse(code))) if "import" in code else {}
    known = bound | {name for name, one in names.items() if one.is_imported()} | _GIVEN
    return Block(code, bound, imports, frozenset(_used(top)) - known)


def _used(table: symtable.SymbolTable) -> Iterator[str]:
    for symbol in table.get_symbols():
        if symbol.is_referenced() and (symbol.is_global() or table.get_type() == "module"):
            yield symbol.get_name()
    for child in table.get_children():
        yield from _used(child)


def _usual_imports(folders: Iterable[Path]) -> dict[str, str]:
    """Return how scripts import each name where they do: for the many blocks that leave it to the reader."""
    counts: Counter[tuple[str, str]] = Counter()
    for tree in _trees(folders):
        counts.update(_imports_in(tree))
    return {name: statement for (name, statement), _ in reversed(counts.most_common())}


def _imports_in(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from ((one.asname or one.name, _statement(node.module, one)) for one in node.names)
        elif isinstance(node, ast.Import):
            yield from ((one.name, f"import {one.name}") for one in node.names if not one.asname)


def _trees(folders: Iterable[Path]) -> Iterator[ast.Module]:
    for folder in folders:
        for page in _files(folder, *_PAGES):
            blocks = (block for block, _ in _blocks_of(page.read_text(encoding="utf-8")))
            yield from (ast.parse(block.code) for block in blocks if isinstance(block, Block))
        for script in _files(folder, ".py"):
            with suppress(SyntaxError):
                yield ast.parse(script.read_text(encoding="utf-8", errors="replace"))


def _statement(module: str, name: ast.alias) -> str:
    return f"from {module} import {name.name}" + (f" as {name.asname}" if name.asname else "")


def _assembled(where: str, block: Block, before: Sequence[Block], usual: dict[str, str], files: dict[str, str]) -> Unit:
    """Put a block behind the nearest blocks before it on its page that have the names it needs, then add usual imports.

    What CrewAI has is imported, also where an earlier block shows what it looks like inside.
    """
    taken: list[int] = []
    theirs = {name for name in block.missing if name[0].isupper() and usual.get(name, "").startswith("from crewai")}
    missing = set(block.missing) - theirs
    for number in reversed(range(len(before))):
        if missing & before[number].bound:
            taken.insert(0, number)
            missing = (missing - before[number].bound) | before[number].missing
    parts = [before[number].code for number in taken] + [block.code]
    modules = {name: f"import {name}" for name in missing & sys.stdlib_module_names}
    usual = {**_STANDARD, **modules, **usual, **{name: line for one in before for name, line in one.imports.items()}}
    missing |= theirs
    imports = [usual[name] for name in sorted(missing) if name in usual]
    left = missing - usual.keys()
    added = _additions("\n".join(parts), frozenset(left))
    if unknown := sorted(left - added.keys()):
        return Unit(name=where, code=block.code, problem=f"uses names that its page nowhere has: {', '.join(unknown)}")
    future = [line for part in parts for line in part.splitlines() if line.startswith("from __future__")]
    code = "\n".join([*future, *imports, *([_IMPORTS] if added else []), *added.values(), *parts])
    return Unit(name=where, code=code, files=files, blocks=len(parts), added=tuple(sorted(added)))


def _additions(code: str, names: frozenset[str]) -> dict[str, str]:
    """Return a plain agent, task, tool or LLM for each name whose use in Crew, Task and Agent says which of these it is."""
    uses: dict[str, set[str]] = {name: set() for name in names}
    for call in ast.walk(ast.parse(code)):
        for given in call.keywords if isinstance(call, ast.Call) else ():
            values = given.value.elts if isinstance(given.value, ast.List | ast.Tuple) else [given.value]
            for value in values:
                if isinstance(value, ast.Name) and value.id in names:
                    uses[value.id].add(_ADDED.get(given.arg or "", ""))
        of = call.func if isinstance(call, ast.Call) else None
        if isinstance(of, ast.Attribute) and "kickoff" in of.attr and isinstance(of.value, ast.Name):
            uses.get(of.value.id, set()).add(_CREW)
    return {name: made.pop().replace("NAME", name) for name, made in uses.items() if len(made) == 1 and "" not in made}


def _of_notebook(folder: Path, path: Path) -> Unit:
    """Return a notebook's cells in their order, without the lines that are for a shell or for the notebook."""
    cells = json.loads(path.read_text(encoding="utf-8")).get("cells", [])
    lines = [line.rstrip("\n") for cell in cells if cell["cell_type"] == "code" for line in [*cell["source"], ""]]
    code = "\n".join(line for line in lines if not line.lstrip().startswith(("!", "%")))
    name = path.relative_to(folder).as_posix()
    return Unit(name=name, code=code, problem="" if _block(code) else "no complete Python")


def _is_program(path: Path) -> bool:
    text = path.read_text(encoding="utf-8", errors="replace")
    asks = "crewai" in text and ("__main__" in text or ".kickoff(" in text)
    return path.name == "main.py" or (asks and path.name != "crew.py")


def _project_of(script: Path, top: Path) -> Path:
    """Return the folder of the project that a script belongs to."""
    parents = [one for one in script.parents if top in one.parents]
    marked = [one for one in parents if (one / "pyproject.toml").exists() or (one / "README.md").exists()]
    return marked[0] if marked else script.parent
