"""Runs stock.py with a stand-in for the house's service on this machine: no network, no key, no cost."""

import hashlib
import hmac
import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import stock

SECRET = b"s3cret-of-team-blue"


class House(BaseHTTPRequestHandler):
    """The service: it checks the signature, and answers as the model would."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        text = f"{self.headers['X-House-Date']}\n{hashlib.sha256(body).hexdigest()}"
        right = f"team-blue:{hmac.new(SECRET, text.encode(), hashlib.sha256).hexdigest()}"
        if hmac.compare_digest(self.headers["X-House-Signature"], right):
            self.answer(200, said(json.loads(body)["dialogue"]))
        else:
            self.answer(401, {"problem": "The signature is not ours."})

    def answer(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


def said(dialogue: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what the model would say: it asks for two articles, and answers when it knows."""
    tokens = {"heard": 40 * len(dialogue), "said": 20}
    found = {turn["ref"]: turn["says"] for turn in dialogue if turn["by"] == "skill"}
    if not found:
        wishes = [{"ref": name, "skill": "in_stock", "with": {"article": name}} for name in ("oar", "oarlock")]
        return {"wishes": wishes, "ended": "skills", "tokens": tokens}
    answer = f"We have {found['oar']} oars, and {found['oarlock']} oarlocks to put them in."
    return {"says": answer, "ended": "done", "tokens": tokens}


with ThreadingHTTPServer(("127.0.0.1", 0), House) as server:
    Thread(target=server.serve_forever, daemon=True).start()
    os.environ |= {
        "HOUSE_URL": f"http://127.0.0.1:{server.server_port}",
        "HOUSE_TEAM": "team-blue",
        "HOUSE_SECRET": SECRET.decode(),
    }
    stock.main("Do we have oars, and what goes with them?")
    server.shutdown()
