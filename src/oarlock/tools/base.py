"""`BaseTool`: a tool as a class with `_run()`, and how the library runs any tool."""

from __future__ import annotations

import functools
import inspect
from abc import ABC
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ClassVar, Self

from oarlock.contract.context import current_call, scope
from oarlock.contract.errors import ConfigurationError, ToolError, a_kind, misspelt
from oarlock.contract.messages import ToolSchema
from oarlock.runtime import Runtime, ThreadPool, drive, drive_async
from oarlock.tools.docstrings import parse_docstring
from oarlock.tools.fields import Fields, fields_of
from oarlock.tools.names import function_name
from oarlock.tools.results import as_text, fitted
from oarlock.tools.schema import KEY, Takes, arguments_of, check_signature, names_around

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["BaseTool"]

Forms = tuple[Callable[..., Any] | None, Callable[..., Awaitable[Any]] | None]

_SETTINGS = frozenset(
    {
        "name",
        "description",
        "args_schema",
        "result_as_answer",
        "in_place",
        "dangerous",
        "max_usage_count",
        "cache_function",
        "idempotent",
        "on_resume",
        "result_schema",
    }
)
_COUNTS = ("current_usage_count", "reset_usage_count")  # of CrewAI's tools, which count over all runs
_ON_RESUME = ("retry", "skip", "fail")
_METHODS = frozenset(
    {
        "run",
        "arun",
        "handle",
        "validate",
        "schema",
        "arguments",
        "function_name",
        "by_name",
        "format_output_for_agent",
        "resume_policy",
    }
)

# Blocking tools of async runs share these threads. A tool that itself holds one and starts an async run of its own must
# not wait for another one of the same, or 64 of them would wait for each other: its tools have threads without a bound.
_THREADS = ThreadPool(64, "oarlock-tools")
_NESTED_THREADS = ThreadPool(None, "oarlock-nested-tools")
_in_tool: ContextVar[bool] = ContextVar("oarlock_in_tool", default=False)


class BaseTool:
    """Something that a model may ask for. Subclass it, write `_run()`, and give an object of it to an `Agent`.

    A subclass writes `_run(self, ...)`, or `async def _arun(self, ...)`, or both; the library picks what suits. The
    arguments that a model is told about come from that method's type hints and docstring, or from `args_schema`. They
    are checked strictly before the tool runs: `"3"` is not taken for `3`. A parameter `idempotency_key: str` is not
    shown to the model but filled with a text that is the same whenever this very call is repeated after a crash.

    The attributes below, and further annotated ones of a subclass, are keyword arguments too; the types of further ones are
    not checked.

    Attributes:
        name: for people; models see `function_name`, which is made of it. Default: the class's name.
        description: when and how to use it, for the model. Default: the class's docstring.
        args_schema: a pydantic model of the arguments; default: from the signature of `_run()`.
        result_as_answer: the result is the agent's final answer, as it is.
        in_place: `_run()` takes well under a millisecond, so that an async run need not use a thread for it.
        dangerous: each call that a model makes needs an approval, from `Agent(on_approval=...)` or `Crew(on_approval=...)`.
        max_usage_count: how often models may run it in one run of a crew, by all agents that have this very object; further
            calls are refused in words.
        cache_function: `(arguments, result) -> bool`: whether an equal call later in the same run gets this result without
            running the tool. `True`: always; `False`: never, whatever the agent's `cache` says. Failures are never kept.
        idempotent: running it twice does no more than running it once, as for one that only reads.
        on_resume: what a durable run does that was cut off while the tool ran, so that nobody knows whether it did anything:
            `"retry"`; `"skip"`, and tell the model so; or `"fail"`. Default: `"retry"` if it is `idempotent` or takes an
            `idempotency_key`, else `"fail"`.
        result_schema: a pydantic model that results must fit: a model is told the fields that it has, and nothing else.

    Raises:
        ToolError: a subclass that writes neither method, or that a model cannot be told about.
        ConfigurationError: an unknown or missing argument.

    Example:
        >>> class Add(BaseTool):
        ...     '''Add two numbers.'''
        ...     unit: str = ""
        ...     def _run(self, a: int, b: int) -> str:
        ...         return f"{a + b}{self.unit}"
        >>> Add(unit=" kg").run(a=1, b=2)
        '3 kg'
    """

    name: str
    description: str
    args_schema: type[BaseModel] | None = None
    result_as_answer: bool = False
    in_place: bool = False
    dangerous: bool = False
    max_usage_count: int | None = None
    cache_function: Callable[..., Any] | bool | None = None
    idempotent: bool = False
    on_resume: str | None = None
    result_schema: type[BaseModel] | None = None

    is_part_of_run: ClassVar[bool] = False  # true for a tool that works through the run's own model and tool calls
    _oarlock_fields: ClassVar[Fields] = Fields(names=_SETTINGS)
    _oarlock_around: Mapping[str, Any] = {}
    _oarlock_run_is_async: ClassVar[bool] = False

    def __init_subclass__(cls, *, abstract: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._oarlock_fields = fields_of(cls, cls._oarlock_fields)
        taken = _METHODS & cls._oarlock_fields.names
        if taken:
            raise ToolError(
                f"{cls.__name__} has a field {min(taken)!r}, which is a method of every tool: call it otherwise."
            )
        abstract = abstract or ABC in cls.__bases__ or _has_abstract_methods(cls)
        if not (_is_written(cls) or abstract):
            raise ToolError(
                f"{cls.__name__} has nothing to run: define _run(self, ...), or async def _arun(self, ...). "
                f"If it is only a base for others: class {cls.__name__}(BaseTool, abstract=True)."
            )
        cls._oarlock_run_is_async = inspect.iscoroutinefunction(cls._run)
        for written in (vars(cls).get("_run"), vars(cls).get("_arun")):
            if inspect.isfunction(written):
                check_signature(written, f"{cls.__name__}.{written.__name__}()")
                cls._oarlock_around = {**cls._oarlock_around, **names_around(written)}

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:  # noqa: ARG004  a subclass's __init__ takes them
        if not _is_written(cls):
            raise ToolError(f"{cls.__name__} is only a base class: subclass it and define _run().")
        tool = super().__new__(cls)
        for name, value in cls._oarlock_fields.fresh.items():
            setattr(tool, name, value())
        return tool

    def __init__(self, **fields: Any) -> None:
        cls = type(self)
        known = cls._oarlock_fields
        if not fields.keys() <= known.names:
            raise misspelt(cls.__name__, sorted(fields.keys() - known.names), known.names)
        for name, value in fields.items():
            setattr(self, name, value)
        missing = known.required - fields.keys() - _SETTINGS
        if missing and cls.__init__ is BaseTool.__init__:
            raise ConfigurationError(
                f"{cls.__name__} needs the argument{'s'[: len(missing) - 1]} {', '.join(sorted(missing))}."
            )

    if not TYPE_CHECKING:  # as seen by type checkers these are plain attributes

        def __getattr__(self, name: str) -> Any:
            if name == "name":
                return type(self).__name__
            if name == "description":
                return _described(type(self))
            hint = ": each run counts by itself, and anew" if name in _COUNTS else ""
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{hint}", name=name, obj=self)

    # What a subclass writes.

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        """Do it, blocking."""
        raise NotImplementedError

    async def _arun(self, *args: Any, **kwargs: Any) -> Any:
        """Do it as a coroutine."""
        raise NotImplementedError

    def format_output_for_agent(self, result: Any) -> str:
        """Return what a model is told of a result: a text as it is, structures as JSON. Write it anew to say it shorter.

        Raises:
            ToolError: the result does not fit `result_schema`.
        """
        return as_text(result if self.result_schema is None else fitted(self.result_schema, result))

    def _forms(self) -> Forms:
        """Return the blocking and the awaitable form, where there is one."""
        cls = type(self)
        sync = self._run if cls._run is not BaseTool._run else None
        async_ = self._arun if cls._arun is not BaseTool._arun else None
        return (None, async_ or sync) if cls._oarlock_run_is_async else (sync, async_)

    # What others may ask of a tool.

    @property
    def function_name(self) -> str:
        """The name that models call: `"Web Search"` becomes `"web_search"`; valid names stay as they are."""
        name: object = self.name
        if not isinstance(name, str) or not name.strip():
            raise ToolError(f"The name of {a_kind(self)} must be a text, not {name!r}.")
        return function_name(name)

    @property
    def schema(self) -> ToolSchema:
        """The tool as models see it, in OpenAI's shape; not to be changed.

        Raises:
            ToolError: a model cannot be told about this tool: no description, or a parameter of an odd type.
        """
        name, description, parameters = self.function_name, self.description, self.arguments.parameters
        if not description or not description.strip():
            raise ToolError(f"The tool {name!r} needs a description (a docstring will do): a model goes by it.")
        function = {"name": name, "description": description, "parameters": parameters}
        known: dict[str, Any] | None = self.__dict__.get("_oarlock_schema")
        if known is None or known["function"] != function:  # its name and description may be changed at any time
            known = self.__dict__["_oarlock_schema"] = {"type": "function", "function": function}
        return known

    @property
    def resume_policy(self) -> str:
        """What a durable run does that was cut off while the tool ran: `"retry"`, `"skip"` or `"fail"`.

        Raises:
            ToolError: `on_resume` is something else.
        """
        chosen: object = self.on_resume
        if chosen is None:
            return "retry" if self.idempotent or self.arguments.wants_key else "fail"
        if chosen not in _ON_RESUME:
            raise ToolError(f"The tool {self.function_name!r}: on_resume must be one of {_ON_RESUME}, not {chosen!r}.")
        return str(chosen)

    @property
    def arguments(self) -> Takes:
        """What it takes; worked out once."""
        holder: Any = self if "args_schema" in self.__dict__ else type(self)
        found: Takes | None = holder.__dict__.get("_oarlock_arguments")
        if found is None:
            found = self._read_arguments()
            holder._oarlock_arguments = found  # noqa: SLF001  its own cache
        return found

    def _read_arguments(self) -> Takes:
        sync, async_ = self._forms()
        function = sync or async_
        assert function is not None, "a tool has one form at least"
        docstrings = (function.__doc__, type(self).__doc__)
        return arguments_of(
            function,
            f"{type(self).__name__}.{getattr(function, '__name__', '_run')}()",
            args_schema=self.args_schema,
            docstring=next((text for text in docstrings if parse_docstring(text)[1]), None),
            around=self._oarlock_around,
        )

    def validate(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return checked arguments for the function, with defaults, and pydantic objects where it wants them.

        Raises:
            ToolError: a wrong type, a missing or an unknown argument; the message says which, for the model.
        """
        return self.arguments.check(arguments)

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Run the tool directly, blocking, with checked arguments, and return what it returned.

        Raises:
            ToolError: wrong arguments. Whatever the tool itself raises passes.
        """
        arguments = self.validate(self.by_name(args, kwargs))
        return drive(lambda runtime: self.handle(runtime, arguments))

    async def arun(self, *args: Any, **kwargs: Any) -> Any:
        """Run the tool directly from a coroutine; the same as `run`."""
        arguments = self.validate(self.by_name(args, kwargs))
        return await drive_async(lambda runtime: self.handle(runtime, arguments))

    def by_name(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return positional and keyword arguments by name, not yet checked.

        Raises:
            ToolError: too many, or one twice.
        """
        order = self.arguments.order
        if len(args) > len(order):
            raise ToolError(f"{self.function_name!r} takes at most {len(order)} arguments, not {len(args)}.")
        named = dict(zip(order, args, strict=False))
        if twice := named.keys() & kwargs.keys():
            raise ToolError(f"{self.function_name!r} got {min(twice)!r} twice.")
        return {**named, **kwargs}

    async def handle(
        self,
        runtime: Runtime,
        arguments: Mapping[str, Any],
        *,
        deadline: float | None = None,
        idempotency_key: str | None = None,
    ) -> Any:
        """Run the tool with checked arguments: the one way in which the library itself runs one.

        Args:
            runtime: drives it. On an event loop a blocking tool runs in a thread, 64 at most at once.
            arguments: from `validate`.
            deadline: a `runtime.now()` at which to give up with `TimeoutError`; default: that of `current_call()`.
            idempotency_key: for a tool that declares one, and for `current_call()` inside the tool.
        """
        if self.arguments.wants_key:
            arguments = {**arguments, KEY: idempotency_key or runtime.new_id()}
        sync, async_ = self._forms()
        pool = None if self.in_place else _NESTED_THREADS if _in_tool.get() else _THREADS
        blocking = functools.partial(_call, sync, arguments) if sync else None
        awaitable = functools.partial(async_, **arguments) if async_ else None
        outer = current_call()
        deadline = outer.deadline if deadline is None else deadline
        if (
            deadline == outer.deadline
            and idempotency_key == outer.idempotency_key
            and not outer.stop
            and not outer.retried
            and (outer.apart or not outer.charges)
        ):
            result = await runtime.invoke(blocking, awaitable, deadline=deadline, pool=pool)
        else:
            with scope(
                attempt=1, deadline=deadline, idempotency_key=idempotency_key, stop=(), retried=False, apart=True
            ):
                result = await runtime.invoke(blocking, awaitable, deadline=deadline, pool=pool)
        if inspect.iscoroutine(result):  # of a blocking function that only returns what another one began
            return await runtime.invoke(None, _awaited, result, deadline=deadline)
        return result

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r})"


def _call(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    token = _in_tool.set(True)
    try:
        return function(**arguments)
    except StopIteration as error:  # neither a coroutine nor a future of asyncio can carry this one
        raise RuntimeError("StopIteration: an iterator was empty") from error
    finally:
        _in_tool.reset(token)


async def _awaited(result: Awaitable[Any]) -> Any:
    return await result


def _is_written(cls: type[BaseTool]) -> bool:
    return any(getattr(cls, name) is not getattr(BaseTool, name) for name in ("_run", "_arun", "_forms"))


def _has_abstract_methods(cls: type) -> bool:
    return any(getattr(value, "__isabstractmethod__", False) for value in vars(cls).values())


def _described(cls: type[BaseTool]) -> str:
    """Return the description of a tool that gives none: from its class's docstring, else from its method's."""
    classes = [base.__doc__ for base in cls.__mro__ if issubclass(base, BaseTool) and base.__module__ != __name__]
    methods = [one.__doc__ for one in (cls._run, cls._arun) if one.__module__ != __name__]
    return next((words for text in classes + methods if (words := parse_docstring(text)[0])), "")
