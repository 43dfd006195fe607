"""Building pyreqwest's clients from our options."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from oarlock.contract.errors import ConfigurationError

if TYPE_CHECKING:
    from oarlock.transport.options import TransportOptions

__all__ = ["build"]


def build(options: TransportOptions, *, blocking: bool) -> Any:
    """Return a new `SyncClient` or `Client`.

    Raises:
        ConfigurationError: a certificate or the proxy cannot be used, or no client can work in this process.
    """
    try:
        return _configured(options, blocking=blocking, multithreaded=False).build()
    except RuntimeError:
        pass  # this process was forked from one that ran pyreqwest's worker thread, which did not come along
    except ValueError as error:
        raise _unusable(options) from error
    try:
        return _configured(options, blocking=blocking, multithreaded=True).build()  # the other, unused kind of worker
    except RuntimeError as error:
        raise ConfigurationError(
            "this process was forked from one that was itself forked after use of the HTTP client, which cannot be "
            "started here again: begin processes with multiprocessing's 'spawn', or use transport='httpx2'."
        ) from error


def _configured(options: TransportOptions, *, blocking: bool, multithreaded: bool) -> Any:
    from pyreqwest.client import ClientBuilder, SyncClientBuilder

    builder: Any = (SyncClientBuilder if blocking else ClientBuilder)()
    builder = builder.runtime_multithreaded(multithreaded).no_proxy().follow_redirects(False).referer(False)
    builder = builder.gzip(False).deflate(False).brotli(False).zstd(False).default_cookie_store(False)
    builder = builder.connect_timeout(timedelta(seconds=options.connect_timeout))
    builder = builder.pool_max_idle_per_host(options.idle_connections)
    if options.verify is False:
        builder = builder.danger_accept_invalid_certs(True)
    if (bundle := options.ca_bundle()) is not None:
        builder = builder.add_root_certificate_pem(bundle)
    if (identity := options.identity()) is not None:
        builder = builder.identity_pem(identity)
    return builder if options.proxy is None else _through(builder, options.proxy)


def _through(builder: Any, proxy: str) -> Any:
    from pyreqwest.proxy import ProxyBuilder

    return builder.proxy(ProxyBuilder.all(proxy))


def _unusable(options: TransportOptions) -> ConfigurationError:
    given = [
        name
        for name, is_set in (
            ("verify", isinstance(options.verify, str)),
            ("client_certificate", options.client_certificate is not None),
            ("proxy", options.proxy is not None),
        )
        if is_set
    ]
    return ConfigurationError(f"the HTTP client cannot be set up: check {' and '.join(given) or 'the options'}.")
