"""Fast data classes are those of `dataclasses` in all but their speed."""

import copy
import dataclasses
import inspect
import pickle
from typing import Any

import pytest

from oarlock.contract import context, records
from oarlock.contract.context import CurrentCall
from oarlock.contract.records import dataclass, field
from oarlock.contract.replacing import replacer
from oarlock.contract.request import Request

KINDS = {"fast": dataclass, "standard": dataclasses.dataclass}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fast:
    """A fast class on the top level, as pickles want it."""

    name: str
    tags: list[str] = field(default_factory=list)
    hidden: int = field(default=7, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived(Fast):
    more: str = "more"


def make(kind: str) -> Any:
    @KINDS[kind](frozen=True, slots=True)
    class Point:
        x: int
        y: int = 2
        tags: tuple[str, ...] = field(default=(), repr=False, compare=False)

    return Point


@pytest.mark.parametrize("kind", KINDS)
class TestBothKinds:
    def test_are_made_alike(self, kind: str) -> None:
        point_class = make(kind)
        point = point_class(1, tags=("a",))
        assert (point.x, point.y, point.tags) == (1, 2, ("a",))
        assert repr(point) == "make.<locals>.Point(x=1, y=2)"
        assert point == point_class(1) != point_class(1, 3)
        assert hash(point) == hash(point_class(1))
        assert point != (1, 2)
        assert not hasattr(point, "__dict__")

    def test_are_frozen_alike(self, kind: str) -> None:
        point = make(kind)(1)
        for change in (lambda: setattr(point, "x", 2), lambda: delattr(point, "x")):
            with pytest.raises(dataclasses.FrozenInstanceError, match=r"cannot (assign to|delete) field 'x'"):
                change()
        assert point.x == 1

    def test_name_wrong_arguments_alike(self, kind: str) -> None:
        point_class = make(kind)
        with pytest.raises(TypeError, match=r"Point\.__init__\(\) missing 1 required positional argument: 'x'"):
            point_class()
        with pytest.raises(TypeError, match=r"Point\.__init__\(\) got an unexpected keyword argument 'z'"):
            point_class(1, z=1)

    def test_tell_of_themselves_alike(self, kind: str) -> None:
        point_class = make(kind)
        assert [one.name for one in dataclasses.fields(point_class)] == ["x", "y", "tags"]
        assert list(inspect.signature(point_class).parameters) == ["x", "y", "tags"]
        assert point_class.__match_args__ == ("x", "y", "tags")
        assert dataclasses.asdict(point_class(1)) == {"x": 1, "y": 2, "tags": ()}
        assert dataclasses.replace(point_class(1), y=5) == point_class(1, 5)

    def test_are_derived_from_alike(self, kind: str) -> None:
        point_class = make(kind)

        @KINDS[kind](frozen=True, slots=True)
        class Solid(point_class):
            z: int = 3

        assert Solid(1) == Solid(1, 2, (), 3)
        assert repr(Solid(1, z=4)).endswith("Solid(x=1, y=2, z=4)")

    def test_mix_with_the_other_kind(self, kind: str) -> None:
        other = next(one for one in KINDS if one != kind)

        @KINDS[other](frozen=True, slots=True)
        class Solid(make(kind)):
            z: int = 3

        assert (Solid(1, z=4).x, Solid(1, z=4).z) == (1, 4)
        with pytest.raises(TypeError, match="cannot inherit non-frozen dataclass from a frozen one"):
            dataclasses.dataclass(type("Open", (Solid,), {}))


def test_a_class_derived_without_decorator_may_have_attributes_of_its_own() -> None:
    class Loose(Fast):
        other: str

    loose = Loose(name="a")
    loose.other = "of its own"
    assert (type(loose), loose.name, loose.hidden, loose.other) == (Loose, "a", 7, "of its own")
    with pytest.raises(dataclasses.FrozenInstanceError):
        loose.name = "b"  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        del loose.name
    del loose.other
    assert not vars(loose)


def test_each_object_has_a_list_of_its_own() -> None:
    assert Fast(name="a").tags is not Fast(name="a").tags


@pytest.mark.parametrize("one", [Fast(name="a", tags=["b"], hidden=1), Derived(name="a", hidden=2, more="c")])
def test_copies_and_pickles(one: Fast) -> None:
    for twin in (copy.copy(one), copy.deepcopy(one), pickle.loads(pickle.dumps(one)), replacer(type(one))(one)):
        assert twin == one
        assert twin is not one
        assert type(twin) is type(one)
        assert twin.hidden == one.hidden


def test_an_object_that_holds_itself_is_shown() -> None:
    one = Fast(name="a")
    one.tags.append(one)  # type: ignore[arg-type]
    assert repr(one) == "Fast(name='a', tags=[...])"


def test_functions_of_the_class_itself_stay() -> None:
    @dataclass(frozen=True, slots=True, eq=False)
    class Shy:
        secret: str

        def __repr__(self) -> str:
            return "Shy()"

    shy = Shy("x")
    assert repr(shy) == "Shy()"
    assert shy != Shy("x")


def test_a_field_may_have_the_name_of_a_builtin() -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Error:
        type: str
        object: int = 3

    assert repr(Error(type="ServerError")).endswith("Error(type='ServerError', object=3)")


def test_a_class_without_fields() -> None:
    @dataclass(frozen=True, slots=True)
    class Nothing:
        pass

    assert Nothing() == Nothing()
    assert {Nothing(): 1}[Nothing()] == 1


def test_what_fails_while_an_object_is_made_leaves_no_half_of_it() -> None:
    def refuse() -> int:
        raise ValueError("no")

    @dataclass(frozen=True, slots=True)
    class Refused:
        number: int = field(default_factory=refuse)

    with pytest.raises(ValueError, match="no"):
        Refused()
    assert Refused(1).number == 1


@pytest.mark.parametrize("options", [{}, {"slots": True}, {"frozen": True, "slots": True}])
def test_other_classes_are_made_the_standard_way(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "_CHANGES_CLASSES", not options.get("frozen"))

    @dataclass(**options)
    class Open:
        x: int = 1

    assert Open() == Open(1)
    assert not hasattr(Open.__init__, "__wrapped__")


def test_one_that_checks_itself_is_made_the_standard_way() -> None:
    @dataclass(frozen=True, slots=True)
    class Checked:
        x: int

        def __post_init__(self) -> None:
            object.__setattr__(self, "x", abs(self.x))

    assert Checked(-1).x == 1


@pytest.mark.parametrize(
    ("cls", "copied"), [(Request, Request.replace), (CurrentCall, lambda one, **changes: context._with(one, changes))]
)
def test_a_copy_has_every_field(cls: type[Any], copied: Any) -> None:
    """Where a statement for each field is written out, none is forgotten."""
    values = {one.name: object() for one in dataclasses.fields(cls)}
    copy = copied(cls(**values))
    assert {name: getattr(copy, name) for name in values} == values
    assert type(copy) is cls
    with pytest.raises(TypeError, match=f"{cls.__name__} has no field 'no_such'"):
        copied(copy, no_such=1)
