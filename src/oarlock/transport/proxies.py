"""Which proxy a request goes through. The environment's is used only where that was asked for."""

from __future__ import annotations

from urllib.parse import urlsplit

from oarlock.contract.errors import ConfigurationError
from oarlock.contract.secret import Secret

__all__ = ["ENVIRONMENT", "checked_proxy", "proxy_for", "revealed"]

ENVIRONMENT = "env"
SCHEMES = ("http", "https")


def checked_proxy(proxy: str | Secret | None) -> str | Secret | None:
    """Return the setting `proxy`, as a `Secret` where it has a password.

    Raises:
        ConfigurationError: it is neither `"env"` nor the URL of a proxy. Never shows it.
    """
    if proxy is None or proxy == ENVIRONMENT:
        return proxy
    url = proxy.reveal() if isinstance(proxy, Secret) else proxy
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        good = parts.scheme in SCHEMES and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        good = False
    if not good:
        raise ConfigurationError(
            "proxy must be the URL of an HTTP proxy, such as 'http://proxy.example.com:3128', or 'env' for what the "
            "variables http_proxy, https_proxy, all_proxy and no_proxy say."
        )
    return Secret(url) if parts.password else url


def proxy_for(url: str, proxy: str | Secret | None) -> str | Secret | None:
    """Return the URL of the proxy for a request, as a `Secret` where it has a password; `None` for the direct way.

    Args:
        url: of the request.
        proxy: the setting: a proxy's URL, `"env"`, or `None`.

    Example:
        >>> proxy_for("https://llm.example.com/v1", "http://proxy.example.com:3128")
        'http://proxy.example.com:3128'
    """
    if proxy != ENVIRONMENT:
        return proxy
    from urllib import request as standard  # brings http.client, email and ssl, 25 ms that hardly anybody needs

    found = standard.getproxies_environment()
    parts = urlsplit(url)
    chosen = found.get(parts.scheme) or found.get("all")
    bypass = standard.proxy_bypass_environment  # type: ignore[attr-defined]  # typeshed does not know it
    if not chosen or bypass(parts.netloc.rpartition("@")[2], found):
        return None
    return checked_proxy(chosen if "://" in chosen else f"http://{chosen}")


def revealed(proxy: str | Secret | None) -> str | None:
    """Return a proxy's URL with its password, for the client."""
    return proxy.reveal() if isinstance(proxy, Secret) else proxy
