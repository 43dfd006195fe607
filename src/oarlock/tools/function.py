"""`@tool`: a function as a tool."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

from oarlock.contract.errors import ToolError
from oarlock.tools.base import BaseTool, Forms
from oarlock.tools.docstrings import parse_docstring
from oarlock.tools.schema import Arguments, arguments_of, check_parameters, check_signature, names_around

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["FunctionTool", "tool"]

P = ParamSpec("P")
R = TypeVar("R")


class FunctionTool(BaseTool, Generic[P, R]):
    """A tool made of a function by `@tool`. Called directly, it is the function.

    Attributes:
        func: the function.

    Example:
        >>> from oarlock import tool
        >>> @tool
        ... def add(a: int, b: int = 1) -> int:
        ...     "Add two numbers."
        ...     return a + b
        >>> add(1), add.run(a=1, b=2)
        (2, 3)
    """

    func: Callable[P, R]

    def __init__(
        self,
        func: Callable[P, R],
        *,
        name: str | None = None,
        description: str | None = None,
        args_schema: type[BaseModel] | None = None,
        result_as_answer: bool = False,
        in_place: bool = False,
        dangerous: bool = False,
        max_usage_count: int | None = None,
        cache_function: Callable[..., Any] | bool | None = None,
        idempotent: bool = False,
        on_resume: str | None = None,
        result_schema: type[BaseModel] | None = None,
    ) -> None:
        plain: Any = func.func if isinstance(func, functools.partial) else func
        self.func = func
        self.name = str(name or getattr(plain, "__name__", type(func).__name__))
        self.args_schema = args_schema
        self.result_as_answer = result_as_answer
        self.in_place = in_place
        self.dangerous = dangerous
        self.max_usage_count = max_usage_count
        self.cache_function = cache_function
        self.idempotent = idempotent
        self.on_resume = on_resume
        self.result_schema = result_schema
        signature = check_signature(func, self._who)
        if args_schema is None:
            check_parameters(signature, self._who)
        docstring = None if description else inspect.getdoc(plain)
        self.description = description or parse_docstring(docstring)[0]
        if not self.description.strip():
            raise ToolError(
                f"{self._who} has no docstring: a model needs a description. Write one, or give @tool(description=...)."
            )
        self._is_async = inspect.iscoroutinefunction(func)
        self._oarlock_around = names_around(plain)
        functools.update_wrapper(self, plain, updated=())

    @property
    def _who(self) -> str:
        return f"{getattr(self.func, '__name__', self.name)}()"

    def _forms(self) -> Forms:
        function: Any = self.func
        return (None, function) if self._is_async else (function, None)

    def _read_arguments(self) -> Arguments:
        return arguments_of(self.func, self._who, args_schema=self.args_schema, around=self._oarlock_around)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.func(*args, **kwargs)

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Pickle and copy by reference, as functions are."""
        return getattr(self.func, "__qualname__", self.name)


@overload
def tool(name: Callable[P, R], /) -> FunctionTool[P, R]: ...
@overload
def tool(
    name: str | None = None,
    *,
    description: str | None = None,
    args_schema: type[BaseModel] | None = None,
    result_as_answer: bool = False,
    in_place: bool = False,
    dangerous: bool = False,
    max_usage_count: int | None = None,
    cache_function: Callable[..., Any] | bool | None = None,
    idempotent: bool = False,
    on_resume: str | None = None,
    result_schema: type[BaseModel] | None = None,
) -> Callable[[Callable[P, R]], FunctionTool[P, R]]: ...
def tool(
    name: Any = None,
    *,
    description: str | None = None,
    args_schema: type[BaseModel] | None = None,
    result_as_answer: bool = False,
    in_place: bool = False,
    dangerous: bool = False,
    max_usage_count: int | None = None,
    cache_function: Callable[..., Any] | bool | None = None,
    idempotent: bool = False,
    on_resume: str | None = None,
    result_schema: type[BaseModel] | None = None,
) -> Any:
    """Make a tool of a function, plain or `async`; its type hints and docstring tell the model what it takes.

    Args:
        name: for people; default: the function's name. Models see it as `function_name`.
        description: when and how to use it, for the model; default: the docstring up to its first section.
        args_schema: a pydantic model of the arguments; default: from the signature.
        result_as_answer: the result is the agent's final answer, as it is.
        in_place: takes well under a millisecond, so that an async run need not use a thread for it.
        dangerous: each call that a model makes needs an approval; see `BaseTool`, here and for the next two.
        max_usage_count: how often models may run it in one run.
        cache_function: whether an equal call later in the same run gets the same result without running it.
        idempotent: running it twice does no more than running it once; see `BaseTool`, here and for the next one.
        on_resume: `"retry"`, `"skip"` or `"fail"`: for a durable run that was cut off while the tool ran.
        result_schema: a pydantic model that results must fit; see `BaseTool`.

    Raises:
        ToolError: no description, or no parameters but `*args` and `**kwargs`, which a model cannot give by name.

    Example:
        >>> @tool
        ... def add(a: int, b: int = 1) -> int:
        ...     '''Add two numbers.'''
        ...     return a + b
        >>> add(1, 2), add.run(a=1), add.name
        (3, 2, 'add')
    """
    if name is None or isinstance(name, str):
        return functools.partial(
            _make,
            name=name,
            description=description,
            args_schema=args_schema,
            result_as_answer=result_as_answer,
            in_place=in_place,
            dangerous=dangerous,
            max_usage_count=max_usage_count,
            cache_function=cache_function,
            idempotent=idempotent,
            on_resume=on_resume,
            result_schema=result_schema,
        )
    return _make(name)


def _make(function: Any, **settings: Any) -> FunctionTool[..., Any]:
    if isinstance(function, type) or not callable(function) or isinstance(function, BaseTool):
        raise ToolError(f"@tool makes tools of functions; {function!r} is none.")
    return FunctionTool(function, **settings)
