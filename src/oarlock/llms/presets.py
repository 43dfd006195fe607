"""The providers that `LLM("provider/model")` knows: data, one entry each. All speak the OpenAI chat format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["LOCAL", "PRESETS", "Preset"]

LOCAL: Final = "local"
"""What stands in the provider's place for a GGUF file in this process, as in `local/model.gguf`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """How a provider is reached, and what its endpoint can do.

    Attributes:
        base_url: where; `""` if everybody has an address of their own, which then comes from the environment.
        url_variables: environment variables that name another address; the first that is set holds.
        path: what follows the address in such a variable if that ends with the host, as the provider's own tools have it.
        key_variables: environment variables that may hold the key; the first that is set is taken. None: there is no key.
        needs_key: whether the endpoint refuses those without.
        key_header: the header that carries the key; in `Authorization` it follows "Bearer ".
        function_calling: whether the endpoint takes `tools`.
        json_schema: whether it keeps to a JSON schema in `response_format`.
        max_tokens_name: what the endpoint calls the limit on an answer's tokens.
        options: fields of each request's body; `None` leaves one out.
        windows: the context window in tokens by how a model's name begins; the longest beginning that fits holds.
        no_stop: beginnings of the names of models that refuse stop words.
    """

    base_url: str
    url_variables: tuple[str, ...] = ()
    path: str = ""
    key_variables: tuple[str, ...] = ()
    needs_key: bool = True
    key_header: str = "Authorization"
    function_calling: bool = True
    json_schema: bool = True
    max_tokens_name: str = "max_tokens"
    options: Mapping[str, Any] | None = None
    windows: Mapping[str, int] | None = None
    no_stop: tuple[str, ...] = ()

    def window(self, model: str) -> int | None:
        """Return the model's context window in tokens, `None` where it is not known."""
        fits = [start for start in self.windows or () if model.startswith(start)]
        return (self.windows or {})[max(fits, key=len)] if fits else None


# https://platform.openai.com/docs/models; the reasoning models know neither `max_tokens` nor `stop`.
_OPENAI_WINDOWS: Final = {
    "gpt-3.5-turbo": 16_385,
    "gpt-4": 8192,
    "gpt-4-turbo": 128_000,
    "gpt-4.1": 1_047_576,
    "gpt-4o": 128_000,
    "gpt-5": 400_000,
    "o1": 200_000,
    "o3": 200_000,
    "o4-mini": 200_000,
}
_OPENAI_NO_STOP: Final = ("gpt-5", "o1", "o3", "o4")

PRESETS: Final[Mapping[str, Preset]] = {
    # The layer that Anthropic keeps for clients of OpenAI's format: it takes tools and ignores `response_format`.
    # https://platform.claude.com/docs/en/api/openai-sdk
    "anthropic": Preset(
        base_url="https://api.anthropic.com/v1",
        url_variables=("ANTHROPIC_BASE_URL",),
        path="/v1",
        key_variables=("ANTHROPIC_API_KEY",),
        json_schema=False,
        windows={"claude-": 200_000},
    ),
    # The version 1 API, where the model is the deployment's name and no api-version is asked for.
    # https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle
    "azure": Preset(
        base_url="",
        url_variables=("AZURE_OPENAI_ENDPOINT", "AZURE_API_BASE"),
        path="/openai/v1",
        key_variables=("AZURE_OPENAI_API_KEY", "AZURE_API_KEY"),
        key_header="api-key",
        max_tokens_name="max_completion_tokens",
        windows=_OPENAI_WINDOWS,
        no_stop=_OPENAI_NO_STOP,
    ),
    "cerebras": Preset(  # https://inference-docs.cerebras.ai/resources/openai
        base_url="https://api.cerebras.ai/v1",
        url_variables=("CEREBRAS_BASE_URL", "CEREBRAS_API_BASE"),
        key_variables=("CEREBRAS_API_KEY",),
    ),
    # Alibaba Cloud's Model Studio, where Qwen is served. It has JSON answers, and a schema for few models.
    # https://www.alibabacloud.com/help/en/model-studio/compatibility-of-openai-with-dashscope
    "dashscope": Preset(
        base_url="https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        url_variables=("DASHSCOPE_BASE_URL", "DASHSCOPE_API_BASE"),
        key_variables=("DASHSCOPE_API_KEY",),
        json_schema=False,
    ),
    "deepseek": Preset(  # https://api-docs.deepseek.com; it has JSON answers, and no schema for them
        base_url="https://api.deepseek.com/v1",
        url_variables=("DEEPSEEK_BASE_URL", "DEEPSEEK_API_BASE"),
        key_variables=("DEEPSEEK_API_KEY",),
        json_schema=False,
        windows={"deepseek-": 128_000},
    ),
    "fireworks": Preset(  # https://docs.fireworks.ai/tools-sdks/openai-compatibility
        base_url="https://api.fireworks.ai/inference/v1",
        url_variables=("FIREWORKS_BASE_URL", "FIREWORKS_API_BASE"),
        key_variables=("FIREWORKS_API_KEY", "FIREWORKS_AI_API_KEY"),
    ),
    "gemini": Preset(  # https://ai.google.dev/gemini-api/docs/openai
        base_url="https://generativelanguage.googleapis.com/v1beta/openai",
        url_variables=("GEMINI_BASE_URL", "GEMINI_API_BASE"),
        key_variables=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        windows={"gemini-2": 1_048_576, "gemini-3": 1_048_576},
    ),
    "groq": Preset(  # https://console.groq.com/docs/openai; only a few of its models keep to a schema
        base_url="https://api.groq.com/openai/v1",
        url_variables=("GROQ_BASE_URL", "GROQ_API_BASE"),
        path="/openai/v1",
        key_variables=("GROQ_API_KEY",),
        json_schema=False,
        windows={"llama-3.": 131_072, "openai/gpt-oss": 131_072},
    ),
    # What a model can do depends on who serves it. https://huggingface.co/docs/inference-providers/index
    "huggingface": Preset(
        base_url="https://router.huggingface.co/v1",
        url_variables=("HUGGINGFACE_BASE_URL", "HUGGINGFACE_API_BASE"),
        key_variables=("HF_TOKEN", "HUGGINGFACE_API_KEY"),
        json_schema=False,
    ),
    "lmstudio": Preset(  # https://lmstudio.ai/docs/developer/openai-compat
        base_url="http://127.0.0.1:1234/v1",
        url_variables=("LMSTUDIO_BASE_URL", "LM_STUDIO_API_BASE"),
        path="/v1",
        key_variables=("LM_API_TOKEN", "LM_STUDIO_API_KEY"),
        needs_key=False,
    ),
    # It refuses fields that it does not know, and sends the usage in any case.
    "mistral": Preset(  # https://docs.mistral.ai/api
        base_url="https://api.mistral.ai/v1",
        url_variables=("MISTRAL_BASE_URL", "MISTRAL_API_BASE"),
        key_variables=("MISTRAL_API_KEY",),
        options={"stream_options": None},
        windows={"mistral-large": 131_072, "mistral-medium": 131_072, "mistral-small": 131_072},
    ),
    "nvidia": Preset(  # https://docs.api.nvidia.com/nim/reference/llm-apis; what a model can do differs
        base_url="https://integrate.api.nvidia.com/v1",
        url_variables=("NVIDIA_BASE_URL", "NVIDIA_NIM_API_BASE"),
        key_variables=("NVIDIA_API_KEY", "NVIDIA_NIM_API_KEY"),
        json_schema=False,
    ),
    "ollama": Preset(  # https://docs.ollama.com/api/openai-compatibility
        base_url="http://127.0.0.1:11434/v1",
        url_variables=("OLLAMA_BASE_URL", "OLLAMA_API_BASE"),
        path="/v1",
        needs_key=False,
    ),
    "openai": Preset(
        base_url="https://api.openai.com/v1",
        url_variables=("OPENAI_BASE_URL", "OPENAI_API_BASE"),
        key_variables=("OPENAI_API_KEY",),
        max_tokens_name="max_completion_tokens",
        windows=_OPENAI_WINDOWS,
        no_stop=_OPENAI_NO_STOP,
    ),
    "openrouter": Preset(  # https://openrouter.ai/docs; what a model can do depends on who serves it
        base_url="https://openrouter.ai/api/v1",
        url_variables=("OPENROUTER_BASE_URL", "OPENROUTER_API_BASE"),
        key_variables=("OPENROUTER_API_KEY",),
        json_schema=False,
        windows={f"openai/{start}": window for start, window in _OPENAI_WINDOWS.items()} | {"anthropic/": 200_000},
    ),
    "sambanova": Preset(  # https://docs.sambanova.ai/docs/en/features/openai-compatibility
        base_url="https://api.sambanova.ai/v1",
        url_variables=("SAMBANOVA_BASE_URL", "SAMBANOVA_API_BASE"),
        key_variables=("SAMBANOVA_API_KEY",),
        json_schema=False,
    ),
    "together": Preset(  # https://docs.together.ai/docs/openai-api-compatibility
        base_url="https://api.together.xyz/v1",
        url_variables=("TOGETHER_BASE_URL", "TOGETHER_API_BASE"),
        key_variables=("TOGETHER_API_KEY",),
        json_schema=False,
    ),
    "vllm": Preset(  # https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html
        base_url="http://127.0.0.1:8000/v1",
        url_variables=("VLLM_BASE_URL", "VLLM_API_BASE"),
        path="/v1",
        key_variables=("VLLM_API_KEY",),
        needs_key=False,
    ),
    "xai": Preset(  # https://docs.x.ai/docs/api-reference
        base_url="https://api.x.ai/v1",
        url_variables=("XAI_BASE_URL", "XAI_API_BASE"),
        key_variables=("XAI_API_KEY",),
        windows={"grok-3": 131_072, "grok-4": 256_000},
    ),
}
"""The providers by the name that stands before the first slash."""
