"""An LLM that holds the contract, and one for each check that does not: it does a single thing wrong."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import requests

from oarlock import (
    AuthenticationError,
    BaseLLM,
    RateLimitError,
    Reply,
    Request,
    ToolCall,
    Usage,
    current_call,
)
from oarlock.contract.secret import Secret

KEY = "canary-4711"


class Client(BaseLLM, abstract=True):
    """What both forms have in common."""

    def __init__(self, url: str, key: str = KEY) -> None:
        super().__init__()
        self.url = f"{url}/chat/completions"
        self.key = Secret(key)

    def supports_function_calling(self) -> bool:
        return True

    def supports_stop_words(self) -> bool:
        return True

    def ask(self, messages: Any, tools: Any = None) -> Any:
        messages = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
        return self.answer(self.post({"messages": messages, "tools": tools, "stop": self.stop or None}))

    def post(self, body: Any) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            headers = {"Authorization": f"Bearer {self.key.reveal()}"}
            response = session.post(self.url, json=body, headers=headers, timeout=5)
        response.raise_for_status()
        return response

    def answer(self, response: requests.Response) -> Any:
        message = response.json()["choices"][0]["message"]
        return message.get("tool_calls") or message["content"]


class Good(Client):
    """What a careful user writes."""

    def call(self, messages: Any, tools: Any = None) -> Any:
        return self.ask(messages, tools)

    async def in_thread(self, messages: Any) -> Any:
        return await asyncio.wrap_future(self._threads.submit(self.ask, messages))


class Structured(Client):
    """The same, for one who knows what it costs."""

    def complete(self, request: Request) -> Reply:
        answer = self.ask(list(request.messages), list(request.tools) or None)
        calls = tuple(filter(None, map(ToolCall.of, answer))) if isinstance(answer, list) else ()
        return Reply(text="" if calls else answer, tool_calls=calls, usage=self.usage())

    def usage(self) -> Any:
        return Usage(prompt_tokens=5, completion_tokens=5, requests=1)


class AnswersNone(Good):
    def call(self, messages: Any) -> Any:
        return None


class WrongWindow(Good):
    def get_context_window_size(self) -> Any:
        return "8192"


class WrongSupport(Good):
    def supports_stop_words(self) -> Any:
        return "yes"


class WrongStop(Good):
    stop = property(lambda self: "END", lambda self, words: None)


class DemandsMore(Good):
    def call(self, messages: Any, session: Any, *, user: Any) -> Any:
        return "Hello"


class NoSystem(Good):
    def call(self, messages: Any, tools: Any = None) -> Any:
        if not isinstance(messages, str) and messages[0]["role"] == "system":
            raise ValueError("There are no system messages here")
        return super().call(messages, tools)


class CountsContent(Good):
    def call(self, messages: Any, tools: Any = None) -> Any:
        self.length = len(messages if isinstance(messages, str) else "".join(m["content"] for m in messages))
        return super().call(messages, tools)


class WantsWords(Good):
    def call(self, messages: Any, tools: Any = None) -> Any:
        self.first = (messages if isinstance(messages, str) else messages[-1]["content"]).split()[0]
        return super().call(messages, tools)


class Appends(Good):
    def call(self, messages: Any, tools: Any = None) -> Any:
        answer = super().call(messages, tools)
        if isinstance(messages, list):
            messages.append({"role": "assistant", "content": answer})
        return answer


class AppendsCalls(Good):
    def call(self, messages: Any, tools: Any = None, available_functions: Any = None) -> Any:
        answer = super().call(messages, tools)
        if isinstance(answer, list) and isinstance(messages, list):
            messages.append({"role": "assistant", "content": None, "tool_calls": answer})
        return answer


class AsciiQuestions(Good):
    def post(self, body: Any) -> requests.Response:
        def plain(text: Any) -> Any:
            return text.encode("ascii", "replace").decode() if text else text

        messages = [{**message, "content": plain(message["content"])} for message in body["messages"]]
        return super().post({**body, "messages": messages})


class Latin1Answers(Good):
    def answer(self, response: requests.Response) -> Any:
        answer = super().answer(response)
        return answer.encode().decode("latin-1") if isinstance(answer, str) else answer


class Cuts(Good):
    def post(self, body: Any) -> requests.Response:
        messages = [{**one, "content": one["content"] and one["content"][:10_000]} for one in body["messages"]]
        return super().post({**body, "messages": messages})


class Debt(Structured):
    def usage(self) -> Any:
        return Usage(prompt_tokens=-1, completion_tokens=9, requests=1)


class RoundTokens(Structured):
    def usage(self) -> Any:
        return Usage(prompt_tokens=2.5, requests=1)  # type: ignore[arg-type]


class Uncopyable(Good):
    def __deepcopy__(self, memo: Any) -> Any:
        raise ValueError("no")


class OtherColour(Good):
    async def acall(self, messages: Any) -> Any:
        answer = await self.in_thread(messages)
        return answer if isinstance(answer, list) else f"{answer} (async)"


class NoReply(Good):
    def stream(self, messages: Any, tools: Any = None) -> Any:
        return iter([self.call(messages)])


class OtherPieces(Good):
    def stream(self, messages: Any, tools: Any = None) -> Any:
        class Pieces(list[str]):
            reply = Reply(text="something else")

        return Pieces(["some", "thing"])


class RunsLoop(Good):
    def call(self, messages: Any, tools: Any = None) -> Any:
        async def ask() -> Any:
            return super(RunsLoop, self).call(messages, tools)

        work = ask()
        try:
            return asyncio.run(work)
        finally:
            work.close()

    async def acall(self, messages: Any) -> Any:
        return await self.in_thread(messages)


class Blocks(Good):
    async def acall(self, messages: Any) -> Any:
        return Good.call(self, messages)


class OneThread(Good):
    busy = False

    def call(self, messages: Any, tools: Any = None) -> Any:
        if self.busy:
            raise RuntimeError("One at a time")
        self.busy = True
        try:
            return super().call(messages, tools)
        finally:
            self.busy = False

    async def acall(self, messages: Any) -> Any:
        return await self.in_thread(messages)


class OneTask(Good):
    busy = False

    async def acall(self, messages: Any) -> Any:
        if self.busy:
            raise RuntimeError("One at a time")
        self.busy = True
        try:
            return await self.in_thread(messages)
        finally:
            self.busy = False


class Mixes(Good):
    def call(self, messages: Any, tools: Any = None) -> Any:
        self.messages = messages
        time.sleep(0.005)
        return super().call(self.messages, tools)


class NoToolCalls(Good):
    def answer(self, response: requests.Response) -> Any:
        return response.json()["choices"][0]["message"]["content"]


class SendsNoTools(Good):
    def call(self, messages: Any, tools: Any = None) -> Any:
        return super().call(messages)


class ChattyTools(Good):
    """Puts a text in the place of the tool calls."""

    def answer(self, response: requests.Response) -> Any:
        answer = super().answer(response)
        return "I should look it up." if isinstance(answer, list) else answer


class ForEver(Good):
    def call(self, messages: Any, tools: Any = None, available_functions: Any = None) -> Any:
        messages = [{"role": "user", "content": messages}] if isinstance(messages, str) else list(messages)
        while isinstance(answer := super().call(messages, tools), list) and available_functions:
            messages.append({"role": "assistant", "content": None, "tool_calls": answer})
            for call in answer:
                function = available_functions.get(
                    call["function"]["name"], lambda **given: "There is no such function"
                )
                content = function(**eval(call["function"]["arguments"]))
                messages.append({"role": "tool", "tool_call_id": call["id"], "content": content})
        return answer


class RefusesTools(Good):
    def supports_function_calling(self) -> bool:
        return False

    def call(self, messages: Any, tools: Any = None) -> Any:
        if tools:
            raise ValueError("I have no use for tools")
        return super().call(messages)


class NoOwnStop(Good):
    def post(self, body: Any) -> requests.Response:
        return super().post({**body, "stop": list(current_call().stop) or None})


class OnlyOwnStop(Good):
    def post(self, body: Any) -> requests.Response:
        return super().post({**body, "stop": [word for word in self.stop if word not in current_call().stop] or None})


def hiding(status: int) -> type[Good]:
    """Return a class that tells nothing about the status of a failure."""

    class Hides(Good):
        def post(self, body: Any) -> requests.Response:
            try:
                return super().post(body)
            except requests.HTTPError as error:
                if error.response.status_code == status:
                    raise RuntimeError("It did not work") from None
                raise

    return Hides


class ReadsAnything(Good):
    def answer(self, response: requests.Response) -> Any:
        try:
            return super().answer(response)
        except ValueError:
            return response.text


class MakesUpAnswers(Good):
    def answer(self, response: requests.Response) -> Any:
        return super().answer(response) if response.content else "(nothing)"


class FillsAnswers(Good):
    def answer(self, response: requests.Response) -> Any:
        return super().answer(response) or "(nothing)"


def silent_when(refused: bool) -> type[Good]:
    """Return a class that tells nothing about one of the two ways in which a connection fails."""

    class Silent(Good):
        def post(self, body: Any) -> requests.Response:
            try:
                return super().post(body)
            except requests.ConnectionError as error:
                if ("refused" in str(error)) is refused:
                    raise RuntimeError("It did not work") from None
                raise

    return Silent


class ForgetsHint(Good):
    def post(self, body: Any) -> requests.Response:
        try:
            return super().post(body)
        except requests.HTTPError as error:
            if error.response.status_code == 429:
                raise RateLimitError("Too many requests", status=429) from None
            raise


class Apologizes(Good):
    def call(self, messages: Any, tools: Any = None) -> Any:
        try:
            return super().call(messages, tools)
        except requests.HTTPError as error:
            if error.response.status_code == 503:
                return "Sorry, I cannot help you now."
            raise


class RetriesToo(Good):
    def post(self, body: Any) -> requests.Response:
        for _ in range(2):
            try:
                return super().post(body)
            except requests.HTTPError as error:
                if error.response.status_code != 503:
                    raise
        return super().post(body)


class WillNotBeCancelled(Good):
    async def acall(self, messages: Any) -> Any:
        try:
            return await self.in_thread(messages)
        except asyncio.CancelledError:
            return "Not so fast."


class ShowsKey(Good):
    def __repr__(self) -> str:
        return f"ShowsKey({self.key.reveal()!r})"


class _Plain:
    def __init__(self, value: str) -> None:
        self.value = value

    def reveal(self) -> str:
        return self.value


class PlainKey(Good):
    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.settings = {"bytes": [KEY.encode()], "more": [iter(())]}


class HiddenKey(Good):
    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.key = _Plain(KEY)  # type: ignore[assignment]


class LogsKey(Good):
    def post(self, body: Any) -> requests.Response:
        logging.getLogger("mine").debug("Asking with %s", self.key.reveal())
        return super().post(body)


class TellsKey(Good):
    def post(self, body: Any) -> requests.Response:
        try:
            return super().post(body)
        except requests.HTTPError as error:
            if error.response.status_code == 401:
                raise AuthenticationError(f"{self.key.reveal()} is not accepted", status=401) from None
            raise


class NoAgents(Good):
    def call(self, messages: Any, tools: Any = None, from_agent: Any = None) -> Any:
        if from_agent:
            raise RuntimeError("Agents keep out")
        return super().call(messages, tools)


class NoToolsForAgents(Good):
    def call(self, messages: Any, tools: Any = None, from_agent: Any = None) -> Any:
        answer = super().call(messages, tools)
        return "I should look it up." if from_agent and isinstance(answer, list) else answer


def one_for_all() -> Callable[[str], Good]:
    """Return a factory that makes one object."""
    made: Iterator[Good] | list[Good] = []

    def make(url: str) -> Good:
        if not made:
            made.append(Good(url))  # type: ignore[union-attr]
        return made[0]  # type: ignore[index]

    return make


BROKEN: list[tuple[Callable[[str], Any], str]] = [
    (one_for_all(), "fresh_objects"),
    (lambda url: "an LLM", "fresh_objects"),
    (WrongWindow, "describes_itself"),
    (WrongSupport, "describes_itself"),
    (WrongStop, "describes_itself"),
    (DemandsMore, "needs_only_messages"),
    (AnswersNone, "answers_text"),
    (NoSystem, "answers_messages"),
    (CountsContent, "answers_tool_messages"),
    (WantsWords, "answers_blank_message"),
    (Appends, "messages_untouched"),
    (AppendsCalls, "messages_untouched"),
    (AsciiQuestions, "unicode"),
    (Latin1Answers, "unicode"),
    (Cuts, "long_message"),
    (Debt, "usage"),
    (RoundTokens, "usage"),
    (Uncopyable, "copies"),
    (OtherColour, "both_colours"),
    (NoReply, "streams"),
    (OtherPieces, "streams"),
    (RunsLoop, "inside_event_loop"),
    (Blocks, "loop_stays_free"),
    (OneThread, "many_threads"),
    (OneTask, "many_tasks"),
    (Mixes, "answers_not_mixed_up"),
    (NoToolCalls, "tool_calls"),
    (SendsNoTools, "tool_calls"),
    (ChattyTools, "tool_calls"),
    (ForEver, "ends_with_unknown_function"),
    (RefusesTools, "tools_ignored"),
    (NoOwnStop, "own_stop_words"),
    (OnlyOwnStop, "stop_words_of_the_run"),
    (hiding(401), "unauthorized"),
    (hiding(403), "forbidden"),
    (hiding(400), "bad_request"),
    (hiding(500), "server_error"),
    (ReadsAnything, "html_page"),
    (MakesUpAnswers, "empty_body"),
    (FillsAnswers, "empty_answer"),
    (silent_when(refused=False), "connection_dropped"),
    (silent_when(refused=True), "connection_refused"),
    (ForgetsHint, "too_many_requests"),
    (Apologizes, "retry_helps"),
    (RetriesToo, "one_retry_loop"),
    (WillNotBeCancelled, "deadline_ends_it"),
    (ShowsKey, "no_secret_in_repr"),
    (PlainKey, "no_secret_in_state"),
    (HiddenKey, "no_secret_in_state"),
    (LogsKey, "no_secret_in_logs"),
    (TellsKey, "no_secret_in_errors"),
    (NoAgents, "works_in_a_crew"),
    (NoToolsForAgents, "uses_tools_in_a_crew"),
]
