"""What is installed is what requirements.lock says, hash for hash."""

import hashlib
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import distribution, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
ENTRY = re.compile(r"^(?P<name>[a-z0-9._-]+)==(?P<version>\S+)(?P<rest>(?:.*\\\n)+.*)", re.MULTILINE)


def locked(text: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Return for each package its version and its hashes."""
    return {
        match["name"]: (match["version"], frozenset(re.findall(r"--hash=sha256:([0-9a-f]{64})", match["rest"])))
        for match in ENTRY.finditer(text)
    }


def test_every_package_is_pinned_and_hashed():
    packages = locked((ROOT / "requirements.lock").read_text())
    assert {"pydantic", "pyreqwest", "typer", "pytest", "xllamacpp", "httpx2"} <= packages.keys()
    assert all(hashes for _, hashes in packages.values())


@pytest.mark.skipif(not (ROOT / "uv.lock").exists() or shutil.which("uv") is None, reason="not running under uv")
def test_uv_installed_from_the_same_hashes():
    command = ["uv", "export", "--frozen", "--no-header", "--no-emit-project", "--all-extras", "--all-groups"]
    used = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert locked(used) == locked((ROOT / "requirements.lock").read_text()), "dependencies changed: run `make lock`"


def test_the_core_stays_small():
    """At most 20 distributions: those of the core and all that they need."""

    def needed(name: str, seen: set[str]) -> set[str]:
        if name in seen:
            return seen
        seen.add(name)
        for line in requires(name) or []:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                needed(distribution(requirement.name).metadata["Name"].lower(), seen)
        return seen

    assert len(needed("oarlock", set())) <= 20


def test_versions_agree():
    import oarlock

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == oarlock.__version__


def test_actions_are_pinned_by_commit():
    for workflow in (ROOT / ".github" / "workflows").glob("*.yml"):
        for action in re.findall(r"uses: (\S+)", workflow.read_text()):
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action), f"{workflow.name}: {action}"


def test_workflows_hold_no_known_weakness():
    found = subprocess.run(
        [str(Path(sys.executable).parent / "zizmor"), "--offline", "--no-progress", "--persona", "pedantic", ".github"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr


def built(copy: Path) -> dict[str, str]:
    """Return the digest of each distribution that a copy of the source gives."""
    ignored = shutil.ignore_patterns(".*", "dist", "__pycache__", "*.egg-info")
    shutil.copytree(ROOT, copy, ignore=ignored)
    shutil.copy(ROOT / ".gitignore", copy)  # says what belongs into the source distribution
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build"],
        cwd=copy,
        env={"SOURCE_DATE_EPOCH": "1600000000"},
        capture_output=True,
        check=True,
    )
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in (copy / "dist").iterdir()}


def test_the_same_source_gives_the_same_bytes(tmp_path: Path):
    first, second = built(tmp_path / "here"), built(tmp_path / "elsewhere" / "later")
    assert len(first) == 2
    assert first == second
