"""A model behind a protocol of the house's own, with requests signed by HMAC."""

import json
from typing import Any

from oarlock import HttpLLM, Reply, Request, ToolCall, Usage
from oarlock.auth import HmacSigner
from oarlock.contract.http import HttpRequest, HttpResponse

SPEAKERS = {"system": "house", "developer": "house", "user": "person", "assistant": "model", "tool": "skill"}
ENDINGS = {"done": "stop", "skills": "tool_calls", "cut": "length"}


class HouseLLM(HttpLLM):
    """The house's model: `encode` writes its requests, `decode` reads its answers, all else is there already.

    Args:
        url: of the service, such as `https://talk.example.com`.
        team: who asks; it goes into each signature.
        secret: the team's.
    """

    def __init__(self, url: str, team: str, secret: str, **settings: Any) -> None:
        super().__init__("house-1", f"{url}/v2/talk", auth=signer(team, secret), context_window=32_000, **settings)

    def encode(self, request: Request) -> dict[str, Any]:
        body: dict[str, Any] = {"dialogue": [turn(message) for message in request.messages]}
        if request.tools:
            body["skills"] = [skill(tool["function"]) for tool in request.tools]
        if stop := [*self.stop, *request.stop]:
            body["until"] = list(dict.fromkeys(stop))
        if request.max_tokens or self.max_tokens:
            body["longest"] = request.max_tokens or self.max_tokens
        return body

    def decode(self, response: HttpResponse) -> Reply:
        answer = json.loads(response.body)
        tokens = answer["tokens"]
        return Reply(
            text=answer.get("says", ""),
            tool_calls=tuple(tool_call(one) for one in answer.get("wishes", [])),
            usage=Usage(prompt_tokens=tokens["heard"], completion_tokens=tokens["said"], requests=1),
            finish_reason=ENDINGS.get(answer["ended"], answer["ended"]),
        )


def turn(message: Any) -> dict[str, Any]:
    """Return a message as the protocol has it."""
    content = message.get("content") or ""
    if not isinstance(content, str):  # parts; this model reads only texts
        content = "\n".join(part["text"] for part in content if part.get("type") == "text")
    said: dict[str, Any] = {"by": SPEAKERS[message["role"]], "says": content}
    if message.get("tool_calls"):
        said["wishes"] = [wish(call) for call in message["tool_calls"]]
    if "tool_call_id" in message:
        said["ref"] = message["tool_call_id"]
    return said


def wish(call: Any) -> dict[str, Any]:
    """Return a tool call as the protocol has it."""
    function = call["function"]
    return {"ref": call["id"], "skill": function["name"], "with": json.loads(function["arguments"])}


def tool_call(wished: Any) -> ToolCall:
    """Return a wish as a tool call."""
    return ToolCall(id=wished["ref"], name=wished["skill"], arguments=json.dumps(wished["with"]))


def skill(function: Any) -> dict[str, Any]:
    """Return a tool as the protocol has it."""
    return {
        "name": function["name"],
        "purpose": function.get("description", ""),
        "takes": function.get("parameters", {}),
    }


def signer(team: str, secret: str) -> HmacSigner:
    """Return the house's sign-in: a signature over time and body, in a header of its own."""
    return HmacSigner(
        secret,
        key_id=team,
        header="X-House-Signature",
        template="{key_id}:{signature}",
        date_header="X-House-Date",
        digest_header=None,
        encoding="hex",
        canonical=signed,
    )


def signed(request: HttpRequest, date: str, digest: str) -> str:
    """Return what is signed."""
    return f"{date}\n{digest}"
