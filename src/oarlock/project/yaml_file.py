"""Reading YAML files so that whatever is wrong in them can be pointed at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from oarlock.contract.errors import ConfigurationError, a_kind

__all__ = ["YamlFile", "read_yaml"]

_DEPTH: Final = 6  # levels of mappings whose lines are noted; what we read has four

Path_ = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class YamlFile:
    """The content of a YAML file, a mapping.

    Attributes:
        path: the file.
        content: what stands in it.
        lines: for the path of keys to each value, the line of its key, counted from one.
    """

    path: Path
    content: dict[str, Any]
    lines: Mapping[Path_, int]

    def place(self, *keys: str) -> str:
        """Return the file, the line and the keys, for a message."""
        where = self.line_of(*keys)
        return f"{where}: {'.'.join(keys)}" if keys else where

    def line_of(self, *keys: str) -> str:
        """Return the file and the line, for a message."""
        line = self.lines.get(keys)
        return f"{self.path}, line {line}" if line else f"{self.path}"

    def below(self, *keys: str) -> dict[str, int]:
        """Return the lines of the keys in a mapping."""
        depth = len(keys)
        return {path[-1]: line for path, line in self.lines.items() if path[:depth] == keys and len(path) == depth + 1}


def read_yaml(path: Path) -> YamlFile:
    """Return the content of a file; nothing in it is run or looked up.

    Raises:
        ConfigurationError: it cannot be read, is no YAML, no mapping, or has a key twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.safe_load(text)
        lines: dict[Path_, int] = {}
        _note_lines(yaml.compose(text, yaml.SafeLoader), (), lines, path)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path} is not a text file in UTF-8.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise ConfigurationError(f"{path}{line}: {getattr(error, 'problem', None) or 'not valid YAML'}.") from error
    except RecursionError:
        raise ConfigurationError(f"{path} is nested too deeply.") from None
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ConfigurationError(f"{path} must be a mapping of names, not {a_kind(content)}.")
    return YamlFile(path=path, content=content, lines=lines)


def _note_lines(node: Any, above: Path_, lines: dict[Path_, int], file: Path) -> None:
    """Note the line of each key. An alias is the node it stands for, so the depth bounds what a hostile file costs."""
    if getattr(node, "id", None) != "mapping" or len(above) == _DEPTH or len(lines) > 10_000:
        return
    for key, value in node.value:
        path, line = (*above, str(key.value)), key.start_mark.line + 1
        if lines.get(path, line) != line:
            raise ConfigurationError(
                f"{file}, line {line}: {'.'.join(path)} stands there twice; first in line {lines[path]}."
            )
        lines[path] = line
        _note_lines(value, path, lines, file)
