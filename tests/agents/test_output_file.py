"""`output_file`: whole files inside the working folder, and never anything else."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from oarlock import Agent, ConfigurationError, Crew, OutputError, Task
from oarlock.agents import files
from oarlock.agents.files import Place, place_of, write
from oarlock.testing import ScriptedLLM

needs_links = pytest.mark.skipif(os.name == "nt", reason="making links needs rights there")


class City(BaseModel):
    name: str


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder, with a folder beside it that nothing may come into."""
    working = tmp_path / "working"
    working.mkdir()
    (tmp_path / "outside").mkdir()
    monkeypatch.chdir(working)
    return working


@pytest.fixture(autouse=True)
def nothing_comes_outside(folder: Path) -> Iterator[None]:
    yield
    assert sorted(path.name for path in folder.parent.iterdir()) == ["outside", "working"]
    assert [path.name for path in (folder.parent / "outside").iterdir() if path.name != "there.md"] == []
    there = folder.parent / "outside" / "there.md"
    assert not there.exists() or there.read_text() == "untouched"
    assert not list(folder.rglob(".*.tmp"))


def crew_of(answer: Any = "The answer", **task: Any) -> Crew:
    agent = Agent(role="Clerk", goal="Write", llm=ScriptedLLM([answer]))
    return Crew(agents=[agent], tasks=[Task(description="Write it", agent=agent, **task)])


def asked(crew: Crew) -> int:
    return len(crew.agents[0].llm.requests)  # type: ignore[union-attr]


def run_blocking(crew: Crew, **inputs: Any) -> Any:
    return crew.kickoff(inputs=inputs)


def run_async(crew: Crew, **inputs: Any) -> Any:
    return asyncio.run(crew.akickoff(inputs=inputs))


@pytest.fixture(params=[run_blocking, run_async])
def run(request: pytest.FixtureRequest) -> Callable[..., Any]:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(params=[True, False], ids=["by folder", "by path"])
def by_folder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Both ways to write: with folders held open, and the one for systems without that."""
    if request.param and not files._BY_FOLDER:
        pytest.skip("folders cannot be held open here")
    monkeypatch.setattr(files, "_BY_FOLDER", request.param)
    return bool(request.param)


# What is written.


@pytest.mark.usefixtures("by_folder")
@pytest.mark.parametrize("path", ["answer.md", "a/b/answer.md", "./a//answer.md", "a\\answer.md", "..md", ".hidden"])
def test_the_answer_is_written(run: Callable[..., Any], folder: Path, path: str) -> None:
    run(crew_of("Größe\n", output_file=path))
    (written,) = [one for one in folder.rglob("*") if one.is_file()]
    assert written == folder.joinpath(*path.replace("\\", "/").split("/"))
    assert written.read_bytes() == "Größe\n".encode()


def test_inputs_are_filled_in(run: Callable[..., Any], folder: Path) -> None:
    run(crew_of(output_file="{year}/{topic}.md"), year=2026, topic="tides")
    assert (folder / "2026" / "tides.md").read_text() == "The answer"


def test_a_structure_is_laid_out(folder: Path) -> None:
    crew_of('{"name":"Tromsø"}', output_file="a.json", output_pydantic=City).kickoff()
    crew_of('So: {"name":"Tromsø"}', output_file="b.json", output_json=City).kickoff()
    assert (folder / "a.json").read_text("utf-8") == (folder / "b.json").read_text("utf-8")
    assert json.loads((folder / "a.json").read_bytes()) == {"name": "Tromsø"}


def test_it_is_there_when_the_callback_is_called(folder: Path) -> None:
    seen: list[str] = []
    crew_of(output_file="a.md", callback=lambda output: seen.append((folder / "a.md").read_text())).kickoff()
    assert seen == ["The answer"]


def test_what_a_guardrail_leaves_is_written(folder: Path) -> None:
    crew_of(output_file="a.md", guardrail=lambda output: (True, "Better")).kickoff()
    assert (folder / "a.md").read_text() == "Better"


@pytest.mark.usefixtures("by_folder")
def test_a_file_that_is_there_is_replaced_whole(folder: Path) -> None:
    (folder / "a.md").write_text("A much longer text than the new one")
    with (folder / "a.md").open() as reader:
        crew_of(output_file="a.md").kickoff()
        assert reader.read() == "A much longer text than the new one"  # who reads it sees no mixture
    assert (folder / "a.md").read_text() == "The answer"


@pytest.mark.skipif(os.name == "nt", reason="no umask there")
@pytest.mark.usefixtures("by_folder")
def test_the_mode_is_the_umasks(folder: Path) -> None:
    before = os.umask(0o027)
    try:
        crew_of(output_file="a.md").kickoff()
    finally:
        os.umask(before)
    assert stat.S_IMODE((folder / "a.md").stat().st_mode) == 0o640


def test_an_absolute_path_into_the_working_folder_is_one_of_it(folder: Path) -> None:
    crew_of(output_file=str(folder / "sub" / "a.md")).kickoff()
    assert (folder / "sub" / "a.md").exists()


def test_the_working_folder_is_that_of_the_start(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wander(output: Any) -> tuple[bool, Any]:
        monkeypatch.chdir(folder.parent / "outside")
        return True, None

    crew_of(output_file="a.md", guardrail=wander).kickoff()
    assert (folder / "a.md").exists()


def test_percent_signs_are_just_signs(folder: Path) -> None:
    crew_of(output_file="{name}").kickoff(inputs={"name": "..%2fescaped.md"})
    assert (folder / "..%2fescaped.md").exists()


# Paths that lead elsewhere.

ELSEWHERE = [
    "../a.md",
    "..",
    "a/../../a.md",
    "a/../a.md",
    "a/ .. /b.md",
    "..\\a.md",
    "a\\..\\..\\b.md",
    "/etc/a.md",
    "//host/share/a.md",
    "\\\\host\\share\\a.md",
    "\\a.md",
    "C:\\a.md",
    "c:a.md",
    "a\x00.md",
    "a\n.md",
    "a/",
    ".",
    "CON",
    "nul.txt",
    "a/com1.tar.gz",
    "Lpt9 .txt",
    "a./b.md",
    "a /b.md",
    "a.md.",
    "x" * 256,
    "ø" * 128,
]


@pytest.mark.parametrize("path", ELSEWHERE)
def test_a_path_out_of_the_folder_is_refused_when_the_task_is_made(path: str) -> None:
    with pytest.raises(ConfigurationError, match=r"Task 'D': output_file .*Give a path below the working folder"):
        Task(description="D", output_file=path)


@pytest.mark.parametrize("path", ELSEWHERE)
def test_an_input_that_leads_out_of_the_folder_is_refused_before_any_call(run: Callable[..., Any], path: str) -> None:
    crew = crew_of(output_file="{path}")
    with pytest.raises(ConfigurationError, match="Give a path below the working folder"):
        run(crew, path=path)
    assert asked(crew) == 0


def test_a_part_of_a_path_does_not_lead_out_either(run: Callable[..., Any]) -> None:
    crew = crew_of(output_file="reports/{topic}.md")
    with pytest.raises(ConfigurationError, match=r"holds '\.\.'"):
        run(crew, topic="../../outside/a")
    assert asked(crew) == 0


def test_a_neighbour_whose_name_begins_alike_is_outside(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="leads out of the working folder"):
        Task(description="D", output_file=f"{folder}-other/a.md")


def test_a_missing_input_is_told_before_any_call(run: Callable[..., Any]) -> None:
    crew = crew_of(output_file="{topic}.md")
    with pytest.raises(ConfigurationError, match="Task 'Write it': output_file needs an input 'topic'"):
        run(crew)
    assert asked(crew) == 0


@given(st.text(alphabet="ab./\\:~ \x00%-", max_size=20) | st.text(max_size=20))
def test_no_path_leads_out(path: str) -> None:
    try:
        place = place_of("T", path, {}, create=True)
    except ConfigurationError:
        return
    root = Path(place.root)
    assert Path(os.path.normpath(root.joinpath(*place.parts))).is_relative_to(root)
    assert place.parts
    assert ".." not in place.parts


# Links.


@needs_links
@pytest.mark.usefixtures("by_folder")
@pytest.mark.parametrize("path", ["link/a.md", "link/new/a.md", "sub/link/a.md", "inner/a.md"])
def test_a_folder_that_is_a_link_is_not_followed(folder: Path, path: str) -> None:
    (folder / "sub").mkdir()
    outside = folder.parent / "outside"
    for link, target in (("link", outside), ("sub/link", outside), ("inner", folder / "sub")):
        (folder / link).symlink_to(target)
    with pytest.raises(OutputError, match="symbolic link, and links are not followed") as failure:
        crew_of(output_file=path).kickoff()
    assert failure.value.text == "The answer"


@needs_links
@pytest.mark.usefixtures("by_folder")
@pytest.mark.parametrize("target", ["../outside/there.md", "../outside/new.md", "a.md"])
def test_a_file_that_is_a_link_is_not_followed(folder: Path, target: str) -> None:
    (folder.parent / "outside" / "there.md").write_text("untouched")
    (folder / "a.md").symlink_to(target)
    with pytest.raises(OutputError, match=r"'a\.md' is a symbolic link"):
        crew_of(output_file="a.md").kickoff()


@needs_links
@pytest.mark.skipif(not files._BY_FOLDER, reason="folders cannot be held open here")
def test_a_link_that_is_put_in_place_between_looking_and_opening_is_not_followed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "sub").mkdir()
    looked = os.stat

    def swap(*args: Any, **given: Any) -> os.stat_result:
        found = looked(*args, **given)
        if args[0] == "sub":
            (folder / "sub").rmdir()
            (folder / "sub").symlink_to(folder.parent / "outside")
        return found

    monkeypatch.setattr(os, "stat", swap)
    with pytest.raises(OutputError, match="could not be written"):
        crew_of(output_file="sub/a.md").kickoff()


@needs_links
def test_a_link_that_is_put_in_place_while_writing_by_path_is_seen(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill = files._fill

    def swap(descriptor: int, data: bytes) -> None:
        fill(descriptor, data)
        (folder / "sub").rename(folder / "moved")
        (folder / "sub").symlink_to(folder / "moved")

    monkeypatch.setattr(files, "_BY_FOLDER", False)
    monkeypatch.setattr(files, "_fill", swap)
    with pytest.raises(OutputError, match="symbolic link"):
        crew_of(output_file="sub/a.md").kickoff()
    assert not (folder / "moved" / "a.md").exists()


@needs_links
def test_a_working_folder_reached_by_a_link_is_good(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "real").mkdir()
    (folder / "here").symlink_to(folder / "real")
    monkeypatch.chdir(folder / "here")
    crew_of(output_file=str(folder / "real" / "a.md")).kickoff()
    crew_of(output_file="sub/b.md").kickoff()
    assert (folder / "real" / "a.md").exists()
    assert (folder / "real" / "sub" / "b.md").exists()


# What else goes wrong.


@pytest.mark.usefixtures("by_folder")
def test_folders_are_made_only_if_that_is_wanted(run: Callable[..., Any], folder: Path) -> None:
    with pytest.raises(
        OutputError, match=r"'a/b.md': No such file or directory\. Set create_directory=True"
    ) as failure:
        run(crew_of(output_file="a/b.md", create_directory=False))
    assert failure.value.text == "The answer"
    assert failure.value.errors == ("No such file or directory",)
    (folder / "a").mkdir()
    run(crew_of(output_file="a/b.md", create_directory=False))
    assert (folder / "a" / "b.md").exists()


@pytest.mark.usefixtures("by_folder")
def test_a_folder_in_the_files_place(folder: Path) -> None:
    (folder / "a.md").mkdir()
    with pytest.raises(OutputError, match=r"'a\.md' is there already, and is no file"):
        crew_of(output_file="a.md").kickoff()


@pytest.mark.usefixtures("by_folder")
def test_a_file_in_a_folders_place(folder: Path) -> None:
    (folder / "a").write_text("kept")
    with pytest.raises(OutputError, match=r"'a/b\.md'"):
        crew_of(output_file="a/b.md").kickoff()
    assert (folder / "a").read_text() == "kept"


@pytest.mark.usefixtures("by_folder")
def test_a_failure_while_writing_leaves_what_was_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, data: bytes) -> None:
        os.close(descriptor)
        raise OSError(28, "No space left on device")

    (folder / "a.md").write_text("kept")
    monkeypatch.setattr(files, "_fill", full)
    with pytest.raises(OutputError, match="No space left on device") as failure:
        crew_of(output_file="a.md").kickoff()
    assert failure.value.text == "The answer"
    assert (folder / "a.md").read_text() == "kept"


def test_many_runs_write_one_file_each_whole(folder: Path) -> None:
    place = Place(root=str(folder), parts=("a.md",), create=True)
    for number in range(20):
        write(place, str(number) * 1000, f"{number:032x}")
        assert (folder / "a.md").read_text() == str(number) * 1000


def test_text_that_is_no_unicode_is_written_all_the_same(folder: Path) -> None:
    write(Place(root=str(folder), parts=("a.md",), create=True), "a\ud800b", "x")
    assert (folder / "a.md").read_text() == "a?b"
