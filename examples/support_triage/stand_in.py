"""Runs triage.py with a stand-in for the gateway on this machine: no network, no key, no cost."""

import json
import os
from base64 import b64encode
from collections.abc import Mapping

import triage

from oarlock.testing import JwtIssuer, LoopbackEndpoint, RecordedRequest, Status

SORTED = {
    "second administrator": {"team": "accounts", "urgency": 4, "summary": "Wants a second administrator"},
    "charged twice": {"team": "billing", "urgency": 3, "summary": "Charged twice for October (8812, 8813)"},
    "orders API": {"team": "platform", "urgency": 1, "summary": "Orders API down since 9:40"},
}
REPLIES = {
    "second administrator": "Thank you for asking. A colleague from accounts will show you where administrators are added.",
    "charged twice": "We are sorry about the two charges. You will have your refund tomorrow.",
    "orders API": "We are sorry that you cannot take orders. Our platform team has been called and is looking at it now.",
}
MENDED = "We are sorry about the two charges for October. A colleague from billing will look into both invoices."

issuer = JwtIssuer(secret="of-the-stand-in")
failures = iter([Status(503, headers={"Retry-After": "0"})])  # gateways have bad moments: this one has its first


def give_token(headers: Mapping[str, str]) -> Status:
    """Answer as the token endpoint does: a token for those who know the secret."""
    if headers.get("authorization") != f"Basic {b64encode(b'triage:s3cret').decode()}":
        return Status(401)
    return Status(200, body={"access_token": issuer.issue("triage"), "expires_in": 300})


def answer(request: RecordedRequest) -> str | Status:
    """Answer as the model would."""
    if failure := next(failures, None):
        return failure
    asked = str(request.json["messages"])
    if "The rule:" in asked:
        return '{"valid": true, "reason": ""}'
    ticket = next(words for words in SORTED if words in asked)
    if "Sort this ticket" in request.prompt:
        return json.dumps(SORTED[ticket])
    return MENDED if "It promises something" in asked else REPLIES[ticket]


with LoopbackEndpoint(auth=give_token) as login, LoopbackEndpoint(answer, auth=issuer.check) as gateway:
    os.environ |= {
        "GATEWAY_URL": gateway.url,
        "GATEWAY_MODEL": "house-model",
        "GATEWAY_TOKEN_URL": f"{login.url}/token",
        "GATEWAY_CLIENT_ID": "triage",
        "GATEWAY_CLIENT_SECRET": "s3cret",
    }
    triage.main("tickets.json")
    print(f"{len(login.requests)} token fetched")
