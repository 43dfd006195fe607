"""The way to the endpoint: its address, the proxy, the name, the connection."""

from __future__ import annotations

import base64
import os
import socket
import time
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from oarlock.cli.doctor.case import Address, Case
from oarlock.cli.doctor.report import Step, failed, fine, skipped, warning
from oarlock.contract.errors import ConfigurationError
from oarlock.transport.naming import endpoint
from oarlock.transport.proxies import ENVIRONMENT, proxy_for, revealed

__all__ = ["TunnelRefusedError", "address", "connection", "dns", "opened", "proxy"]

_VARIABLES = ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")
_LONGEST_HEAD = 65536  # bytes of a proxy's answer
_ENDINGS = ("/models", "/completions", "/responses", "/embeddings")


class TunnelRefusedError(OSError):
    """A proxy would not connect to the endpoint."""

    def __init__(self, status: str) -> None:
        super().__init__(status)
        self.status = status


def address(case: Case) -> Step:
    """Look at the URL itself: what is appended to it, and whether it ends in the right place."""
    assert case.http is not None
    url, base = f"{case.url.scheme}://{case.url.netloc}{case.url.path}", case.http.base_url
    if case.chat is None:
        return fine(f"Questions go to {url}.", url=url)
    if "?" in base or "#" in base:
        return failed(
            f"base_url has a query or fragment, so that the path of a question ends up behind it: {base.partition('?')[0]}?…",
            "Leave it out of base_url. A key in the query: ApiKey(..., query='NAME').",
            url=url,
        )
    if case.url.path.count("/chat/completions") > 1:
        return failed(
            f"Questions would go to {url}: /chat/completions stands there twice.",
            f"Set base_url to {base.partition('/chat/completions')[0]}",
            url=url,
        )
    wrong = next((end for end in _ENDINGS if base.endswith(end) and not base.endswith("/chat/completions")), None)
    if wrong is not None:
        return failed(
            f"base_url ends in {wrong}, so that questions would go to {url}.",
            f"Set base_url to {base.removesuffix(wrong)}: /chat/completions is added to it.",
            url=url,
        )
    return fine(f"Questions go to {url}", url=url)


def proxy(case: Case) -> Step:
    """Find out whether a proxy is on the way, and whether one is in the environment that is not used."""
    url, setting = case.url.geturl(), case.options.proxy
    try:
        case.proxy = proxy_for(url, setting)
        in_environment = proxy_for(url, ENVIRONMENT)
    except ConfigurationError:
        if setting == ENVIRONMENT:
            return failed("The proxy variables of the environment hold no URL of an HTTP proxy.", "Mend or unset them.")
        in_environment = None
    if case.proxy is not None:
        said = " (from the environment)" if setting == ENVIRONMENT else ""
        return fine(f"Requests go through the proxy {_shown(case)}{said}.", proxy=_shown(case))
    names = [name for name in _VARIABLES if os.environ.get(name)]
    if in_environment is None:
        return fine("No proxy.", proxy=None)
    return warning(
        f"{' and '.join(names)} is set in the environment, but no proxy is used: it is only when one is named.",
        "If there is no direct way out: --proxy env, in Python transport_options={'proxy': 'env'}.",
        proxy=None,
        variables=names,
    )


def dns(case: Case) -> Step:
    """Resolve the host, or the proxy's, which then resolves the endpoint's."""
    host, port = _first_stop(case)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no valid name"
        return failed(
            f"The name {host} cannot be resolved: {reason[0].lower()}{reason[1:]}.",
            f"Check its spelling; a company's inner names need its network, VPN or proxy.{_hint_of_proxy(case)}",
            host=host,
        )
    case.addresses = list(dict.fromkeys((family, sockaddr) for family, _, _, _, sockaddr in found))
    numbers = list(dict.fromkeys(str(sockaddr[0]) for _, sockaddr in case.addresses))
    if numbers == [host]:
        return fine(f"{host} is an address: no name to resolve.", addresses=numbers)
    whose = "The proxy " if case.proxy else ""
    return fine(f"{whose}{host} is {', '.join(numbers)}.", addresses=numbers)


def connection(case: Case) -> Step:
    """Open a connection, trying each address in turn; through a proxy, ask it for the way."""
    failures = []
    for address in case.addresses:
        begun = time.monotonic()
        try:
            opened(case, address).close()
        except TunnelRefusedError as refusal:
            return _tunnel_refused(case, refusal)
        except OSError as error:
            failures.append((address[1], _reason(error, case.timeout)))
            continue
        case.reached = address
        seconds = time.monotonic() - begun
        where = _where(address[1])
        others = "".join(f" {_where(other)}: {why}." for other, why in failures)
        if failures:
            return warning(f"{where} answers, but not every address does.{others}", address=where, seconds=seconds)
        return fine(f"{where} takes connections ({seconds * 1000:.0f} ms).", address=where, seconds=seconds)
    reasons = {why for _, why in failures}
    said = "; ".join(f"{_where(sockaddr)}: {why}" for sockaddr, why in failures)
    return failed(f"No connection. {said}.", f"{_advice(reasons)}{_hint_of_proxy(case)}")


def opened(case: Case, address: Address | None = None) -> socket.socket:
    """Return a connected socket, where needed through the proxy's tunnel.

    Raises:
        OSError: no connection.
        TunnelRefusedError: the proxy does not want to.
    """
    family, sockaddr = address or case.reached or case.addresses[0]
    plain = socket.socket(family, socket.SOCK_STREAM)
    try:
        plain.settimeout(min(case.timeout, case.options.connect_timeout))
        plain.connect(sockaddr)
        if case.proxy is not None and case.url.scheme == "https" and _proxy_url(case).scheme == "http":
            _tunnel(case, plain)
    except BaseException:
        plain.close()
        raise
    return plain


def _tunnel(case: Case, plain: socket.socket) -> None:
    """Ask a proxy for a way to the endpoint (RFC 9110, 9.3.6)."""
    host, port = case.host
    there = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    head = f"CONNECT {there} HTTP/1.1\r\nHost: {there}\r\n"
    proxy = _proxy_url(case)
    if proxy.username:
        pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}".encode()
        head += f"Proxy-Authorization: Basic {base64.b64encode(pair).decode()}\r\n"
    plain.sendall(f"{head}\r\n".encode())
    answer = b""
    while b"\r\n\r\n" not in answer and len(answer) < _LONGEST_HEAD:
        piece = plain.recv(1)  # byte by byte: what follows belongs to the endpoint
        if not piece:
            break
        answer += piece
    status = answer[9:12].decode("ascii", "replace") if answer.startswith(b"HTTP/1.") else ""
    if not status.startswith("2"):
        said = f"answered HTTP {status}" if status.isdigit() else "did not answer in HTTP"
        raise TunnelRefusedError(said if answer else "closed the connection")


def _tunnel_refused(case: Case, refusal: TunnelRefusedError) -> Step:
    signs_in = refusal.status.endswith("407")
    return failed(
        f"The proxy {_shown(case)} {refusal.status} when asked for a way to {endpoint(case.url.geturl())}.",
        "It wants a sign-in: put user and password into the proxy's URL."
        if signs_in
        else "It may not allow this host: ask whoever runs it, or check the proxy's address.",
    )


def _first_stop(case: Case) -> tuple[str, int]:
    if case.proxy is None:
        return case.host
    url = _proxy_url(case)
    return url.hostname or "", url.port or (443 if url.scheme == "https" else 80)


def _proxy_url(case: Case) -> SplitResult:
    return urlsplit(revealed(case.proxy) or "")


def _shown(case: Case) -> str:
    return endpoint(revealed(case.proxy) or "")


def _where(sockaddr: tuple[Any, ...]) -> str:
    host, port = sockaddr[:2]
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"


def _reason(error: OSError, seconds: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {seconds:g} s"
    if isinstance(error, ConnectionRefusedError):
        return "refused, nothing listens there"
    return (error.strerror or type(error).__name__).lower()


def _advice(reasons: set[str]) -> str:
    if any("refused" in why for why in reasons):
        return "Check host and port, and whether the server runs."
    return "A firewall, a VPN that is off, or a wrong address: check host and port, and the network."


def _hint_of_proxy(case: Case) -> str:
    there = case.proxy is None and any(os.environ.get(name) for name in _VARIABLES)
    return " The environment names a proxy, which is not used: try --proxy env." if there else ""


def plain_http(case: Case) -> Step:
    """Judge a URL without TLS."""
    host = case.host[0]
    if host in {"localhost", "::1"} or host.startswith("127."):
        return skipped("Plain HTTP, on this machine.")
    secrets = case.http is not None and case.http.auth is not None
    what = "the credentials and every word" if secrets else "every word"
    return warning(f"Plain HTTP: everybody on the way can read {what}.", "Use https://.")
