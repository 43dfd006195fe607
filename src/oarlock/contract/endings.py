"""Answers that did not end as the model would have ended them: nothing cut passes for an answer in silence."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from oarlock.contract.answers import require_answer
from oarlock.contract.errors import (
    BadRequestError,
    ConfigurationError,
    ContentFilterError,
    ContextWindowExceededError,
    LLMError,
    RefusalError,
    ServerError,
    TruncatedReply,
)
from oarlock.contract.reply import Reply
from oarlock.contract.secret import scrub

__all__ = ["OnLength", "on_length_of", "refused", "refuses_schemas", "require_whole"]

OnLength: TypeAlias = Literal["error", "return"]
"""What becomes of an answer that ended at the limit of tokens."""

# Finish reasons in OpenAI's words, and in those that other providers let through behind the same format.
_WHOLE: Final = {"stop", "tool_calls"}
_CUT: Final = {"length", "max_tokens", "max_output_tokens", "model_length"}  # also Anthropic, Gemini, Mistral
_FILTERED: Final = {"content_filter", "safety", "recitation", "prohibited_content", "blocklist", "spii"}  # also Gemini
_BROKEN: Final = {"error", "abort", "cancelled", "insufficient_system_resource"}  # OpenRouter, vLLM, DeepSeek


def on_length_of(owner: str, value: object) -> OnLength:
    """Return the setting `on_length`.

    Raises:
        ConfigurationError: it is none of the two words.
    """
    if value == "error":
        return "error"
    if value == "return":
        return "return"
    raise ConfigurationError(f"{owner}: on_length must be 'error' or 'return', not {value!r}.")


def require_whole(reply: Reply, who: str, on_length: OnLength = "error", refusal: str = "") -> Reply:
    """Return the reply if it is a whole answer.

    Args:
        reply: what came.
        who: the LLM in words, to begin messages with.
        on_length: `"return"` lets a text through that ended at the limit of tokens. Tool calls that ended there are an
            error in any case, since their arguments are incomplete.
        refusal: the model's words, if it declined to answer.

    Raises:
        TruncatedReply: it ended at the limit of tokens.
        ContentFilterError: a filter of the provider's ended it.
        RefusalError: the model declined to answer.
        ServerError: the server broke it off.
        EmptyReply: there is nothing in it.

    Example:
        >>> require_whole(Reply(text="Once upon a", finish_reason="length"), "gpt-x", "return").text
        'Once upon a'
    """
    if reply.finish_reason in _WHOLE and not refusal:
        return require_answer(reply, who)
    reason = (reply.finish_reason or "").lower()
    text = reply.text.strip()
    if reason in _FILTERED:
        raise _with_usage(_filtered(reply, who), reply)
    if reason == "refusal" or (refusal and not (text or reply.tool_calls)):
        raise _with_usage(refused(refusal or reply.text, who, reply.id), reply)
    if reason in _BROKEN:
        message = f"{who} broke off its answer after {len(reply.text)} characters (finish_reason: {reason})."
        raise ServerError(message, code=reason, request_id=reply.id)
    if reason in _CUT and (reply.tool_calls or not text or on_length == "error"):
        raise _with_usage(_cut(reply, who), reply)
    return require_answer(reply, who)


def refused(refusal: str, who: str, request_id: str | None = None) -> RefusalError:
    """Return the error for a model's refusal to answer."""
    said = scrub(refusal) or "it did not say why"
    return RefusalError(f"{who} refused to answer: {said}", code="refusal", request_id=request_id)


def refuses_schemas(error: BadRequestError) -> bool:
    """Return whether an endpoint's refusal is about the JSON schema that was sent along.

    Example:
        >>> refuses_schemas(BadRequestError("HTTP 400: response_format is not supported by this model."))
        True
    """
    said = str(error).lower()
    words = ("response_format", "response format", "json_schema", "json schema", "guided_json", "structured output")
    return any(word in said for word in words) and not isinstance(error, ContextWindowExceededError)


def _filtered(reply: Reply, who: str) -> ContentFilterError:
    return ContentFilterError(
        f"{who}'s answer was stopped by a content filter of the provider's, after {len(reply.text)} characters "
        f"(finish_reason: {reply.finish_reason}). Change what is asked, or the filter's settings.",
        code="content_filter",
        request_id=reply.id,
    )


def _cut(reply: Reply, who: str) -> TruncatedReply:
    at = f"{who}'s answer ended at the limit of tokens (finish_reason: {reply.finish_reason})"
    if reply.tool_calls:
        message = f"{at} within its tool calls, so that their arguments are incomplete. Raise max_tokens."
    elif not reply.text.strip():
        message = f"{at} before there was any text. Raise max_tokens: a model that reasons first needs more of them."
    else:
        message = f"{at}, after {len(reply.text)} characters. Raise max_tokens, or take what there is with on_length='return'."
    return TruncatedReply(message, text=reply.text, code="length", request_id=reply.id)


def _with_usage(error: LLMError, reply: Reply) -> LLMError:
    """Note what the answer cost: it has been paid for, though it is none."""
    error.usage = reply.usage
    return error
