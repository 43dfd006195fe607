"""`HttpLLM`: any model behind HTTP. A subclass says how a request is written and an answer is read."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Awaitable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from oarlock.auth.foreign import as_auth
from oarlock.contract.answers import reply_from
from oarlock.contract.auth import Auth, authorize
from oarlock.contract.checks import LONGEST_CALL, flag, seconds, whole
from oarlock.contract.classify import classify, error_for_status
from oarlock.contract.endings import OnLength, on_length_of, require_whole
from oarlock.contract.errors import (
    ConfigurationError,
    LLMError,
    LLMTimeoutError,
    OarlockError,
    ResponseFormatError,
)
from oarlock.contract.frames import without_frames
from oarlock.contract.http import HttpRequest, HttpResponse
from oarlock.contract.llm import BaseLLM
from oarlock.contract.policy import Policy
from oarlock.contract.reply import Reply
from oarlock.contract.request import Request
from oarlock.contract.secret import scrub
from oarlock.dialects.openai_chat import error_message
from oarlock.llms.exchange import Exchange
from oarlock.llms.redaction import credentials_of, redact
from oarlock.llms.settings import (
    checked_headers,
    checked_mapping,
    checked_policies,
    client_certificate_of,
    refuse_clear_text,
    within,
)
from oarlock.policies import Deadline, Retry
from oarlock.policies.rate_limit_headers import with_hint, with_limits
from oarlock.runtime import Runtime
from oarlock.transport import TransportOptions, make_transport

if TYPE_CHECKING:
    from oarlock.transport import Transport

__all__ = ["HttpLLM"]

_JSON = (("content-type", "application/json"), ("accept", "application/json"))
_REDIRECTS = frozenset({301, 302, 303, 307, 308})  # RFC 9110, section 15.4: those that a client would follow
_ATTEMPTS_TIME = 3  # the deadline over all attempts is three times the timeout of one, unless given


class HttpLLM(BaseLLM, abstract=True):
    """Base for a model behind a private HTTP protocol: write `encode` and `decode`; sign-in, retries, limits, deadlines
    and clear errors are there already.

    Args:
        model: the model's name, as the endpoint knows it.
        base_url: the endpoint's URL; `encode` may go below it.
        auth: a sign-in from `oarlock.auth`, any `httpx2.Auth` or `httpx.Auth`, or `None`.
        timeout: seconds for one attempt, from connecting to the last byte of the answer.
        deadline: seconds for the whole call, with all attempts and waits; default: three times the timeout.
        first_event_timeout: seconds from sending to the first part of a streamed answer; `None`: `timeout` alone holds.
        idle_timeout: seconds of silence between two parts of a streamed answer; `None`: `timeout` alone holds. Comments,
            pings and empty events are silence.
        on_length: what becomes of an answer that ended at the limit of tokens: `"error"` raises `TruncatedReply`, which
            has the text; `"return"` takes it as the answer.
        policies: what wraps each call; default: `Retry()` and the deadline. `()` for neither.
        transport: `"pyreqwest"` (default), `"httpx2"`, or a client of your own; see `oarlock.transport.make_transport`.
        transport_options: such as `verify`, `proxy`, `client_certificate`, `connect_timeout`.
        options: further fields of the request's JSON body, such as `{"top_p": 0.9}`.
        headers: further headers of each request, for what is no secret; secrets belong into `auth`.
        allow_http: let a credential go to an `http://` URL that is not of this machine, where all on the way can read it.
        function_calling: whether the endpoint understands `tools`.
        json_schema: whether the endpoint binds its answers to a JSON schema (`response_format`), for tasks that ask for a
            structure. `None`: `ChatLLM` tries it, until the endpoint refuses; other subclasses do not.
        context_window: tokens that fit into prompt and answer together.
        temperature, stop, max_tokens: see `BaseLLM`.

    Raises:
        ConfigurationError: a setting that cannot work.

    Example:
        >>> class GatewayLLM(HttpLLM):
        ...     def encode(self, request):
        ...         return {"question": request.messages[-1]["content"]}
        ...     def decode(self, response):
        ...         return json.loads(response.body)["answer"]
        >>> llm = GatewayLLM("ours", "https://llm.example.com/ask")
    """

    def __init__(
        self,
        model: str,
        base_url: str,
        *,
        auth: Auth | Any = None,
        timeout: float = 60.0,
        deadline: float | None = None,
        first_event_timeout: float | None = None,
        idle_timeout: float | None = None,
        on_length: OnLength = "error",
        policies: Sequence[Policy] | None = None,
        transport: str | Transport | Any = None,
        transport_options: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        allow_http: bool = False,
        function_calling: bool = True,
        json_schema: bool | None = None,
        context_window: int = 8192,
        temperature: float | None = None,
        stop: str | Sequence[str] | None = None,
        max_tokens: int | None = None,
    ) -> None:
        if not isinstance(model, str) or not model:
            raise ConfigurationError(f"model must be the model's name, not {model!r}.")
        super().__init__(model, temperature=temperature, stop=stop, max_tokens=max_tokens)
        who = type(self).__name__
        self.base_url: str = _checked_url(base_url)
        self.auth: Auth | None = None if auth is None else as_auth(auth, "auth")
        self.timeout = seconds(who, "timeout", timeout)
        self.first_event_timeout = within(who, "first_event_timeout", first_event_timeout, self.timeout)
        self.idle_timeout = within(who, "idle_timeout", idle_timeout, self.timeout)
        self.on_length = on_length_of(type(self).__name__, on_length)
        usual = min(_ATTEMPTS_TIME * self.timeout, LONGEST_CALL)
        total = Deadline(usual if deadline is None else seconds(who, "deadline", deadline))
        if policies is None:
            self.policies = (total, Retry())
        else:
            self.policies = checked_policies(who, policies, *(() if deadline is None else (total,)))
        self.options = checked_mapping(who, "options", options)
        self._headers = checked_headers(who, headers)
        self._function_calling = flag(who, "function_calling", function_calling)
        self._json_schema = None if json_schema is None else flag(who, "json_schema", json_schema)
        self._context_window = whole(who, "context_window", context_window)
        connection = checked_mapping(who, "transport_options", transport_options)
        if (certificate := client_certificate_of(who, self.auth, self.base_url, connection)) is not None:
            connection["client_certificate"] = certificate
        if not flag(who, "allow_http", allow_http) and self.auth is not None:
            refuse_clear_text(who, self.base_url)
        self._transport_choice = _TransportChoice(transport, connection)
        self._transport: Transport = self._transport_choice.make()

    # What a subclass writes.

    @abstractmethod
    def encode(self, request: Request) -> HttpRequest | Mapping[str, Any] | bytes:
        """Return what to send: a mapping (sent as JSON to `base_url`), bytes (likewise), or a whole `HttpRequest`."""

    @abstractmethod
    def decode(self, response: HttpResponse) -> Reply | str:
        """Return the answer in a good response (status below 300). A `KeyError` and the like becomes a clear error."""

    def supports_function_calling(self) -> bool:
        return self._function_calling

    def supports_stop_words(self) -> bool:
        return True

    def supports_json_schema(self) -> bool:
        return self._json_schema is True

    def get_context_window_size(self) -> int:
        return self._context_window

    def explain_itself(self) -> str:
        sign_in = "no sign-in" if self.auth is None else f"sign-in: {self.auth!r}"
        return f"{super().explain_itself()} It has {sign_in}; an attempt may take {self.timeout:g} s."

    def endpoint_name(self) -> str | None:
        address = urlsplit(self.base_url)._replace(query="", fragment="").geturl()  # a query may hold a key
        return f"{self.model} at {address}"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "_transport"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._transport = self._transport_choice.make()

    # How a request goes out.

    async def _respond(self, runtime: Runtime, request: Request) -> Reply:
        sent: list[HttpRequest] = []
        began = runtime.now()
        try:
            return await self._exchange(runtime, request, sent)
        except BaseException as error:  # also what cancels it; below this line frames hold credentials and bodies
            if isinstance(error, Exception) and not isinstance(error, OarlockError):
                raise  # the user's own code failed, in `encode` or in a sign-in: that traceback is needed
            failure = without_frames(error)
        redact(failure, credentials_of(sent, self._own_words()))
        failure = self._with_time(failure, began, runtime.now(), request.deadline if sent else None)
        sent.clear()
        self._failed(request, failure)
        raise failure

    def _failed(self, request: Request, failure: BaseException) -> None:
        """Learn from a failure what there is to learn for later requests."""

    def _with_time(self, failure: BaseException, began: float, now: float, deadline: float | None) -> BaseException:
        """Return the error with the time that it took; one that comes from the call's deadline says so."""
        cut = isinstance(failure, LLMTimeoutError) and failure.status is None
        if cut and deadline is not None and deadline <= now:
            cause, failure = (
                failure,
                LLMTimeoutError(
                    f"{self._where()} had not finished its answer when the call's deadline passed, "
                    f"{deadline - began:.3g} s after this attempt began (deadline)."
                ),
            )
            failure.__cause__ = cause
        if isinstance(failure, LLMError):
            failure.elapsed = now - began
        return failure

    def _where(self) -> str:
        """Return the model and its host, for messages."""
        return f"{self.model} at {_origin(self.base_url)}"

    async def _exchange(self, runtime: Runtime, request: Request, sent: list[HttpRequest]) -> Reply:
        """Send one request and read its answer, within the time of one attempt; `sent` takes note of what goes out."""
        until = self._until(runtime, request)
        exchange = Exchange(self._transport, runtime, until, sent)
        response = await self._authorized(exchange, self._http_request(request, until - runtime.now()))
        self._refuse_failure(runtime, response)
        return with_limits(self._decoded(response), response.headers, runtime.time())

    def _until(self, runtime: Runtime, request: Request) -> float:
        """Return the time at which this attempt ends."""
        now = runtime.now()
        until = now + (self.timeout if request.timeout is None else min(self.timeout, request.timeout))
        if request.deadline is not None and request.deadline < until:
            until = request.deadline
        if until <= now:
            raise LLMTimeoutError("The deadline passed before the request could be sent.", retryable=False)
        return until

    def _authorized(self, exchange: Exchange, request: HttpRequest) -> Awaitable[HttpResponse]:
        """Send a request through the sign-in, which has no more time than the attempt, and return the answer."""
        if self.auth is None:
            return exchange.send(request)
        return authorize(exchange.runtime, self.auth, exchange.timed(request), exchange.send, exchange.aside)

    def _http_request(self, request: Request, timeout: float) -> HttpRequest:
        encoded = self.encode(request)
        if isinstance(encoded, HttpRequest):
            further = (*self._headers, *request.headers)
            return encoded.with_headers(*further) if further else encoded
        body = encoded if isinstance(encoded, bytes) else _json({**encoded, **self.options})
        headers = (*_JSON, *self._headers, *request.headers)
        if request.idempotency_key:
            headers = (*headers, ("idempotency-key", request.idempotency_key))
        return HttpRequest(method="POST", url=self._url(), headers=headers, body=body, timeout=timeout)

    def _own_words(self) -> set[str]:
        """Return what requests carry that is no secret, though it stands where one may."""
        return {
            *(value for _, value in self._headers),
            *(value for _, value in parse_qsl(urlsplit(self.base_url).query)),
        }

    def _url(self) -> str:
        return self.base_url

    def _decoded(self, response: HttpResponse) -> Reply:
        try:
            answer = self.decode(response)
        except LLMError:
            raise
        except Exception as error:  # the boundary to the user's own code
            ours = classify(error, f"{type(self).__name__}.decode()")
            raise ResponseFormatError(f"{ours} It was given: {_shown(response)}") from error
        reply = answer if isinstance(answer, Reply) else reply_from(answer, f"{type(self).__name__}.decode()")
        return require_whole(reply, self.model, self.on_length)

    def _refuse_failure(self, runtime: Runtime, response: HttpResponse) -> None:
        """Raise the error for a response that is no answer."""
        status = response.status
        if 200 <= status < 300:
            return
        where = self._where()
        if status in _REDIRECTS:
            target = _origin(response.headers.get("location", ""))
            raise error_for_status(
                status,
                f"{where} answered with a redirect (HTTP {status}){f' to {target}' if target else ''}. Redirects are not "
                "followed, so that credentials stay where they belong: set base_url to the final address.",
                headers=response.headers,
            )
        said, code = error_message(status, response.body, response.headers)
        hint = self._hint(runtime, status)
        further = "".join(f" {sentence}" for sentence in (response.body_error, hint) if sentence)
        message = f"{where} answered HTTP {status}: {_sentence(said)}{further}"
        now = runtime.time()
        error = error_for_status(status, message, code=code, headers=response.headers, wall_time=now)
        raise with_hint(error, response.headers, now)

    def _hint(self, runtime: Runtime, status: int) -> str | None:
        if status == 401:
            if self.auth is None:
                return "No sign-in was given: pass auth=, such as oarlock.auth.ApiKey(...) or BearerToken(...)."
            explain = getattr(self.auth, "explain_refusal", None)
            return (explain and explain(runtime.time())) or f"The sign-in was {self.auth!r}."
        if status == 404:
            return (
                f"The request went to {_origin(self.base_url)}{urlsplit(self._url()).path}: check base_url and model."
            )
        return None


class _TransportChoice:
    """What to send through: for a copy of an LLM the same, for a pickled one a transport of the same kind."""

    def __init__(self, spec: Any, options: dict[str, Any]) -> None:
        self._spec = spec
        self._options = options
        if "proxy" in options:  # checked here, so that a password in it is a `Secret` from now on
            options["proxy"] = TransportOptions(proxy=options["proxy"]).proxy

    def make(self) -> Transport:
        return make_transport(self._spec, **self._options)

    def __deepcopy__(self, memo: Any) -> _TransportChoice:
        return self


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _shown(response: HttpResponse) -> str:
    return scrub(response.body[:2000].decode("utf-8", "replace")) or "an empty body"


def _checked_url(url: str) -> str:
    if not isinstance(url, str) or not url.strip():
        raise ConfigurationError(
            f"base_url must be the endpoint's URL, such as 'https://llm.example.com/v1', not {url!r}."
        )
    try:
        parts = urlsplit(url.strip())
        parts.port  # noqa: B018  raises for a wrong port
    except ValueError as error:
        raise ConfigurationError(f"base_url is no valid URL: {error}.") from None
    if parts.username or parts.password:
        raise ConfigurationError("base_url holds a user name or password: give them through auth= instead.")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(
            f"base_url must begin with http:// or https:// and a host, such as 'https://llm.example.com/v1', not {url!r}."
        )
    return url.strip().rstrip("/")


def _origin(url: str) -> str:
    """Return scheme, host and port of a URL, all of it that an error message may show."""
    try:
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.scheme and parts.netloc else ""
    except ValueError:
        return ""
