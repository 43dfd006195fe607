"""Settings of one request: which LLMs take them, and that they arrive."""

import pytest

from oarlock import BaseLLM, ChatLLM, LocalLLM, Request
from oarlock.policies import Cache, Retry
from oarlock.testing import LoopbackEndpoint, ScriptedLLM

HELLO = [{"role": "user", "content": "Hello"}]


class Takes(BaseLLM):
    def call(self, messages, tools=None, temperature=None, tool_choice="auto", max_tokens=None):
        return f"{temperature} {tool_choice} {max_tokens}"


class TakesNone(BaseLLM):
    async def acall(self, messages, **anything):
        return str(sorted(anything))


class Structured(BaseLLM):
    def complete(self, request):
        return f"{request.temperature} {dict(request.options or {})}"


def ask(llm: BaseLLM, **settings) -> str:
    return str(llm.complete(Request(messages=HELLO, **settings)))


def test_a_call_gets_the_settings_that_it_names():
    assert ask(Takes(), temperature=0.5, options={"tool_choice": "none", "seed": 1}) == "0.5 none None"
    assert ask(Takes()) == "None auto None"
    assert ask(Takes(), max_tokens=7) == "None auto 7"


async def test_a_call_that_takes_anything_is_not_flooded():
    request = Request(messages=HELLO, temperature=1, options={"seed": 1})
    assert (await TakesNone().acomplete(request)).text == "[]"


def test_a_structured_llm_reads_the_request():
    assert ask(Structured(), temperature=0.5, options={"seed": 1}) == "0.5 {'seed': 1}"


@pytest.mark.parametrize(
    ("llm", "takes"),
    [
        (Takes(), {"temperature", "tool_choice", "max_tokens"}),
        (TakesNone(), set()),
        (Structured(), {"temperature", "max_tokens"}),
        (ScriptedLLM("Hi"), {"temperature", "max_tokens"}),
        (ChatLLM("m", "https://llm.example.com/v1"), {"temperature", "tool_choice", "max_tokens", "seed"}),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("policies", [[], [Retry()]])
def test_an_llm_says_which_settings_it_takes(llm, takes, policies):
    llm = llm.with_policies(*policies)
    assert {name for name in ("temperature", "tool_choice", "max_tokens", "seed") if llm.supports_option(name)} == takes


def test_ready_llms_with_a_call_of_their_own_take_what_that_takes():
    class Chat(ChatLLM):
        def call(self, messages, seed=None):
            return f"{seed}"

    class Local(LocalLLM):
        def call(self, messages, seed=None):
            return f"{seed}"

    for llm in (Chat("m", "https://llm.example.com/v1"), Local()):
        assert llm.supports_option("seed")
        assert not llm.supports_option("tool_choice")
        assert ask(llm, options={"seed": 3}) == "3"
    assert LocalLLM().supports_option("seed")


def test_an_endpoint_is_sent_them_before_the_llms_own():
    with LoopbackEndpoint(["Hi"]) as endpoint:
        llm = ChatLLM("m", endpoint.url, options={"seed": 1, "top_p": 0.9})
        ask(llm, options={"seed": 2, "tool_choice": "none"})
        body = endpoint.requests[0].json
    assert (body["seed"], body["top_p"], body["tool_choice"]) == (2, 0.9, "none")


def test_they_are_part_of_the_question_to_a_cache():
    llm = ScriptedLLM(["One", "Two"]).with_policies(Cache())
    assert [ask(llm, options={"seed": seed}) for seed in (1, 2, 1)] == ["One", "Two", "One"]
