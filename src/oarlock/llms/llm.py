"""`LLM("provider/model")`: a ready LLM by its name; see `presets.py` for what there is."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, TypedDict, Unpack
from urllib.parse import urlsplit

from oarlock.auth import ApiKey
from oarlock.contract.auth import Auth, Flow
from oarlock.contract.errors import ConfigurationError, misspelt
from oarlock.contract.http import HttpRequest
from oarlock.contract.request import Request
from oarlock.dialects.openai_chat import encode
from oarlock.llms.chat import ChatLLM
from oarlock.llms.local import LocalLLM
from oarlock.llms.presets import LOCAL, PRESETS, Preset

if TYPE_CHECKING:
    from oarlock.contract.endings import OnLength
    from oarlock.contract.policy import Policy
    from oarlock.contract.secret import Secret
    from oarlock.transport import Transport

__all__ = ["LLM"]


class _Settings(TypedDict, total=False):
    """The further arguments: those of `ChatLLM`. A test holds the two together."""

    auth: Auth | Any
    timeout: float
    deadline: float | None
    first_event_timeout: float | None
    idle_timeout: float | None
    on_length: OnLength
    policies: Sequence[Policy] | None
    transport: str | Transport | Any
    transport_options: Mapping[str, Any] | None
    options: Mapping[str, Any] | None
    headers: Mapping[str, str] | None
    allow_http: bool
    function_calling: bool
    json_schema: bool | None
    context_window: int
    temperature: float | None
    stop: str | Sequence[str] | None
    max_tokens: int | None


_KNOWN: Final = ("model", "api_key", "base_url", *_Settings.__annotations__)
_ELSEWHERE: Final = Preset(base_url="", needs_key=False)  # an endpoint that is given by its address alone


class LLM(ChatLLM):
    """A model of a known provider, by its name: `LLM("openai/gpt-4o")`, `LLM("ollama/llama3.2")`, ...

    The provider decides where requests go, which environment variable holds the key and what the endpoint can do. The
    key is looked for when it is first needed, so that building one needs neither key nor network. Nothing else than the
    provider that is named is ever asked.

    The providers: `anthropic` (its endpoint for OpenAI's format), `azure` (the model is the deployment's name), `cerebras`,
    `dashscope`, `deepseek`, `fireworks`, `gemini`, `groq`, `huggingface`, `lmstudio`, `mistral`, `nvidia`, `ollama`, `openai`,
    `openrouter`, `sambanova`, `together`, `vllm`, `xai`; and `local`, for a
    GGUF file in this process: `LLM("local/model.gguf")` is `LocalLLM("model.gguf")`.

    Args:
        model: the provider, a slash, and the model's name there. With `base_url`, a name that begins with none of the
            providers is the model's name at that endpoint.
        api_key: the key itself; default: what the provider's environment variable holds, such as `OPENAI_API_KEY`.
        base_url: another address of the provider, or a gateway before it, which is then sent the key; default: what the
            provider's environment variable names, such as `OPENAI_BASE_URL`, else its usual one.
        settings: all others of `ChatLLM`: auth (in place of a key), temperature, max_tokens, timeout, policies, ...; of
            `LocalLLM` for `local`.

    Raises:
        ConfigurationError: no provider of that name, or a setting that cannot work; from the first call: the
            environment variable with the key is not set.
        LLMError: from a call; see `oarlock.errors`.

    Example:
        >>> LLM("mistral/mistral-small-latest", temperature=0)
        LLM('mistral/mistral-small-latest', base_url='https://api.mistral.ai/v1')
        >>> LLM("opnai/gpt-4o")
        Traceback (most recent call last):
        oarlock.contract.errors.ConfigurationError: LLM: there is no provider 'opnai'. Did you mean 'openai/gpt-4o'?
    """

    def __new__(cls, model: Any = None, *_: Any, **settings: Any) -> Any:
        """Return an LLM; for `local/...` one that is no `ChatLLM`, and on which `__init__` is therefore not called."""
        if isinstance(model, str) and model.partition("/")[0] == LOCAL and "base_url" not in settings:
            return LocalLLM(model.partition("/")[2] or None, **settings)
        return super().__new__(cls)

    def __init__(
        self,
        model: str,
        *,
        api_key: str | Secret | None = None,
        base_url: str | None = None,
        **settings: Unpack[_Settings],
    ) -> None:
        who = type(self).__name__
        if unknown := [name for name in settings if name not in _KNOWN]:
            raise misspelt(who, unknown, _KNOWN)
        if api_key is not None and settings.get("auth") is not None:
            raise ConfigurationError(f"{who}: give api_key or auth, not both.")
        self.provider, name, self._preset = _found(who, model, base_url is not None)
        preset = self._preset
        if settings.get("auth") is None and (sign_in := _sign_in(model, preset, api_key)):
            settings["auth"] = sign_in
        settings.setdefault("function_calling", preset.function_calling)
        settings.setdefault("json_schema", None if preset.json_schema else False)  # tried, or known to be missing
        if window := preset.window(name):
            settings.setdefault("context_window", window)
        if preset.options:
            settings["options"] = {**preset.options, **(settings.get("options") or {})}
        super().__init__(
            name, _address(who, model, preset) if base_url is None else _whole(base_url, preset), **settings
        )

    def supports_stop_words(self) -> bool:
        return not self.model.startswith(self._preset.no_stop) if self._preset.no_stop else True

    def encode(self, request: Request) -> bytes:
        if request.stop and not self.supports_stop_words():  # refused there; whoever asks cuts the text as well
            request = request.replace(stop=())
        return encode(
            self._completed(request),
            model=self.model,
            stream=request.deltas is not None,
            options=self._options(request),
            max_tokens_name=self._preset.max_tokens_name,
        )

    def __repr__(self) -> str:
        name = f"{self.provider}/{self.model}" if self.provider else self.model
        return f"{type(self).__name__}({name!r}, base_url={self.base_url!r})"


class _KeyFromEnvironment:
    """Signs in with the key that an environment variable holds when a request goes out."""

    def __init__(self, model: str, preset: Preset) -> None:
        self._model = model
        self._preset = preset

    def flow(self, request: HttpRequest) -> Flow:
        """Sign one request."""
        for variable in self._preset.key_variables:
            if key := os.environ.get(variable, "").strip():
                return ApiKey(key, header=self._preset.key_header).flow(request)
        raise ConfigurationError(
            f"{self._model!r} needs a key, and the environment variable {self._preset.key_variables[0]} is not set. Set it, "
            "or pass api_key= or auth=."
        )

    def __repr__(self) -> str:
        return f"ApiKey(env:{self._preset.key_variables[0]})"


def _found(who: str, model: Any, has_address: bool) -> tuple[str, str, Preset]:
    """Return the provider, the model's name there, and the preset."""
    if not isinstance(model, str) or not model.strip():
        raise ConfigurationError(f"{who}: model must be a text such as 'openai/gpt-4o', not {model!r}.")
    provider, slash, name = model.strip().partition("/")
    if slash and provider in PRESETS:
        if not name:
            raise ConfigurationError(f"{who}: {model!r} names no model: write '{provider}/' and the model's name.")
        return provider, name, PRESETS[provider]
    if has_address:
        return "", model.strip(), _ELSEWHERE
    near = get_close_matches(provider.lower(), [*PRESETS, LOCAL], n=1) if slash else []
    if near:
        raise ConfigurationError(f"{who}: there is no provider {provider!r}. Did you mean '{near[0]}/{name}'?")
    problem = f"there is no provider {provider!r}" if slash else f"{model!r} names no provider"
    raise ConfigurationError(
        f"{who}: {problem}. Write 'provider/model' with one of {', '.join([*PRESETS, LOCAL])}; for any other endpoint pass "
        "base_url=..."
    )


def _sign_in(model: str, preset: Preset, api_key: str | Secret | None) -> Auth | None:
    if api_key is not None:
        return ApiKey(api_key, header=preset.key_header)
    if preset.needs_key or any(os.environ.get(variable, "").strip() for variable in preset.key_variables):
        return _KeyFromEnvironment(model, preset)
    return None  # not even a sign-in that may be empty: that would not be let go over plain HTTP


def _address(who: str, model: str, preset: Preset) -> str:
    for variable in preset.url_variables:
        if address := os.environ.get(variable, "").strip().rstrip("/"):
            return _whole(address, preset)
    if preset.base_url:
        return preset.base_url
    raise ConfigurationError(
        f"{who}: {model!r} needs the address of your resource: set the environment variable {preset.url_variables[0]}, "
        "or pass base_url=."
    )


def _whole(address: str, preset: Preset) -> str:
    """Return an address with the provider's path, where it ends with the host."""
    try:
        ends_with_host = bool(preset.path) and urlsplit(address).path in ("", "/")
    except (ValueError, AttributeError, TypeError):  # no address at all: HttpLLM says what is wrong with it
        return address
    return address.rstrip("/") + preset.path if ends_with_host else address
