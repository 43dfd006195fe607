"""TLS: who the endpoint says it is, who vouches for it, until when, and what it demands of its clients."""

from __future__ import annotations

import os
import ssl
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from oarlock.cli.doctor.case import Case
from oarlock.cli.doctor.certificate import Certificate, read_certificate
from oarlock.cli.doctor.network import opened, plain_http
from oarlock.cli.doctor.report import Step, failed, fine, skipped, warning
from oarlock.contract.errors import ConfigurationError
from oarlock.transport.proxies import revealed

__all__ = ["tls"]

_SOON = 14  # days: what expires within them is worth a warning
# OpenSSL's X509_V_ERR_...
_NOT_YET, _EXPIRED, _SELF_SIGNED, _SELF_SIGNED_ROOT = 9, 10, 18, 19
_NO_ISSUER = (20, 21)
_WRONG_NAME = (62, 64)
_LISTEN = 0.25  # seconds in which a server says that it wants a certificate: in TLS 1.3 after the handshake


def tls(case: Case) -> Step:
    """Shake hands as a client would, and look at the certificate."""
    if case.url.scheme == "http":
        return plain_http(case)
    if case.proxy is not None and (revealed(case.proxy) or "").startswith("https:"):
        return skipped("It lies within the TLS of an https:// proxy; the first question shows whether it works.")
    try:
        context = _context(case)
    except (OSError, ConfigurationError) as error:  # ssl.SSLError among them
        return _unusable(case, error)
    return _tried(case, context)


def _tried(case: Case, context: ssl.SSLContext) -> Step:
    try:
        return _shaken(case, context)
    except ssl.SSLCertVerificationError as error:
        return _untrusted(case, error)
    except TimeoutError:
        return failed(
            f"The server took the connection, but did not finish the TLS handshake within {case.timeout:g} s.",
            "Check that TLS is spoken at this port; something on the way may swallow it.",
        )
    except OSError as error:
        return _broken(case, error)


def _context(case: Case) -> ssl.SSLContext:
    options = case.options
    context = ssl.create_default_context()
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # Python 3.13's default; the LLM's own TLS is not so strict
    if options.verify is False:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    elif options.verify is not True:
        context.load_verify_locations(cafile=options.verify)
    if (identity := options.identity()) is not None:
        identity.show_in(context)
    return context


def _shaken(case: Case, context: ssl.SSLContext) -> Step:
    begun = time.monotonic()
    with context.wrap_socket(opened(case), server_hostname=case.host[0]) as secured:
        seconds = time.monotonic() - begun
        certificate = read_certificate(secured.getpeercert(binary_form=True) or b"")
        version = (secured.version() or "TLS").replace("TLSv", "TLS ")
        secured.settimeout(min(_LISTEN + seconds, case.timeout))
        with suppress(TimeoutError):  # as it should be: a server waits for the question
            secured.recv(1)
    if case.options.verify is False:
        return warning(
            f"{version}, but certificates are not checked (verify=False): anybody on the way can read the credentials.",
            "Name the authority instead: --ca-bundle PATH.",
            version=version,
        )
    facts = {"version": version, **_facts(certificate), "checked_against": _store(case)}
    if certificate is None:
        return fine(f"{version}; the certificate is trusted, checked against {_store(case)}.", **facts)
    days = (certificate.until - datetime.now(UTC)).days
    own = case.options.identity()
    said = (
        f"{version}; certificate for {', '.join(certificate.names[:3])} by {certificate.issuer}, good until {facts['valid_until']} "
        f"({days} days), checked against {_store(case)}."
    )
    if own is not None:
        said += f" It is shown {own.describe(time.time())}."
    if days < _SOON:
        return warning(said, "It expires soon: have it renewed.", **facts)
    return fine(said, **facts)


def _untrusted(case: Case, error: ssl.SSLCertVerificationError) -> Step:
    code, host = error.verify_code, case.host[0]
    certificate = _shown_anyway(case)
    facts = {**_facts(certificate), "checked_against": _store(case)}
    whose = f" (for {', '.join(certificate.names[:3])}, by {certificate.issuer})" if certificate is not None else ""
    if code == _EXPIRED:
        when = f" on {certificate.until:%Y-%m-%d}" if certificate is not None else ""
        return failed(
            f"The server's certificate{whose} expired{when}.",
            "Have it renewed on the server. If the date is in the future: set this machine's clock.",
            **facts,
        )
    if code == _NOT_YET:
        when = f" before {certificate.since:%Y-%m-%d}" if certificate is not None else " yet"
        return failed(
            f"The server's certificate{whose} is not valid{when}.", "Check the clocks of both machines.", **facts
        )
    if code in _WRONG_NAME:
        names = f": it is for {', '.join(certificate.names[:5])}" if certificate is not None else ""
        return failed(
            f"The server's certificate is not for the host name {host}{names}.",
            "Use the name that stands in it in base_url, or have a certificate made for this one.",
            **facts,
        )
    if code == _SELF_SIGNED:
        return failed(
            f"The server's certificate{whose} is self-signed: nobody vouches for it.",
            "If it is the right server, give the certificate itself: --ca-bundle PATH, in Python transport_options="
            "{'verify': 'PATH'}.",
            **facts,
        )
    if code in _NO_ISSUER or code == _SELF_SIGNED_ROOT:
        return failed(
            f"The server's certificate{whose} is from an unknown authority (CA), checked against {_store(case)}.",
            "If it is your company's: --ca-bundle PATH of its PEM file. If it is a public one: the server may leave out "
            "the intermediate certificate.",
            **facts,
        )
    return failed(f"The server's certificate{whose} is not trusted: {error.verify_message}.", "", **facts)


def _broken(case: Case, error: OSError) -> Step:
    """Say why a handshake failed for another reason than the server's certificate."""
    words = f"{getattr(error, 'reason', None) or ''} {error}".upper().replace(" ", "_")
    given = case.options.client_certificate is not None
    if "WRONG_VERSION_NUMBER" in words or "RECORD_LAYER_FAILURE" in words or "HTTP_REQUEST" in words:
        return failed("What listens there does not speak TLS.", "Check the port, and http:// or https://.")
    if "UNSUPPORTED_PROTOCOL" in words or "PROTOCOL_VERSION" in words:
        return failed(
            "The server speaks too old a TLS (older than 1.2), which no client should use any more.",
            "Have TLS 1.2 or 1.3 enabled on the server, or on the gateway before it.",
        )
    if "CERTIFICATE_REQUIRED" in words or ("ALERT" in words and "HANDSHAKE_FAILURE" in words and not given):
        return failed(
            "The server demands a client certificate, and none was given.",
            "Give one: --client-cert CERT KEY, in Python transport_options={'client_certificate': (CERT, KEY)}.",
        )
    if (
        given
        and "ALERT" in words
        and any(word in words for word in ("CERTIFICATE", "UNKNOWN_CA", "HANDSHAKE", "DENIED"))
    ):
        return failed(
            "The server does not accept the client certificate.",
            "Check that it is from an authority that the server knows, and has not expired.",
        )
    how = "reset the connection" if isinstance(error, ConnectionResetError) else "ended the handshake"
    reason = (getattr(error, "reason", None) or error.strerror or type(error).__name__).replace("_", " ").lower()
    return failed(f"The server {how} ({reason}).", "Check the port; something on the way may not let TLS through.")


def _unusable(case: Case, error: Exception) -> Step:
    options, words = case.options, _words(error) if isinstance(error, OSError) else str(error).rstrip(".")
    ours = options.client_certificate is not None and "no certificate or crl found" not in words
    if ours and not words.startswith("verify"):
        return failed(
            f"The client certificate cannot be used: {words}.",
            "CERT must be a PEM chain, KEY its unencrypted PEM key, and the two must belong together; for anything else "
            "there is oarlock.auth.ClientCertificate.",
        )
    return failed(f"The CA bundle cannot be used: {words}.", "It must be a PEM file of certificates.")


def _words(error: OSError) -> str:
    return (getattr(error, "reason", None) or error.strerror or type(error).__name__).replace("_", " ").lower()


def _shown_anyway(case: Case) -> Certificate | None:
    """Return what stands in a certificate that was refused, for which it is fetched once more, unchecked."""
    blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
    try:
        with blind.wrap_socket(opened(case), server_hostname=case.host[0]) as secured:
            return read_certificate(secured.getpeercert(binary_form=True) or b"")
    except OSError:  # then without the details
        return None


def _facts(certificate: Certificate | None) -> dict[str, Any]:
    if certificate is None:
        return {}
    return {
        "names": list(certificate.names),
        "issuer": certificate.issuer,
        "valid_from": f"{certificate.since:%Y-%m-%d}",
        "valid_until": f"{certificate.until:%Y-%m-%d}",
    }


def _store(case: Case) -> str:
    paths = ssl.get_default_verify_paths()
    system = os.environ.get(paths.openssl_cafile_env) or paths.cafile or paths.capath
    store = f"the system's store ({system})" if system else "the system's store"
    verify = case.options.verify
    return store if isinstance(verify, bool) else f"{verify} and {store}"
