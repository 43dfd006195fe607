"""Sign-in: the flow is driven up to the request for the model, which is kept back; the clock; a token's claims."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from oarlock.cli.doctor.case import Case
from oarlock.cli.doctor.report import Step, failed, fine, skipped, warning
from oarlock.contract.auth import Send, authorize
from oarlock.contract.classify import classify
from oarlock.contract.http import HttpRequest, HttpResponse
from oarlock.contract.secret import scrub
from oarlock.runtime import Runtime, drive

__all__ = ["claims_of", "clock", "sign_in", "signed"]

_CLOCKS_DIFFER = 30.0  # seconds; token services commonly allow for 30 to 60


def sign_in(case: Case) -> Step:
    """Get the credential, as a question would, and look at it."""
    assert case.http is not None
    if case.http.auth is None:
        return skipped("No sign-in was given.")
    plain = HttpRequest(method="GET", url=case.http.base_url)
    before = len(case.recorder.exchanges)
    try:
        request = signed(case, plain)
    except Exception as error:  # noqa: BLE001  the boundary to a sign-in of the user's own
        said = f"{classify(error, 'The sign-in')}"
        name = type(case.http.auth).__name__
        return failed(said if said.startswith(name) else f"{case.http.auth!r}: {said}")
    fetched = len(case.recorder.exchanges) - before
    if request is None:
        return failed(f"{case.http.auth!r} did not send the request.", "Its flow must yield the request it was given.")
    how = f"{case.http.auth!r}{', which asked for a token,' if fetched else ''} sends {_carried(plain, request)}"
    claims = next(filter(None, map(claims_of, _values(plain, request))), None)
    if claims is not None:
        return _judged(how, claims)
    return fine(f"{how}.", fetched=bool(fetched))


def signed(case: Case, request: HttpRequest) -> HttpRequest | None:
    """Return the request as the sign-in sends it, without sending it; what else the sign-in sends is sent.

    Raises:
        OarlockError: no credential can be had. Whatever a sign-in of the user's own raises.
    """
    assert case.http is not None
    there = request.url.partition("?")[0]
    kept: list[HttpRequest] = []

    async def work(runtime: Runtime) -> None:
        await authorize(runtime, case.http.auth, request.with_timeout(case.timeout), _sending(runtime))  # type: ignore[union-attr, arg-type]

    def _sending(runtime: Runtime) -> Send:
        async def send(outgoing: HttpRequest) -> HttpResponse:
            if outgoing.url.partition("?")[0] == there:
                kept.append(outgoing)
                return HttpResponse(status=200)
            timed = outgoing.with_timeout(min(outgoing.timeout or case.timeout, case.timeout))
            answer: HttpResponse = await runtime.invoke(case.recorder.send, case.recorder.asend, timed)
            return answer

        return send

    drive(work)
    return kept[-1] if kept else None


def _values(plain: HttpRequest, request: HttpRequest) -> Iterator[str]:
    for _, value in _added(plain, request):
        yield value.rpartition(" ")[2]


def _added(plain: HttpRequest, request: HttpRequest) -> list[tuple[str, str]]:
    return [pair for pair in request.headers if pair not in plain.headers]


def _carried(plain: HttpRequest, request: HttpRequest) -> str:
    """Return in words what the sign-in has added to the request, without values."""
    parts = []
    for name, value in _added(plain, request):
        scheme, space, rest = value.partition(" ")
        kind = "<JWT>" if claims_of(rest or value) is not None else "…"
        shown = f"{scheme} {kind}" if space and scheme.isalpha() and name.lower() == "authorization" else kind
        parts.append(f"{name}: {shown}")
    queried = [name for name, _ in parse_qsl(urlsplit(request.url).query)]
    parts += [f"{name}=… in the query" for name in queried]
    return ", ".join(parts) or "nothing more (a cookie or certificate may do)"


def claims_of(token: str) -> dict[str, Any] | None:
    """Return what a JWT says, unchecked, `None` if it is none.

    Example:
        >>> claims_of("eyJhbGciOiJub25lIn0.eyJhdWQiOiJsbG0ifQ.")
        {'aud': 'llm'}
    """
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return None
    return claims if isinstance(claims, dict) else None


def _judged(how: str, claims: Mapping[str, Any]) -> Step:
    shown = _shown(claims)
    said = f"{how} ({', '.join(f'{name} {value}' for name, value in shown.items())})" if shown else how
    now, expires, begins = time.time(), _number(claims.get("exp")), _number(claims.get("nbf"))
    if expires is not None and expires <= now:
        return failed(
            f"{said}. It expired {_span(now - expires)} ago, at {_moment(expires)}, by this machine's clock.",
            "Get a new token; better, give BearerToken a function that fetches one, or use a sign-in that renews it.",
            claims=shown,
        )
    if begins is not None and begins > now + _CLOCKS_DIFFER:
        return warning(
            f"{said}. It is valid only from {_moment(begins)} on, in {_span(begins - now)}.",
            "Set this machine's clock, if it is behind.",
            claims=shown,
        )
    if expires is None:
        return fine(f"{said}. It does not say when it expires.", claims=shown)
    return fine(f"{said}. It expires in {_span(expires - now)}, at {_moment(expires)}.", claims=shown)


def _shown(claims: Mapping[str, Any]) -> dict[str, str]:
    """Return the claims that help and give nothing away."""
    shown = {name: scrub(_text(claims[name]), 100) for name in ("iss", "aud", "azp", "client_id") if claims.get(name)}
    if subject := claims.get("sub"):
        text = scrub(_text(subject), 100)
        shown["sub"] = text if len(text) <= 6 else f"{text[:4]}…"
    if scope := claims.get("scope") or claims.get("scp") or claims.get("roles"):
        shown["scope"] = scrub(_text(scope), 200)
    return shown


def _text(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and 0 < value < 1e11 else None


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _span(seconds: float) -> str:
    """Return a length of time in words, to its greatest unit."""
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def clock(case: Case) -> Step:
    """Compare this machine's clock with the server's, which judges the expiry of tokens by its own."""
    for exchange in reversed(case.recorder.exchanges):
        try:
            theirs = parsedate_to_datetime(exchange.headers["date"]).timestamp()
        except (KeyError, ValueError, TypeError, OverflowError):
            continue
        ahead = exchange.at + exchange.seconds / 2 - theirs
        if abs(ahead) <= _CLOCKS_DIFFER:
            return fine("This machine's clock and the server's agree.", seconds_ahead=round(ahead))
        where = "ahead of" if ahead > 0 else "behind"
        return warning(
            f"This machine's clock is {_span(abs(ahead))} {where} the server's.",
            "Set it (NTP): tokens seem expired or not yet valid, and signatures are refused.",
            seconds_ahead=round(ahead),
        )
    return skipped("No answer told the server's time.")
