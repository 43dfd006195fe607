"""Every project in examples/ runs unchanged, outside of the repository, and prints what its README says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
PROJECTS = sorted(path.parent.name for path in EXAMPLES.glob("*/README.md"))


@pytest.fixture(params=PROJECTS)
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of a project, without what earlier runs have written."""
    ignored = (EXAMPLES / ".gitignore").read_text().splitlines()
    return Path(
        shutil.copytree(EXAMPLES / request.param, tmp_path / request.param, ignore=shutil.ignore_patterns(*ignored))
    )


def run(project: Path, *command: str) -> str:
    """Run a Python command as a user would, and return what it prints."""
    known = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        [sys.executable, *command], cwd=project, env=known, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def promised(readme: Path, command: str) -> str:
    """Return what a README says that a command prints."""
    (block,) = re.findall(rf"^```console\n\$ {command}\n(.*?)^```$", readme.read_text(), re.DOTALL | re.MULTILINE)
    return str(block)


def test_it_prints_what_its_readme_says(project: Path) -> None:
    assert run(project, "stand_in.py") == promised(project / "README.md", "uv run python stand_in.py")


def test_its_own_test_passes(project: Path) -> None:
    (test,) = project.glob("test_*.py")
    assert f"uv run pytest {test.name}" in (project / "README.md").read_text()
    assert re.search(r"\d+ passed", run(project, "-m", "pytest", "-q", "-p", "no:cacheprovider", test.name))


def test_there_are_as_many_as_are_promised() -> None:
    assert len(PROJECTS) >= 5
    index = (EXAMPLES / "README.md").read_text()
    assert re.findall(r"^\| \[(\w+)\]\(\1/README\.md\)", index, re.MULTILINE) == [
        path.name for path in sorted(EXAMPLES.iterdir(), key=lambda path: index.find(f"({path.name}/")) if path.is_dir()
    ]


@pytest.mark.parametrize("page", sorted(EXAMPLES.rglob("README.md")), ids=lambda page: page.parent.name)
def test_links_lead_somewhere(page: Path) -> None:
    for name in re.findall(r"\]\((?!\w+:)([^)#\s]+)", page.read_text()):
        assert (page.parent / name).exists(), f"{page} links to {name}, which is not there"


def test_the_rows_of_the_batch_are_those_that_its_program_writes(tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "review_batch" / "make_reviews.py", tmp_path)
    run(tmp_path, "make_reviews.py")
    assert (tmp_path / "reviews.csv").read_bytes() == (EXAMPLES / "review_batch" / "reviews.csv").read_bytes()
