"""The steps in their order, each only where it makes sense; no secret leaves here."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from oarlock.cli.doctor import abilities, answers, figures, network, sign_in, tls
from oarlock.cli.doctor.case import Case, Patient, case_of, shown
from oarlock.cli.doctor.code import looks_secret
from oarlock.cli.doctor.hiding import Hider
from oarlock.cli.doctor.recorder import Exchange
from oarlock.cli.doctor.report import Examination, Step, failed, skipped
from oarlock.contract.classify import classify
from oarlock.contract.secret import scrub
from oarlock.llms.http import HttpLLM

__all__ = ["MOST_REQUESTS", "STEPS", "examine"]

MOST_REQUESTS = 10
"""To the endpoint: the models' list and a better base URL, the first question (twice where `max_tokens` is refused), a
stream, a tool, stop words, JSON twice, and one more where a token is refused."""

_TOLD = {"content-type", "date", "server", "via", "location", "retry-after", "www-authenticate", "x-request-id"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Planned:
    name: str
    look: Callable[[Case], Step]
    after: tuple[str, ...]
    http: bool


def _planned(name: str, look: Callable[[Case], Step], *after: str, http: bool = False) -> _Planned:
    return _Planned(name=name, look=look, after=after, http=http)


_PLAN = (
    _planned("address", network.address, http=True),
    _planned("proxy", network.proxy, "address", http=True),
    _planned("dns", network.dns, "proxy", http=True),
    _planned("connection", network.connection, "dns", http=True),
    _planned("tls", tls.tls, "connection", http=True),
    _planned("sign_in", sign_in.sign_in, "tls", http=True),
    _planned("access", answers.access, "sign_in", http=True),
    _planned("base_url", answers.base_url, "access", http=True),
    _planned("model", answers.model, "base_url", http=True),
    _planned("chat", answers.chat, "model"),
    _planned("streaming", abilities.streaming, "chat"),
    _planned("function_calling", abilities.function_calling, "chat"),
    _planned("stop_words", abilities.stop_words, "chat"),
    _planned("json_mode", abilities.json_mode, "chat"),
    _planned("context_window", figures.context_window, "model"),
    _planned("usage", figures.usage, "chat"),
    _planned("latency", figures.latency, "chat"),
    _planned("rate_limits", figures.rate_limits, "access", http=True),
    _planned("clock", sign_in.clock, "connection", http=True),
)

STEPS = tuple(step.name for step in _PLAN)
"""The names of all steps, in order."""


def examine(
    patient: Patient,
    *,
    timeout: float | None = None,
    secrets: Sequence[str] = (),
    on_step: Callable[[Step], None] | None = None,
    on_exchange: Callable[[str], None] | None = None,
) -> Examination:
    """Examine one LLM.

    Args:
        patient: the LLM.
        timeout: seconds for each request; default: the LLM's own.
        secrets: texts that must not be seen; what is sent as a credential is known anyway.
        on_step: is told of each step once it is done.
        on_exchange: is told of each request, in a line without secrets.
    """
    hider = Hider(secrets, _open_words(patient))

    def watch(exchange: Exchange) -> None:
        hider.learn(exchange, aside=not case.is_ours(exchange))
        if on_exchange is not None:
            on_exchange(hider.text(_line(exchange)))

    case = case_of(patient, timeout, watch)
    steps = []
    for step in _looked(case):
        steps.append(hider.step(step))
        if on_step is not None:
            on_step(steps[-1])
    ours = sum(map(case.is_ours, case.recorder.exchanges))
    code = patient.code(case.llm.model, case.settings) if patient.code is not None and case.reply is not None else None
    return Examination(
        llm=hider.text(shown(case.llm.endpoint_name() or repr(case.llm))),
        steps=tuple(steps),
        requests=ours,
        sign_in_requests=len(case.recorder.exchanges) - ours,
        code=code,
    )


def _looked(case: Case) -> Iterator[Step]:
    """Give the steps; one that builds on a failed one is skipped."""
    broken: dict[str, str] = {}  # by step: the one that is to blame
    for planned in _PLAN:
        if planned.http and case.http is None:
            continue
        begun = time.monotonic()
        if (culprit := next((broken[name] for name in planned.after if name in broken), None)) is not None:
            broken[planned.name] = culprit
            step = skipped(f"Not tried, since {culprit.replace('_', ' ')} failed.", blamed=culprit)
        else:
            step = _look(case, planned.look)
            if step.outcome == "failed":
                broken[planned.name] = planned.name
        yield replace(step, name=planned.name, seconds=time.monotonic() - begun)


def _look(case: Case, look: Callable[[Case], Step]) -> Step:
    try:
        return look(case)
    except Exception as error:  # noqa: BLE001  the boundary to an LLM of the user's own: it may raise anything anywhere
        return failed(f"{classify(error, type(case.llm).__name__)}", "See its code.")


def _open_words(patient: Patient) -> set[str]:
    """Return what stands where secrets may, and is none."""
    llm = patient.llm
    headers = getattr(llm, "_headers", ()) if isinstance(llm, HttpLLM) else ()
    values = {value for name, value in headers if not looks_secret(name)}
    return {llm.model, *values, *(value.partition(" ")[2] for value in values)}


def _line(exchange: Exchange) -> str:
    """Return a line on an exchange for `--debug`: names of what was sent, and what came back."""
    request = exchange.request
    came = exchange.status if exchange.status is not None else f"{type(exchange.error).__name__}: {exchange.error}"
    sent = ", ".join(name for name, _ in request.headers)
    line = f"{request.method} {request.url.partition('?')[0]} -> {came} in {exchange.seconds:.2f} s; sent {sent}"
    if exchange.status is None:
        return line
    kept = {name: value for name, value in exchange.headers.pairs() if name in _TOLD or "ratelimit" in name}
    line += f"; got {', '.join(f'{name}: {scrub(value, 80)}' for name, value in kept.items())}"
    body = scrub(exchange.body[:2000].decode("utf-8", "replace"), 300)
    return f"{line}; {body}" if exchange.status >= 300 else line
