"""Running a user's script, with CrewAI's names where it needs them."""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from oarlock.agents.crew_run import RECORD_VARIABLE
from oarlock.compat.install import as_crewai as crewai_names
from oarlock.contract.errors import ConfigurationError

__all__ = ["run_script"]


def run_script(
    path: str | os.PathLike[str],
    argv: Sequence[str] = (),
    as_crewai: bool | None = None,
    llm: str | None = None,
    record: str | os.PathLike[str] | None = None,
) -> None:
    """Run a Python file as `python FILE ARGUMENTS...` does: as `__main__`, with its folder first on `sys.path`.

    Afterwards `sys.argv`, `sys.path`, `__main__`, CrewAI's names and the modules beside the script are as before.

    Args:
        path: the script.
        argv: its arguments.
        as_crewai: whether `import crewai` gives Oarlock. `None`: if CrewAI itself is not installed.
        llm: the name of the LLM, such as `"openai/gpt-4o"`, of those of its `crewai` agents that have none; it is what the
            environment variable `MODEL` is set to meanwhile. Those that have one keep it.
        record: where its crews record their runs, unless they say where: what `OARLOCK_RECORD` is set to meanwhile.

    Raises:
        ConfigurationError: there is no such file, or it is no Python file.
        BaseException: whatever the script raises, `SystemExit` included.
    """
    script = _checked(path)
    with ExitStack() as stack:
        stack.enter_context(_command_line(script, argv))
        stack.enter_context(_variable("MODEL", llm))  # where CrewAI reads it
        stack.enter_context(_variable(RECORD_VARIABLE, None if record is None else Path(record).resolve()))
        if as_crewai is not False:
            stack.enter_context(crewai_names(force=bool(as_crewai)))
        try:
            runpy.run_path(str(script), run_name="__main__")
        except ConfigurationError as error:
            if "has no LLM" in str(error):
                error.add_note("Or name one for all agents without: oarlock run --llm PROVIDER/MODEL, or MODEL=...")
            raise


def _checked(path: str | os.PathLike[str]) -> Path:
    script = Path(path)
    if script.is_dir():
        inside = sorted(file.name for file in script.glob("*.py"))
        hint = f"Name one of its scripts: {', '.join(inside[:5])}." if inside else "There is no Python file in it."
        raise ConfigurationError(f"{str(path)!r} is a folder. {hint}")
    if not script.is_file():
        raise ConfigurationError(
            f"There is no file {str(path)!r} in {str(Path.cwd())!r}: check the name and the folder."
        )
    if script.suffix not in (".py", ".pyw"):
        raise ConfigurationError(f"{str(path)!r} is no Python script: its name must end in .py.")
    return script


@contextmanager
def _command_line(script: Path, argv: Sequence[str]) -> Iterator[None]:
    """Put the script's arguments and folder where it expects them, and everything back afterwards."""
    folder = script.resolve().parent
    arguments, search, modules = sys.argv[:], sys.path[:], set(sys.modules)
    sys.argv[:] = [str(script), *argv]
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.argv[:], sys.path[:] = arguments, search
        _forget(folder, modules)


@contextmanager
def _variable(name: str, value: object) -> Iterator[None]:
    """Set an environment variable for a while, unless there is no value."""
    if value is None:
        yield
        return
    before = os.environ.get(name)
    os.environ[name] = str(value)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before


def _forget(folder: Path, before: set[str]) -> None:
    """Drop the modules that were imported from beside the script: another script may have others of the same names."""
    new = sys.modules.keys() - before
    tops = {name for name in new if "." not in name and _lies_in(folder, name)}
    for name in new:
        if name.partition(".")[0] in tops:
            sys.modules.pop(name, None)


def _lies_in(folder: Path, module: str) -> bool:
    file = getattr(sys.modules.get(module), "__file__", None)
    if not isinstance(file, str):
        return False
    parents = Path(file).resolve().parents
    return folder == (parents[1] if Path(file).stem == "__init__" and len(parents) > 1 else parents[0])
