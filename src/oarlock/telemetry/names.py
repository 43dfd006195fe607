"""Every name that telemetry uses, in one table: spans, attributes, events, metrics, and the bounds of histograms.

Names that begin with `gen_ai.`, `server.`, `error.` and `http.` are those of OpenTelemetry's semantic conventions for
generative AI, which are still in development (https://github.com/open-telemetry/semantic-conventions-genai): where they change,
this module does. Those that begin with `oarlock.` are for what the conventions have no name for, above all for why a call waited.
"""

from __future__ import annotations

from typing import Final

__all__ = ["Attribute", "Histograms", "Operation", "SpanEvent"]


class Operation:
    """Values of `gen_ai.operation.name`; a span's name begins with them."""

    CHAT: Final = "chat"
    WORKFLOW: Final = "invoke_workflow"
    AGENT: Final = "invoke_agent"
    TOOL: Final = "execute_tool"


class Attribute:
    """Names of attributes."""

    OPERATION: Final = "gen_ai.operation.name"
    PROVIDER: Final = "gen_ai.provider.name"
    AGENT: Final = "gen_ai.agent.name"
    WORKFLOW: Final = "gen_ai.workflow.name"
    REQUEST_MODEL: Final = "gen_ai.request.model"
    TEMPERATURE: Final = "gen_ai.request.temperature"
    MAX_TOKENS: Final = "gen_ai.request.max_tokens"
    STREAM: Final = "gen_ai.request.stream"
    OUTPUT_TYPE: Final = "gen_ai.output.type"
    RESPONSE_MODEL: Final = "gen_ai.response.model"
    RESPONSE_ID: Final = "gen_ai.response.id"
    FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
    FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
    INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
    OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
    CACHED_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
    TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105  no password
    TOOL: Final = "gen_ai.tool.name"
    TOOL_TYPE: Final = "gen_ai.tool.type"
    SERVER_ADDRESS: Final = "server.address"
    SERVER_PORT: Final = "server.port"
    ERROR_TYPE: Final = "error.type"
    STATUS_CODE: Final = "http.response.status_code"

    # What users, models and tools wrote: only where content is asked for.
    INPUT_MESSAGES: Final = "gen_ai.input.messages"
    OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
    TOOL_DEFINITIONS: Final = "gen_ai.tool.definitions"
    TOOL_ARGUMENTS: Final = "gen_ai.tool.call.arguments"
    TOOL_RESULT: Final = "gen_ai.tool.call.result"
    ERROR_MESSAGE: Final = "oarlock.error.message"
    REASON: Final = "oarlock.reason"

    # Ours.
    ATTEMPTS: Final = "oarlock.attempts"
    ATTEMPT: Final = "oarlock.attempt"
    WAITED: Final = "oarlock.waited.total"  # seconds
    WAITED_FOR: Final = "oarlock.waited."  # and the cause: `oarlock.waited.retry`, `oarlock.waited.rate_limit`, ...
    CAUSE: Final = "oarlock.wait.cause"
    EXPECTED: Final = "oarlock.wait.expected"
    SECONDS: Final = "oarlock.seconds"
    ESTIMATED: Final = "oarlock.usage.estimated"
    CACHED: Final = "oarlock.cached"
    ABANDONED: Final = "oarlock.abandoned"
    ERROR_CODE: Final = "oarlock.error.code"
    REQUEST_ID: Final = "oarlock.error.request_id"
    FROM_MODEL: Final = "oarlock.fallback.from"
    TO_MODEL: Final = "oarlock.fallback.to"
    ENDPOINT: Final = "oarlock.circuit.endpoint"
    STATE: Final = "oarlock.circuit.state"
    WHY: Final = "oarlock.why"
    METHOD: Final = "oarlock.sign_in.method"
    EXPIRES_IN: Final = "oarlock.sign_in.expires_in"
    SAVED_TOKENS: Final = "oarlock.saved_tokens"
    RUN_ID: Final = "oarlock.run.id"
    TASK: Final = "oarlock.task.name"
    TASK_NUMBER: Final = "oarlock.task.number"
    TASKS: Final = "oarlock.run.tasks"
    RUN_TOKENS: Final = "oarlock.run.tokens"
    RUN_CALLS: Final = "oarlock.run.calls"
    GUARDRAIL: Final = "oarlock.guardrail.name"
    PASSED: Final = "oarlock.guardrail.passed"
    REJECTED_BY: Final = "oarlock.rejected_by"
    COWORKER: Final = "oarlock.coworker"
    APPROVED: Final = "oarlock.approved"
    TOKENS_BEFORE: Final = "oarlock.context.tokens_before"
    TOKENS_AFTER: Final = "oarlock.context.tokens_after"
    WINDOW: Final = "oarlock.context.window"


class SpanEvent:
    """Names of events on spans."""

    WAITING: Final = "oarlock.waiting"
    WAITED: Final = "oarlock.waited"
    RETRY: Final = "oarlock.retry"
    FALLBACK: Final = "oarlock.fallback"
    CIRCUIT: Final = "oarlock.circuit"
    CACHE_HIT: Final = "oarlock.cache_hit"
    SIGNED_IN: Final = "oarlock.signed_in"
    SKIPPED: Final = "oarlock.task_skipped"
    GUARDRAIL: Final = "oarlock.guardrail"
    REJECTED: Final = "oarlock.answer_rejected"
    SHORTENED: Final = "oarlock.context_shortened"
    HUMAN_ASKED: Final = "oarlock.human_asked"
    HUMAN_ANSWERED: Final = "oarlock.human_answered"
    APPROVAL_REQUESTED: Final = "oarlock.approval_requested"
    APPROVAL_DECIDED: Final = "oarlock.approval_decided"
    DELEGATED: Final = "oarlock.delegated"


# The boundaries that the conventions ask for: seconds from 0.01 to 81.92, each twice the one before; tokens from 1 to 67,108,864,
# each four times; of chunks those of the conventions' metrics of first and further tokens.
_SECONDS: Final = tuple(round(0.01 * 2**power, 2) for power in range(14))
_TOKENS: Final = tuple(4**power for power in range(14))
_FIRST_CHUNK: Final = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_NEXT_CHUNK: Final = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)


class Histograms:
    """Metrics: name, unit, what it is, boundaries of its buckets."""

    CALL: Final = (
        "gen_ai.client.operation.duration",
        "s",
        "Duration of a model call, with its waits and attempts.",
        _SECONDS,
    )
    TOKENS: Final = ("gen_ai.client.token.usage", "{token}", "Tokens that a model call read and wrote.", _TOKENS)
    FIRST_CHUNK: Final = (
        "gen_ai.client.operation.time_to_first_chunk",
        "s",
        "Time from asking to the first piece of a streamed answer.",
        _FIRST_CHUNK,
    )
    NEXT_CHUNK: Final = (
        "gen_ai.client.operation.time_per_output_chunk",
        "s",
        "Time from one piece of a streamed answer to the next.",
        _NEXT_CHUNK,
    )
    AGENT: Final = ("gen_ai.invoke_agent.duration", "s", "Duration of an agent's work at a task.", _SECONDS)
    TOOL: Final = ("gen_ai.execute_tool.duration", "s", "Duration of a tool's run.", _SECONDS)
    WORKFLOW: Final = ("gen_ai.invoke_workflow.duration", "s", "Duration of a crew's run.", _SECONDS)


PROVIDERS: Final = {
    # The end of the host's name, and the well-known value of `gen_ai.provider.name`, or the provider's own name.
    "api.openai.com": "openai",
    "openai.azure.com": "azure.ai.openai",
    "services.ai.azure.com": "azure.ai.inference",
    "api.anthropic.com": "anthropic",
    "generativelanguage.googleapis.com": "gcp.gemini",
    "aiplatform.googleapis.com": "gcp.vertex_ai",
    "amazonaws.com": "aws.bedrock",
    "api.cohere.com": "cohere",
    "api.deepseek.com": "deepseek",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral_ai",
    "api.perplexity.ai": "perplexity",
    "api.x.ai": "x_ai",
    "ml.cloud.ibm.com": "ibm.watsonx.ai",
}
