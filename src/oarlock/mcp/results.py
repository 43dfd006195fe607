"""From what a tool of an MCP server gave to text for a model."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from oarlock.contract.errors import ToolError

__all__ = ["text_of"]


def text_of(result: Any) -> str:
    """Return a result's text; what is no text is named, and not shown. Structured content stands in for missing text.

    Raises:
        ToolError: the server says that it failed; the text is for the model.
    """
    parts = [part for block in _listed(result.content) if (part := _block(block))]
    if not parts and result.structured_content is not None:
        parts = [json.dumps(result.structured_content, ensure_ascii=False)]
    text = "\n".join(parts)
    if result.is_error:
        raise ToolError(text or "the tool failed and did not say why.")
    return text


def _listed(content: Iterable[Any] | None) -> Iterable[Any]:
    return content or ()


def _block(block: Any) -> str:
    kind = block.type
    if kind == "text":
        return str(block.text)
    if kind in ("image", "audio"):
        return f"[{kind}, {block.mime_type}, {len(block.data) * 3 // 4:,} bytes, not shown]"
    if kind == "resource_link":
        described = f": {block.description}" if block.description else ""
        return f"[resource {block.name!r} at {block.uri}{described}]"
    resource = getattr(block, "resource", None)
    text = getattr(resource, "text", None)
    return str(text) if text is not None else f"[resource at {getattr(resource, 'uri', '?')}, not shown]"
