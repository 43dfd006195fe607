"""The live page of running crews: one file of HTML, with a policy that lets nothing else in."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

__all__ = ["show_page"]

_INLINE: Final = re.compile(r"<(style|script)>(.*?)</\1>", re.DOTALL)


async def show_page(_: Request) -> Response:
    """Answer `GET /`. There is nothing in the page itself: what it shows it asks for, with the key that it is given."""
    html, policy = _page()
    return Response(
        html, headers={"content-security-policy": policy, "cache-control": "no-cache"}, media_type="text/html"
    )


@cache
def _page() -> tuple[str, str]:
    """Return the page, and the policy that lets its own style and script run, and no other."""
    html = (files(__package__) / "page.html").read_text(encoding="utf-8")
    for kind, name in (("style", "page.css"), ("script", "page.js")):
        text = (files(__package__) / name).read_text(encoding="utf-8")
        html = html.replace(f"<{kind}></{kind}>", f"<{kind}>{text}</{kind}>")
    hashes = {kind: _hash(text) for kind, text in _INLINE.findall(html)}
    policy = (
        f"default-src 'none'; script-src '{hashes['script']}'; style-src '{hashes['style']}'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    )
    return html, policy


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
