"""The first question: is the sign-in accepted, is this the right place, is there such a model, does it answer?"""

from __future__ import annotations

import difflib
import json
import re
import time
from typing import Any
from urllib.parse import urlsplit

from oarlock.auth import ApiKey
from oarlock.cli.doctor.case import Case
from oarlock.cli.doctor.recorder import Exchange
from oarlock.cli.doctor.report import Step, failed, fine, skipped, warning
from oarlock.cli.doctor.sign_in import signed
from oarlock.contract.errors import (
    AuthenticationError,
    CallFailedError,
    ConnectionFailedError,
    EmptyReply,
    LLMError,
    LLMTimeoutError,
    OarlockError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
    ResponseFormatError,
    ServerError,
    TruncatedReply,
)
from oarlock.contract.http import HttpRequest, HttpResponse
from oarlock.contract.request import Request
from oarlock.contract.secret import scrub
from oarlock.dialects.openai_chat import error_message

__all__ = ["access", "ask", "base_url", "chat", "model", "question"]

_NO_MODEL = re.compile(
    r"\bmodel\b.{0,120}\b(?:not|no|unknown|invalid|unsupported|exist)|\b(?:no such|unknown|invalid) model",
    re.IGNORECASE | re.DOTALL,
)
_SHOWN = 12  # names of models that are listed


def question(text: str, **more: Any) -> Request:
    """Return a small request."""
    return Request(messages=[{"role": "user", "content": text}], **more)


def ask(case: Case, name: str, request: Request) -> Any:
    """Return the reply to a question, and note how long it took.

    Raises:
        LLMError: there is none.
    """
    begun = time.monotonic()
    try:
        return case.llm.complete(request)
    finally:
        case.times[name] = time.monotonic() - begun


def access(case: Case) -> Step:
    """Ask for the list of models and then the first question; say whether the sign-in was accepted."""
    if case.chat is not None:
        case.models = _listed(case, case.chat.base_url.removesuffix("/chat/completions"))
        if not case.model_known:
            _choose(case)
    if case.model_known or case.models is None:  # without a list, any name shows what else may be wrong
        _first_question(case)
    error = case.refusal
    if isinstance(error, AuthenticationError):
        return failed(_said(case, error), _advice_for_401(case), status=error.status)
    if isinstance(error, PermissionDeniedError):
        return failed(
            _said(case, error),
            "The sign-in was understood, but is not allowed to do this: check the token's scopes and audience, what the "
            "key may use, and whether this machine's address is let in.",
            status=error.status,
        )
    last = case.answered or case.last
    if error is not None and (last is None or last.status is None):
        return skipped("No answer came that would tell.")
    signs_in = case.http is not None and case.http.auth is not None
    return fine("The sign-in is accepted." if signs_in else "No sign-in is asked for.")


def _first_question(case: Case) -> None:
    greeting = question("Reply with the single word OK.")
    try:
        try:
            case.reply = ask(case, "chat", greeting)
        except LLMError as error:
            if "max_completion_tokens" not in str(error):
                raise
            case.llm.max_tokens = None  # OpenAI's reasoning models refuse the usual name
            case.reply = ask(case, "chat", greeting)
    except OarlockError as error:
        case.refusal = error if isinstance(error, LLMError) else CallFailedError(str(error))
    case.answered = case.last


def _listed(case: Case, base: str) -> dict[str, dict[str, Any]] | None:
    """Return the models that an endpoint offers, `None` if it does not say."""
    request = HttpRequest(method="GET", url=f"{base}/models", headers=(("accept", "application/json"), *_own(case)))
    try:
        if case.http is not None and case.http.auth is not None:
            request = signed(case, request) or request
        response = case.recorder.send(request.with_timeout(case.timeout))
    except OarlockError:  # the first question says what is wrong
        return None
    return _models_in(response) if response.status == 200 else None


def _own(case: Case) -> tuple[tuple[str, str], ...]:
    return case.http._headers if case.http is not None else ()  # noqa: SLF001


def _models_in(response: HttpResponse) -> dict[str, dict[str, Any]] | None:
    try:
        answer = json.loads(response.body)
    except (ValueError, RecursionError):
        return None
    entries = answer.get("data", answer.get("models")) if isinstance(answer, dict) else answer
    if not isinstance(entries, list):
        return None
    return {one["id"]: one for one in entries if isinstance(one, dict) and isinstance(one.get("id"), str)} or None


def _choose(case: Case) -> None:
    """Take the only model there is."""
    if case.models and len(case.models) == 1:
        (case.llm.model,) = case.models
        case.model_known = True


def base_url(case: Case) -> Step:
    """Say whether the questions go to the right place."""
    error, exchange = case.refusal, case.answered
    if error is None and case.reply is None:
        return skipped("Nothing was asked yet, since the model is not known.")
    if exchange is not None and exchange.status is None and isinstance(error, ResponseFormatError):
        other = "https" if case.url.scheme == "http" else "http"
        return failed("What listens there does not answer in HTTP.", f"Check the port, and try {other}://.")
    if exchange is None or exchange.status is None:
        return skipped("No answer came that would tell.")
    where = f"{case.url.scheme}://{case.url.netloc}{case.url.path}"
    if 300 <= exchange.status < 400:
        return _redirected(where, exchange)
    if error is not None and (why := _misplaced(case, error, exchange)):
        return failed(f"{where} {why} (HTTP {exchange.status}).", _better_base(case), status=exchange.status)
    return fine(f"{where} is there.")


def _redirected(where: str, exchange: Exchange) -> Step:
    target = _target(exchange)
    return failed(
        f"{where} answers with a redirect (HTTP {exchange.status}){f' to {target}' if target else ''}.",
        "Redirects are not followed, so that credentials stay where they belong: set base_url to the final address.",
        status=exchange.status,
    )


def _misplaced(case: Case, error: LLMError, exchange: Exchange) -> str | None:
    """Say what shows that there is no API, if anything does."""
    if exchange.status in (200, 404, 405) and exchange.is_html:
        return "is a page of HTML, not an API"
    if exchange.status in (404, 405) and not _is_about_model(case, error):
        return "is not there"
    return None


def _better_base(case: Case) -> str:
    """Try the usual neighbours of a wrong base URL, by asking them for their models."""
    if case.chat is None:
        return "Check base_url."
    base = case.chat.base_url.removesuffix("/chat/completions").rstrip("/")
    path = urlsplit(base).path
    root = base.removesuffix(path) if path else base
    tries = [f"{base}/v1"] if not re.search(r"/v\d", path) else [f"{root}/v1"]
    for candidate in tries:
        if candidate != base and _listed(case, candidate) is not None:
            return f"Set base_url to {candidate}: models are listed there."
    often = f", often {tries[0]}" if tries[0] != base else ""
    return f"Check base_url: it is that of the API, up to its version{often}."


def _target(exchange: Exchange) -> str:
    parts = urlsplit(exchange.headers.get("location", ""))
    return scrub(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}") if parts.netloc else parts.path


def model(case: Case) -> Step:
    """Say whether the endpoint has this model."""
    names, wanted = list(case.models or ()), case.llm.model
    listed = ", ".join(scrub(name, 60) for name in names[:_SHOWN]) + (
        f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    )
    if not case.model_known:
        return _unnamed(case, names, listed)
    near = difflib.get_close_matches(wanted, names, n=1, cutoff=0.5)
    advice = f"Did you mean {near[0]!r}?" if near else "Take one of these." if names else "Check the model's name."
    there = f" It offers: {listed}." if names else " It does not list its models."
    if case.refusal is not None and _is_about_model(case, case.refusal):
        return failed(f"The endpoint does not have the model {wanted!r}.{there}", advice, models=names)
    if not names:
        return skipped("The endpoint does not list its models.")
    if wanted in names:
        return fine(f"{wanted!r} is one of {len(names)}." if len(names) > 1 else f"{wanted!r} is there.", models=names)
    if case.refusal is not None:
        return skipped(
            f"The endpoint's list does not have {wanted!r}, but it did not say that this is the fault.{there}"
        )
    return warning(f"{wanted!r} answers, though the list does not have it.{there}", advice, models=names)


def _unnamed(case: Case, names: list[str], listed: str) -> Step:
    if names:
        return failed(
            f"No model was named, and there are {len(names)}: {listed}.", "Name one: --model NAME.", models=names
        )
    if case.reply is not None:
        return warning("No model was named, and none listed; it answers all the same.", "Name it: --model NAME.")
    if case.refusal is not None and case.refusal.status in (400, 404, 422):
        return failed("No model was named, and the endpoint has no list of them.", "Name it: --model NAME.")
    return skipped("No model was named, and the endpoint has no list of them.")


def _is_about_model(case: Case, error: LLMError) -> bool:
    if error.status not in (400, 404, 422) or (case.answered is not None and case.answered.is_html):
        return False
    if error.code and "model" in error.code.lower():
        return True
    said = _said(case, error)
    return bool(_NO_MODEL.search(said)) or (error.status == 404 and f"{case.llm.model}" in said)


def chat(case: Case) -> Step:
    """Say how the first question was answered; a custom LLM is asked only here."""
    if case.http is None:
        _first_question(case)
    error, name = case.refusal, case.llm.model
    if case.reply is not None:
        seconds = case.times["chat"]
        said = scrub(case.reply.text, 40)
        return fine(f"{name} answered {said!r} in {seconds:.2f} s.", answer=said)
    if error is None:
        return skipped("Nothing was asked.")
    if isinstance(error, (EmptyReply, TruncatedReply)) and error.code == "length":
        return warning(
            f"{name} used up its {case.llm.max_tokens} tokens before there was any text, as models that think first do.",
            "Give it more: max_tokens.",
        )
    return failed(_said(case, error), _advice_for(case, error), status=error.status, error=type(error).__name__)


def _advice_for(case: Case, error: LLMError) -> str:
    wait = f" It asks to wait {error.retry_after:g} s." if error.retry_after else ""
    advice = {
        QuotaExceededError: "The account has nothing left: see its billing.",
        RateLimitError: f"Too many requests or tokens: try later; in a crew, RateLimit keeps to the limits.{wait}",
        LLMTimeoutError: f"Give it more time (--timeout, now {case.timeout:g}), or see why the server is so slow.",
        ConnectionFailedError: "Check that the server runs and can be reached; its log may say more.",
        ServerError: f"The fault is the server's: see its log, or its status page.{wait}",
        ResponseFormatError: "It does not speak the OpenAI chat format there: write a subclass of HttpLLM.",
        AuthenticationError: "Check that the key or token is valid and not expired, and the form of its header.",
        PermissionDeniedError: "Check the permissions of the key or token.",
    }
    if case.chat is None and isinstance(error, ResponseFormatError):
        return "Return a text, tool calls or a Reply."
    return next((words for kind, words in advice.items() if isinstance(error, kind)), "")


def _advice_for_401(case: Case) -> str:
    auth = case.http.auth if case.http is not None else None
    if auth is None:
        return "Give a sign-in: --api-key-env NAME, --bearer-env NAME or --auth-file FILE; in Python auth=."
    challenge = _challenge(case.answered.headers.get("www-authenticate", "") if case.answered is not None else "")
    told = f" The server asks for: {challenge}." if challenge else ""
    if isinstance(auth, ApiKey):
        other = "x-api-key" if auth.header.lower() == "authorization" else "Authorization"
        return f"Check the key, and whether it is for this endpoint; some want another header (--api-key-header {other}).{told}"
    return f"Check that the token is for this endpoint: its issuer, audience and scopes.{told}"


def _challenge(header: str) -> str:
    """Return a `WWW-Authenticate` in words (RFC 9110, 11.6.1)."""
    scheme = header.partition(" ")[0].rstrip(",")
    if not scheme:
        return ""
    facts = re.findall(r'(realm|error|error_description|scope)="([^"]{1,200})"', header[:2000])
    return ", ".join([scrub(scheme, 40), *(f"{name} {scrub(value, 120)}" for name, value in facts)])


def _said(case: Case, error: LLMError) -> str:
    """Return what went wrong: for a refusal what the endpoint says, without our own words around it."""
    exchange = case.answered
    if exchange is None or exchange.status is None or exchange.status < 400:
        text = str(error)
        return text if text.startswith(case.llm.model) else text[:1].upper() + text[1:]
    said, _ = error_message(exchange.status, exchange.body, exchange.headers)
    return f"The endpoint answered HTTP {exchange.status}: {said.rstrip('.')}."
