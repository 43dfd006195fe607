"""A Griffe extension, for the reference in the documentation: reads our docstrings, and our classes of data, as we write them.

`Example:` begins a section of examples. Parameters that share a sentence (`client_id, client_secret: see ...`) become one
entry each, so that each has its type and default. A class made by `oarlock.contract.records.dataclass`, which Griffe does not
know, shows its own fields as arguments; those of its base are shown there. A `Name` that has an entry in the reference leads to
it.
"""

import re
from pathlib import Path
from typing import Any

from griffe import Attribute, Class, Expr, ExprCall, Extension, Function, Object, Parameter, ParameterKind, Parameters

EXAMPLE = re.compile(r"^( *)Example:$", re.MULTILINE)
SHARED = re.compile(r"^( +)(\w+(?:, (?:\w+|\.\.\.))+): (.*)$", re.MULTILINE)
OURS = "oarlock.contract.records.dataclass"
ENTRY = re.compile(r"^::: ([\w.]+)\.(\w+)$", re.MULTILINE)
NAME = re.compile(r"(?<![\[`])`([A-Z]\w+)`(?![\]`])")


def entries() -> dict[str, str]:
    """Return for each name where its entry is; for one with several, such as `ApiKey`, none: which is meant is not known."""
    pages = sorted(Path("docs/reference").glob("*.md"))
    found = [(name, f"{module}.{name}") for page in pages for module, name in ENTRY.findall(page.read_text("utf-8"))]
    names = [name for name, _ in found]
    return {name: path for name, path in found if names.count(name) == 1}


class OurDocstrings(Extension):
    """Rewrites each docstring before it is parsed, and gives classes of data their `__init__`."""

    def __init__(self) -> None:
        super().__init__()
        self.entries = entries()

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Rewrite the docstring of a module, class, function or attribute."""
        if obj.docstring is not None:
            text = EXAMPLE.sub(r"\1Examples:", obj.docstring.value)
            text = SHARED.sub(one_line_each, text)
            obj.docstring.value = "\n".join(self.linked(line, obj.name) for line in text.split("\n"))

    def linked(self, line: str, itself: str) -> str:
        """Return a line of a docstring with links at the names that it has; examples stay as they are."""
        if line.lstrip().startswith((">>>", "...")):
            return line
        return NAME.sub(
            lambda name: (
                f"[{name[0]}][{self.entries[name[1]]}]" if name[1] in self.entries and name[1] != itself else name[0]
            ),
            line,
        )

    def on_class_members(self, *, cls: Class, **_: Any) -> None:
        """Give a class of data the `__init__` that our decorator makes, as far as its own fields go."""
        makers = [one.value for one in cls.decorators if isinstance(one.value, Expr) and one.callable_path == OURS]
        fields = [one for one in cls.members.values() if isinstance(one, Attribute) and is_field(one)]
        if makers and fields:
            kind = ParameterKind.keyword_only if "kw_only" in str(makers[0]) else ParameterKind.positional_or_keyword
            itself = Parameter("self", kind=ParameterKind.positional_or_keyword)
            arguments = [
                Parameter(f.name, annotation=f.annotation, kind=kind, default=default(f.value)) for f in fields
            ]
            cls.set_member("__init__", Function("__init__", parent=cls, parameters=Parameters(itself, *arguments)))


def one_line_each(entry: re.Match[str]) -> str:
    """Return an entry for each of the parameters that share one."""
    indent, names, said = entry.groups()
    return "\n".join(f"{indent}{name}: {said}" for name in names.split(", ") if name != "...")


def is_field(attribute: Attribute) -> bool:
    """Return whether a class's attribute is a field that is told of."""
    return (
        not attribute.name.startswith("_")
        and attribute.annotation is not None
        and "ClassVar" not in str(attribute.annotation)
    )


def default(value: Any) -> Any:
    """Return what a field is if nothing is given: of `field(...)` its default, `...` where it is made anew each time."""
    if not (isinstance(value, ExprCall) and str(value.function) == "field"):
        return value
    settings = {getattr(one, "name", ""): getattr(one, "value", None) for one in value.arguments}
    return settings.get("default", "..." if "default_factory" in settings else None)
