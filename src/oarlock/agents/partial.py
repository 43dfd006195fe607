"""What has come so far of a structured answer, while a model writes it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Final, Union, get_args, get_origin

from oarlock.agents.structured import END_OF_THOUGHTS, end_of_value

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

__all__ = ["PartialReader"]

_THOUGHTS: Final = "<think>"
_FINAL: Final = re.compile(r"^[ \t]*\**final answer\**[ \t]*:", re.IGNORECASE | re.MULTILINE)
_OBJECT: Final = re.compile(r'\{\s*(?:"|\})')
_LIST: Final = re.compile(r"\[")
_OPEN_NUMBER: Final = re.compile(r"(?<=[:,\[\s])-?\d[-+.\deE]*\Z")  # more digits may come
_PATIENCE: Final = 50  # a text is read again when it has grown by a fiftieth: all readings together are linear in it
_MISSING: Final = object()


class PartialReader:
    """Reads a structured answer that comes in pieces.

    Args:
        model: what it is to be.
        as_json: give dictionaries in place of objects of the model.
        after_mark: only what follows "Final Answer:" is the answer.

    Example:
        >>> from pydantic import BaseModel
        >>> class Boat(BaseModel):
        ...     name: str
        ...     oars: int
        >>> reader = PartialReader(Boat)
        >>> for piece in ['Sure: {"name": "Ar', 'go", "oars": 5', "0}"]:
        ...     print(reader.feed(piece))
        name='Ar' oars=None
        name='Argo' oars=None
        name='Argo' oars=50
    """

    def __init__(self, model: type[BaseModel], *, as_json: bool = False, after_mark: bool = False) -> None:
        self._model = model
        self._as_json = as_json
        self._after_mark = after_mark
        self._begin = _LIST if _is_list(model) else _OBJECT
        self._pieces: list[str] = []
        self._size = 0
        self._next = 0  # how long the text has to be until it is read again
        self._last: tuple[Any, bool] | None = None
        self._shown: Any = None
        self._adapters: dict[tuple[Any, str], Any] = {}  # by the model and the field's name, or a type that it keeps

    def feed(self, piece: str) -> Any | None:
        """Take a piece; return what there is now, if that is something new."""
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size < self._next:
            return None
        self._next = self._size + self._size // _PATIENCE
        value, is_open = self._value()
        if value is _MISSING or (value, is_open) == self._last:
            return None
        self._last = value, is_open
        made = self._partial(self._model, value, is_open)
        if made is _MISSING or made == self._shown:
            return None
        self._shown = made
        return made.model_dump(mode="json", exclude_unset=True, warnings=False) if self._as_json else made

    def _value(self) -> tuple[Any, bool]:
        """Return the JSON value so far, of several the last one, as in the whole answer; and whether its last text is open."""
        from pydantic_core import from_json

        text = self._answer()
        starts = list(self._starts(text))
        if not starts:
            return _MISSING, False
        rest = _OPEN_NUMBER.sub("", text[starts[-1] :])
        try:
            value = from_json(rest, allow_partial="trailing-strings")
            return value, value != from_json(rest, allow_partial=True)
        except ValueError:
            return _MISSING, False

    def _answer(self) -> str:
        """Return the text without a model's thoughts."""
        self._pieces = ["".join(self._pieces)]
        text = self._pieces[0].rpartition(END_OF_THOUGHTS)[2]
        if text.lstrip().startswith(_THOUGHTS):
            return ""
        if not self._after_mark:
            return text
        mark = _FINAL.search(text)
        return text[mark.end() :] if mark else ""

    def _starts(self, text: str) -> Iterator[int]:
        """Yield where values begin, up to the first that is not whole yet."""
        at: int | None = 0
        while at is not None and (begin := self._begin.search(text, at)):
            yield begin.start()
            at = end_of_value(text, begin.start())

    # From a JSON value of which parts are missing to an object. What is open ends with a text of which more may come: that is
    # taken for a text only, since the beginning of a date, say, may be another date.

    def _partial(self, model: type[BaseModel], value: Any, is_open: bool) -> Any:
        """Return an object of the model with what there is; `None` stands for what has no default and has not come."""
        from pydantic_core import to_json

        if not is_open:
            with suppress(Exception):  # validators are the user's own code, and something is missing anyway
                return model.model_validate_json(to_json(value))
        given = {"root": value} if _is_root(model) else value
        if not isinstance(given, Mapping):
            return _MISSING
        last = next(reversed(given), None)
        there: dict[str, Any] = {}  # by the names that it has in JSON, as `model_construct` wants it
        names: set[str] = set()
        for name, field in model.model_fields.items():
            key = next((key for key in _keys(model, name, field) if key in given), None)
            made = _MISSING if key is None else self._field(model, name, field, given[key], is_open and key == last)
            if key is not None and made is not _MISSING:
                there[key] = made
                names.add(name)
        try:
            partial = model.model_construct(_fields_set=names, **there)
        except Exception:  # noqa: BLE001  likewise, in `model_post_init` or a default
            return _MISSING
        for name in model.model_fields:
            vars(partial).setdefault(name, None)
        return partial

    def _field(self, model: type[BaseModel], name: str, field: FieldInfo, value: Any, is_open: bool) -> Any:
        made = self._typed(field.annotation, value, is_open)
        if made is not _MISSING:
            return made
        kind = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
        return self._checked((model, name), kind, value, is_open)

    def _typed(self, kind: Any, value: Any, is_open: bool) -> Any:
        """Return the value of a type that may be there in part, `_MISSING` for other types."""
        parts = [part for part in get_args(kind) if part is not NoneType]
        origin = get_origin(kind)
        if origin is Annotated:
            return self._typed(parts[0], value, is_open)
        if origin in (Union, UnionType):
            return self._typed(parts[0], value, is_open) if len(parts) == 1 and value is not None else _MISSING
        if isinstance(kind, type) and hasattr(kind, "model_fields") and isinstance(value, Mapping):
            return self._partial(kind, value, is_open)
        if origin is list and isinstance(value, list):
            end = len(value) - 1
            items = (self._item(parts[0], one, is_open and place == end) for place, one in enumerate(value))
            return [one for one in items if one is not _MISSING]
        return _MISSING

    def _item(self, kind: Any, value: Any, is_open: bool) -> Any:
        made = self._typed(kind, value, is_open)
        return self._checked((id(kind), ""), kind, value, is_open) if made is _MISSING else made

    def _checked(self, place: tuple[Any, str], kind: Any, value: Any, is_open: bool) -> Any:
        """Return the value as what it is to be, if it is that already."""
        from pydantic import TypeAdapter
        from pydantic_core import to_json

        try:
            adapter = self._adapters.get(place)
            if adapter is None:
                adapter = self._adapters[place] = TypeAdapter(kind)
            made = adapter.validate_json(to_json(value))
        except Exception:  # noqa: BLE001  likewise
            return _MISSING
        is_itself = type(made) is type(value) and made == value
        return made if is_itself or not is_open else _MISSING


def _is_list(model: type[BaseModel]) -> bool:
    return _is_root(model) and get_origin(model.model_fields["root"].annotation) is list


def _is_root(model: type[BaseModel]) -> bool:
    return bool(getattr(model, "__pydantic_root_model__", False))


def _keys(model: type[BaseModel], name: str, field: FieldInfo) -> list[str]:
    """Return the names that a field may have in JSON."""
    alias: Any = field.validation_alias or field.alias
    choices = getattr(alias, "choices", [alias])
    keys = [key for key in choices if isinstance(key, str)]
    by_name = model.model_config.get("populate_by_name") or model.model_config.get("validate_by_name")
    return [*keys, name] if by_name or not keys else keys
