"""`crewai_tools`: its tools for files, and how it says which are missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import oarlock
from oarlock import ToolError
from oarlock.compat import as_crewai
from oarlock.compat.crewai_tools import DirectoryReadTool, FileReadTool, FileWriterTool


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    inside = tmp_path / "work"
    (inside / "notes").mkdir(parents=True)
    (inside / "notes" / "a.txt").write_text("one\ntwo\nthree\n")
    (tmp_path / "secret.txt").write_text("hidden")
    monkeypatch.chdir(inside)
    return inside


def test_the_names_as_scripts_import_them() -> None:
    names: dict[str, Any] = {}
    with as_crewai(force=True):
        exec("from crewai_tools import BaseTool, DirectoryReadTool, FileReadTool, FileWriterTool, tool", names)
        with pytest.raises(AttributeError):
            exec("import crewai_tools\ncrewai_tools.SerperDevTool", {})
    assert names["FileReadTool"] is FileReadTool
    assert (names["BaseTool"], names["tool"]) == (oarlock.BaseTool, oarlock.tool)


def test_reading() -> None:
    tool = FileReadTool()
    assert tool.run(file_path="notes/a.txt") == "one\ntwo\nthree\n"
    assert tool.run(file_path="notes/a.txt", start_line=2, line_count=1) == "two\n"
    assert FileReadTool(file_path="notes/a.txt").run(start_line=3) == "three\n"
    with pytest.raises(ToolError, match=r"there is no file to read: give file_path"):
        tool.run()
    with pytest.raises(ToolError, match=r"'notes' cannot be read"):
        tool.run(file_path="notes")


@pytest.mark.parametrize("path", ["../secret.txt", "notes/../../secret.txt", "link.txt"])
def test_a_model_reads_nothing_outside(path: str, folder: Path, tmp_path: Path) -> None:
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(ToolError, match="leads out of the working folder"):
        FileReadTool().run(file_path=path)
    with pytest.raises(ToolError, match="leads out of the working folder"):
        FileReadTool().run(file_path=str(tmp_path / "secret.txt"))


def test_a_file_that_the_script_names_may_lie_anywhere(tmp_path: Path) -> None:
    assert FileReadTool(file_path=tmp_path / "secret.txt").run() == "hidden"
    assert DirectoryReadTool(directory=tmp_path).run().splitlines()[0] == str(tmp_path / "secret.txt")


def test_listing() -> None:
    assert DirectoryReadTool().run() == str(Path("notes", "a.txt"))
    assert DirectoryReadTool().run(directory="notes") == str(Path("notes", "a.txt"))
    with pytest.raises(ToolError, match="leads out of the working folder"):
        DirectoryReadTool().run(directory="..")


def test_writing(folder: Path) -> None:
    assert FileWriterTool().run(filename="new/b.txt", content="Grüße") == "The text is in new/b.txt."
    assert (folder / "new" / "b.txt").read_text(encoding="utf-8") == "Grüße"
    with pytest.raises(ToolError, match=r"there is a file 'new/b\.txt' already"):
        FileWriterTool().run(filename="b.txt", directory="new", content="x")
    FileWriterTool(directory="new").run(filename="b.txt", content="x", overwrite=True)
    assert (folder / "new" / "b.txt").read_text() == "x"


@pytest.mark.parametrize(("name", "why"), [("../c.txt", "holds '..'"), ("/tmp/c.txt", "leads out of the working")])
def test_nothing_is_written_outside(name: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=f"the file {name!r} {why}"):
        FileWriterTool().run(filename=name, content="x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["secret.txt", "work"]


def test_a_base_folder(folder: Path) -> None:
    assert FileReadTool(base_dir="notes").run(file_path="a.txt", line_count=1) == "one\n"
    assert FileReadTool(file_path="a.txt", base_dir="notes").run(line_count=1) == "one\n"
    (folder / "b.txt").write_text("b")
    with pytest.raises(ToolError, match="leads out of notes"):
        FileReadTool(base_dir="notes").run(file_path="../b.txt")
    FileWriterTool(base_dir="notes").run(filename="c.txt", content="c")
    assert (folder / "notes" / "c.txt").read_text() == "c"
    with pytest.raises(ToolError, match=r"holds '\.\.'"):
        FileWriterTool(base_dir="notes").run(filename="../../d.txt", content="d")
