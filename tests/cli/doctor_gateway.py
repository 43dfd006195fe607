"""A small gateway on 127.0.0.1 that does everything the doctor looks at, and can be broken in one place at a time."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = {"id": "gpt-x", "object": "model", "max_model_len": 8192}


@dataclass
class Answer:
    status: int = 200
    body: Any = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Gateway:
    """A good gateway; each setting breaks one thing.

    `hook` is asked first: it takes the method, the path and the JSON body, and returns an `Answer` or `None`.
    """

    token: str | None = None
    header: str = "Authorization"
    prefix: str = "/v1"
    models: list[dict[str, Any]] | None = field(default_factory=lambda: [MODEL])
    streams: bool = True
    done: bool = True
    tools: bool = True
    stops: bool = True
    schemas: bool = True
    reports_usage: bool = True
    limits: Mapping[str, str] = field(default_factory=dict)
    hook: Callable[[str, str, Any], Answer | None] = lambda method, path, body: None
    requests: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)
    url: str = ""

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: Any) -> Answer:
        self.requests.append((method, path, {name.lower(): value for name, value in headers.items()}, body))
        if (changed := self.hook(method, path, body)) is not None:
            return changed
        if path not in (f"{self.prefix}/models", f"{self.prefix}/chat/completions"):
            return Answer(404, {"detail": "Not Found"})
        if self.token is not None and headers.get(self.header, "").removeprefix("Bearer ") != self.token:
            said = {"error": {"message": "Incorrect API key provided.", "code": "invalid_api_key"}}
            return Answer(401, said, {"WWW-Authenticate": 'Bearer realm="llm"'})
        if method == "GET":
            return Answer(404, {"detail": "Not Found"}) if self.models is None else Answer(200, {"data": self.models})
        known = [model["id"] for model in self.models or [MODEL]]
        if body["model"] not in known:
            said = {"message": f"The model `{body['model']}` does not exist.", "code": "model_not_found"}
            return Answer(404, {"error": said})
        return self.chat(body)

    def chat(self, body: dict[str, Any]) -> Answer:
        message: dict[str, Any] = {"role": "assistant", "content": "OK"}
        if "Count" in body["messages"][-1]["content"]:
            message["content"] = "1 2 3 4 " if "stop" in body and self.stops else "1 2 3 4 5 6 7 8 9"
        if "tools" in body and self.tools:
            call = {"name": "get_weather", "arguments": '{"city": "Paris"}'}
            message = {"role": "assistant", "content": None}
            message["tool_calls"] = [{"id": "c1", "type": "function", "function": call}]
        if "response_format" in body:
            if not self.schemas and body["response_format"]["type"] == "json_schema":
                return Answer(400, {"error": {"message": "response_format json_schema is not supported"}})
            message["content"] = '{"capital": "Paris"}'
        usage = {"usage": {"prompt_tokens": 12, "completion_tokens": 3}} if self.reports_usage else {}
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if "tools" in body else "stop"}
        if body.get("stream") and self.streams:
            return self.events(message["content"], usage)
        return Answer(200, {"id": "r1", "model": body["model"], "choices": [choice], **usage}, self.limits)

    def events(self, text: str, usage: Mapping[str, Any]) -> Answer:
        chunks: list[dict[str, Any]] = [
            {"choices": [{"index": 0, "delta": {"content": f"{word} "}}]} for word in text.split()
        ]
        chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], **usage})
        lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
        return Answer(
            200, "".join([*lines, *(["data: [DONE]\n\n"] if self.done else [])]), {"Content-Type": "text/event-stream"}
        )


@contextmanager
def serving(gateway: Gateway, context: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> Iterator[Gateway]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # one write for head and body

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length", "0")))
            try:
                body = json.loads(raw)
            except ValueError:
                body = raw.decode()
            answer = gateway.answer(self.command, self.path, self.headers, body)
            text = isinstance(answer.body, str)
            content = answer.body.encode() if text else json.dumps(answer.body).encode()
            self.send_response_only(answer.status)
            headers = {"Content-Type": "text/html" if text else "application/json", "Date": self.date_time_string()}
            for name, value in {**headers, **answer.headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_CONNECT = do_POST

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """Handshakes that fail are what the tests are about."""

    server = Server((host, 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    gateway.url = f"http{'s' if context else ''}://{host}:{server.server_address[1]}{gateway.prefix}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield gateway
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
