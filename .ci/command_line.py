"""Prints docs/reference/command-line.md, from the commands themselves: `make command-line` writes it."""

import inspect
import re
import sys
import typing
from collections.abc import Callable, Iterator
from typing import Any

import typer
from typer.models import ArgumentInfo, OptionInfo

from oarlock.cli.app import app

BEGINNING = """# The command line

`oarlock COMMAND --help` says the same. Secrets are given by reference: the name of a variable, or of a file.
An error is one sentence that says what to do, and exit code 1; a wrong command line is exit code 2.

`oarlock --debug COMMAND ...` shows the traceback of an error, `oarlock --version` the version.
"""
TYPES = {"Path": "PATH", "int": "NUMBER", "float": "NUMBER", "str": "TEXT"}


def page() -> str:
    """Return the page."""
    return BEGINNING + "".join(section(name, callback) for name, callback in dict(commands(app, "oarlock")).items())


def commands(group: typer.Typer, prefix: str) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield each command's whole name and its function, in the order of `--help`."""
    for command in group.registered_commands:
        assert command.callback is not None
        yield f"{prefix} {command.name or command.callback.__name__.replace('_', '-')}", command.callback
    for child in group.registered_groups:
        instance = child.typer_instance
        assert instance is not None
        name = f"{prefix} {child.name or instance.info.name}"
        own = instance.registered_callback
        if own is not None and own.invoke_without_command is True and own.callback is not None:
            yield name, own.callback
        yield from commands(instance, name)


def section(name: str, callback: Callable[..., Any]) -> str:
    """Return a command's section: how it is called, what it does, its options."""
    hints = typing.get_type_hints(callback, include_extras=True)
    arguments, rows = [], []
    for parameter in inspect.signature(callback).parameters.values():
        annotated = hints[parameter.name]
        setting = next((one for one in getattr(annotated, "__metadata__", ()) if hasattr(one, "param_decls")), None)
        if isinstance(setting, ArgumentInfo):
            what = setting.metavar or parameter.name.upper()
            arguments.append(what)
            rows += [(f"`{what}`", setting.help)] if setting.help else []
        elif isinstance(setting, OptionInfo) and not setting.hidden:
            rows.append((option(parameter.name, setting, annotated.__origin__), said(setting, parameter.default)))
    usage = " ".join([name, *arguments])
    table = "".join(f"| {what.replace('|', '` or `')} | {in_markdown(words or '')} |\n" for what, words in rows)
    return f"\n## {name}\n\n`{usage}`\n\n{in_markdown(inspect.getdoc(callback) or '')}\n" + (
        f"\n| | |\n|---|---|\n{table}" if table else ""
    )


def option(name: str, setting: OptionInfo, kind: Any) -> str:
    """Return an option's names, and what it takes."""
    written = [one for one in (setting.default, *(setting.param_decls or ())) if isinstance(one, str)]
    names = [name.strip() for one in written for name in one.split("/")]
    kinds = [one for one in (kind, *typing.get_args(kind)) if isinstance(one, type) and one is not type(None)]
    simple = next((one.__name__ for one in reversed(kinds) if typing.get_origin(one) is None), "str")
    flag = simple == "bool"
    value = "" if flag else " " + (setting.metavar or TYPES.get(simple, "TEXT"))
    usual = name.replace("_", "-")
    return ", ".join(
        f"`{one}{value}`" for one in names or ([f"--{usual}", f"--no-{usual}"] if flag else [f"--{usual}"])
    )


def said(setting: OptionInfo, default: Any) -> str:
    """Return what an option is for, and its default if that is not nothing."""
    nothing = default in (None, False, True, inspect.Parameter.empty)
    variable = f" Else `{setting.envvar}` in the environment." if isinstance(setting.envvar, str) else ""
    return f"{setting.help or ''}{variable}" + ("" if nothing else f" Default: `{default}`.")


def in_markdown(help_text: str) -> str:
    """Return a help text in Markdown; what is bold in Rich's markup is a command."""
    text = re.sub(r"\[b\](.*?)\[/b\]", r"`\1`", help_text)
    return text.replace("|", r"\|").strip()


if __name__ == "__main__":
    sys.stdout.write(page())
