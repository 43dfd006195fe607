"""The messages of a question, checked."""

from __future__ import annotations

from typing import Any, Final

from oarlock.contract.messages import Message
from oarlock.serve.errors import ApiError

__all__ = ["checked_messages"]

_ROLES: Final = ("system", "developer", "user", "assistant", "tool")
_MOST: Final = 10_000


def checked_messages(messages: Any) -> list[Message]:
    """Return messages that any LLM can be given.

    A content that is a list of texts becomes one text, which every LLM understands; a list with pictures or the like stays
    as it is, for LLMs that do.

    Raises:
        ApiError: 400, and which message is wrong.
    """
    if messages is None:
        raise _wrong("messages", "You must provide a messages parameter.", "missing_required_parameter")
    if not isinstance(messages, list):
        raise _wrong("messages", "'messages' must be a list.", "invalid_type")
    if not 0 < len(messages) <= _MOST:
        raise _wrong("messages", f"'messages' must have from 1 to {_MOST} messages.")
    return [_checked(message, f"messages[{number}]") for number, message in enumerate(messages)]


def _checked(message: Any, where: str) -> Message:
    if not isinstance(message, dict):
        raise _wrong(where, f"'{where}' must be an object.", "invalid_type")
    role = message.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise _wrong(f"{where}.role", f"'{where}.role' must be one of {', '.join(_ROLES)}.")
    checked: dict[str, Any] = {name: value for name, value in message.items() if value is not None}
    if role == "assistant" and "tool_calls" in checked:
        _check_calls(checked["tool_calls"], f"{where}.tool_calls")
    elif "content" not in checked and not (role == "assistant" and "refusal" in checked):
        raise _wrong(f"{where}.content", f"'{where}.content' must be a text or a list of parts.")
    if role == "tool" and not isinstance(checked.get("tool_call_id"), str):
        raise _wrong(f"{where}.tool_call_id", f"'{where}.tool_call_id' must name the call that this answers.")
    checked["content"] = _content(checked.get("content"), f"{where}.content")
    return checked  # type: ignore[return-value]


def _content(content: Any, where: str) -> Any:
    if content is None or isinstance(content, str):
        return content
    if not isinstance(content, list) or not content:
        raise _wrong(where, f"'{where}' must be a text or a list of parts.", "invalid_type")
    for number, part in enumerate(content):
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise _wrong(f"{where}[{number}]", f"'{where}[{number}]' must be an object with a 'type'.")
        if part["type"] == "text" and not isinstance(part.get("text"), str):
            raise _wrong(f"{where}[{number}].text", f"'{where}[{number}].text' must be a text.")
    if all(part.keys() == {"type", "text"} and part["type"] == "text" for part in content):
        return "\n".join(part["text"] for part in content)
    return content


def _check_calls(calls: Any, where: str) -> None:
    if not isinstance(calls, list) or not calls:
        raise _wrong(where, f"'{where}' must be a list of tool calls.", "invalid_type")
    for number, call in enumerate(calls):
        function = call.get("function") if isinstance(call, dict) else None
        texts = (
            [function.get("name"), function.get("arguments"), call.get("id")] if isinstance(function, dict) else [None]
        )
        if not all(isinstance(text, str) for text in texts):
            message = f"'{where}[{number}]' must have an 'id' and a 'function' with 'name' and 'arguments', all of them texts."
            raise _wrong(f"{where}[{number}]", message)


def _wrong(param: str, message: str, code: str = "invalid_value") -> ApiError:
    return ApiError(400, message, code=code, param=param)
