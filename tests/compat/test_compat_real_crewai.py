"""Where CrewAI itself is installed (here: a package of that name), it stays what it is unless forced."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """A folder with a package `crewai` that is not ours."""
    package = tmp_path / "site" / "crewai"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("Agent = 'the real one'\n__version__ = '1.2.3'\n")
    (package / "flow.py").write_text("Flow = 'a real flow'\n")
    return package.parent


def python(code: str, *, path: Path, cwd: Path | None = None) -> str:
    environment = {**os.environ, "PYTHONPATH": str(path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_it_stays(real: Path) -> None:
    code = "from oarlock.compat import install_as_crewai as i; r = i(); import crewai; print(r, crewai.Agent)"
    assert python(code, path=real) == "False the real one"


def test_it_stays_when_it_has_been_imported(real: Path) -> None:
    code = "import crewai; from oarlock.compat import install_as_crewai as i; print(i(), crewai.Agent)"
    assert python(code, path=real) == "False the real one"


def test_forced(real: Path) -> None:
    code = """
from oarlock.compat import install_as_crewai, uninstall
print(install_as_crewai(force=True))
from crewai import Agent
import crewai.tools
print(Agent.__module__)
try:
    import crewai.flow
except ImportError as error:
    print(error)
uninstall()
import crewai
print(crewai.Agent)
"""
    installed, agent, missing, after = python(code, path=real).splitlines()
    assert (installed, agent, after) == ("True", "oarlock.compat.crewai.agent", "the real one")
    assert missing.startswith("crewai.flow is not in Oarlock: call crews from plain Python")


def test_forced_too_late(real: Path) -> None:
    code = """
import sys, crewai
from oarlock.compat import install_as_crewai, uninstall
from oarlock import ConfigurationError
before = list(sys.meta_path)
try:
    install_as_crewai(force=True)
except ConfigurationError as error:
    print(error)
uninstall()
print(sys.modules["crewai"] is crewai, sys.meta_path == before)
"""
    first, second = python(code, path=real).splitlines()
    assert first.startswith("CrewAI itself has already been imported")
    assert "force=True) before anything imports crewai" in first
    assert second == "True True"


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_a_mere_folder_or_file_of_that_name_is_not_crewai(kind: str, tmp_path: Path) -> None:
    if kind == "folder":
        (tmp_path / "crewai").mkdir()
        (tmp_path / "crewai" / "notes.txt").write_text("Ideas.")
    else:
        (tmp_path / "crewai.py").write_text("print('mine')")
    code = "from oarlock.compat import install_as_crewai as i; print(i()); import crewai; print(crewai.Agent.__name__)"
    assert python(code, path=tmp_path).splitlines() == ["True", "Agent"]


def test_installing_imports_little(tmp_path: Path) -> None:
    code = """
import sys
from oarlock.compat import install_as_crewai
install_as_crewai()
print([name for name in ("pydantic", "asyncio", "pyreqwest", "rich", "typer") if name in sys.modules])
"""
    assert python(code, path=tmp_path) == "[]"


@pytest.mark.parametrize(("as_crewai", "printed"), [(None, "the real one"), (False, "the real one"), (True, "Agent")])
def test_scripts(as_crewai: bool | None, printed: str, real: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("from crewai import Agent\nprint(getattr(Agent, '__name__', Agent))\n")
    code = f"from oarlock.compat import run_script; run_script({str(script)!r}, as_crewai={as_crewai})"
    assert python(code, path=real) == printed
