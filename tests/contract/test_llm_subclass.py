"""What a subclass may look like: its `__init__`, what it must write, what its `call()` is given."""

from __future__ import annotations

import abc
from typing import Any

import pytest

from oarlock.contract.errors import ConfigurationError
from oarlock.contract.llm import BaseLLM
from oarlock.contract.reply import Reply
from oarlock.contract.request import Request

HI = Request(messages=[{"role": "user", "content": "Hi"}])


class Echo(BaseLLM):
    def call(self, messages: Any, tools: Any = None, callbacks: Any = None, available_functions: Any = None) -> Any:
        return messages if isinstance(messages, str) else messages[-1]["content"]


class TestInit:
    def test_with_nothing(self) -> None:
        class Mine(Echo):
            def __init__(self, endpoint: str) -> None:
                super().__init__()
                self.endpoint = endpoint
                self.stop = []

        llm = Mine("http://127.0.0.1")
        assert llm.complete(HI).text == "Hi"
        assert (llm.model, llm.temperature, llm.max_tokens, llm.stop, llm.api_key) == ("custom", None, None, [], None)

    def test_with_arguments(self) -> None:
        llm = Echo("m", temperature=0.5, stop="END", max_tokens=7, api_key="k", base_url="u", max_threads=3)
        assert (llm.model, llm.temperature, llm.stop, llm.max_tokens) == ("m", 0.5, ["END"], 7)
        assert (llm.api_key, llm.base_url, llm.max_threads) == ("k", "u", 3)
        assert Echo(model="m").model == "m"

    def test_forgotten(self) -> None:
        class Forgets(Echo):
            def __init__(self, token: str) -> None:
                self.token = token

        llm = Forgets("t")
        assert llm.complete(HI).text == "Hi"
        assert (llm.model, llm.stop, llm.temperature, llm.api_key, llm.base_url) == ("custom", [], None, None, None)
        llm.stop = ["END"]
        assert llm.stop == ["END"]
        assert Forgets("t").stop == []
        assert repr(llm) == "Forgets(model='custom')"

    def test_class_attributes_are_defaults(self) -> None:
        class Mine(Echo):
            model = "mine"
            temperature = 0.2
            base_url = "http://127.0.0.1"

        assert (Mine().model, Mine().temperature, Mine().base_url) == ("mine", 0.2, "http://127.0.0.1")
        assert (Mine("other").model, Mine(temperature=0).temperature) == ("other", 0)

    def test_a_typing_error(self) -> None:
        with pytest.raises(
            ConfigurationError, match=r"Echo's .* no argument 'temprature'. Did you mean 'temperature'\?"
        ):
            Echo(temprature=1)

    def test_any_attribute_may_be_set(self) -> None:
        llm = Echo()
        llm.client = object()  # type: ignore[attr-defined]
        assert llm.complete(HI).text == "Hi"

    def test_the_key_is_in_no_repr(self) -> None:
        llm = Echo("m", api_key="canary-key")
        for shown in (repr(llm), str(llm), f"{llm}", repr([llm]), repr(llm.with_policies())):
            assert "canary" not in shown

    def test_defaults_are_honest(self) -> None:
        llm = Echo()
        assert not llm.supports_function_calling()
        assert not llm.supports_stop_words()
        assert llm.get_context_window_size() == 8192


class TestMustAnswer:
    def test_one_that_writes_none_is_refused_at_once(self) -> None:
        with pytest.raises(ConfigurationError, match=r"Mute has no way to answer: define call\(self, messages"):

            class Mute(BaseLLM):
                pass

    def test_a_base_may_say_so(self) -> None:
        class Company(BaseLLM, abstract=True):
            pass

        class Ours(Company):
            def call(self, messages: Any) -> str:
                return "ours"

        assert Ours().call("Hi") == "ours"
        with pytest.raises(ConfigurationError, match="Company is only a base class"):
            Company()

    def test_an_abc(self) -> None:
        class Company(BaseLLM, abc.ABC):
            pass

        with pytest.raises(ConfigurationError):
            Company()

    def test_abstract_methods(self) -> None:
        class Company(BaseLLM):
            @abc.abstractmethod
            def token(self) -> str: ...

        class Ours(Company):
            def token(self) -> str:
                return "t"

            def call(self, messages: Any) -> str:
                return self.token()

        assert Ours().call("Hi") == "t"
        with pytest.raises((ConfigurationError, TypeError)):
            Company()

    def test_an_abstract_call_is_no_call(self) -> None:
        class Company(BaseLLM):
            @abc.abstractmethod
            def call(self, messages: Any) -> str: ...

        class Ours(Company):
            def call(self, messages: Any) -> str:
                return "ours"

        assert Ours().complete(HI).text == "ours"
        with pytest.raises((ConfigurationError, TypeError)):
            Company()  # type: ignore[abstract]

    def test_the_base_itself(self) -> None:
        with pytest.raises(ConfigurationError, match="BaseLLM is only a base class"):
            BaseLLM()

    def test_inherited_is_enough(self) -> None:
        class Child(Echo):
            def supports_function_calling(self) -> bool:
                return True

        assert Child().complete(HI).text == "Hi"

    def test_from_a_mixin(self) -> None:
        class Mixin:
            def call(self, messages: Any) -> str:
                return "mixed in"

        class Mixed(Mixin, BaseLLM):
            pass

        assert Mixed().call("Hi") == "mixed in"
        assert Mixed().complete(HI).text == "mixed in"

    def test_added_to_the_class_later(self) -> None:
        class Late(BaseLLM, abstract=True):
            pass

        class Later(Late, abstract=True):
            pass

        with pytest.raises(ConfigurationError):
            Later()


def offered(**extras: Any) -> Request:
    return HI.replace(
        tools=({"name": "t"},), callbacks=["c"], available_functions={"f": len}, extras={"from_task": "T", **extras}
    )


class TestParameters:
    def test_messages_only(self) -> None:
        class Mine(BaseLLM):
            def call(self, messages: Any) -> str:
                return f"{messages}"

        assert Mine().complete(offered()).text == "[{'role': 'user', 'content': 'Hi'}]"

    def test_the_pages_signature(self) -> None:
        class Mine(BaseLLM):
            def call(
                self, messages: Any, tools: Any = None, callbacks: Any = None, available_functions: Any = None
            ) -> str:
                return f"{tools} {callbacks} {available_functions}"

        assert Mine().complete(offered()).text == "[{'name': 't'}] ['c'] {'f': <built-in function len>}"
        assert Mine().complete(HI).text == "None None None"

    @pytest.mark.parametrize("structured", [False, True])
    def test_newer_names_only_where_named(self, structured: bool) -> None:
        class Mine(BaseLLM):
            def call(
                self, messages: Any, tools: Any = None, *, from_task: Any = "none", from_agent: Any = "none"
            ) -> str:
                return f"{from_task} {from_agent}"

        assert Mine().complete(offered()).text == "T none"
        assert Mine().complete(offered(from_agent="A")).text == "T A"

    def test_keyword_only(self) -> None:
        class Mine(BaseLLM):
            def call(self, messages: Any, *, available_functions: Any) -> str:
                return f"{list(available_functions)}"

        assert Mine().complete(offered()).text == "['f']"

    def test_any_keywords(self) -> None:
        class Mine(BaseLLM):
            def call(self, messages: Any, **kwargs: Any) -> str:
                return f"{sorted(kwargs)}"

        assert Mine().complete(offered()).text == "['available_functions', 'callbacks', 'tools']"
        assert Mine().complete(HI).text == "[]"

    def test_any_arguments(self) -> None:
        class Mine(BaseLLM):
            def call(self, *args: Any, **kwargs: Any) -> str:
                return f"{len(args)} {sorted(kwargs)}"

        assert Mine().complete(offered()).text == "1 ['available_functions', 'callbacks', 'tools']"

    def test_messages_by_any_name(self) -> None:
        class Mine(BaseLLM):
            def call(self, prompt: Any, /, tools: Any = None) -> str:
                return f"{prompt[0]['content']} {tools}"

        class Tools(BaseLLM):
            def call(self, tools: Any) -> str:
                return f"{tools[0]['content']}"

        assert Mine().complete(offered()).text == "Hi [{'name': 't'}]"
        assert Tools().complete(offered()).text == "Hi"

    def test_a_static_method(self) -> None:
        class Mine(BaseLLM):
            @staticmethod
            def call(messages: Any, tools: Any = None) -> str:
                return f"{messages[0]['content']} {tools}"

        assert Mine().complete(offered()).text == "Hi [{'name': 't'}]"

    def test_a_class_method(self) -> None:
        class Mine(BaseLLM):
            @classmethod
            def call(cls, messages: Any, tools: Any = None) -> str:
                return f"{cls.__name__} {messages[0]['content']} {tools}"

        assert Mine().complete(offered()).text == "Mine Hi [{'name': 't'}]"

    def test_a_function_as_attribute_of_the_object(self) -> None:
        llm = Echo()
        llm.call = lambda messages, tools=None: f"patched {tools}"  # type: ignore[method-assign,assignment,misc]
        assert llm.complete(offered()).text == "patched [{'name': 't'}]"

    async def test_the_same_for_acall(self) -> None:
        class Mine(BaseLLM):
            async def acall(self, messages: Any, *, tools: Any = None, from_task: Any = None) -> str:
                return f"{tools} {from_task}"

        assert (await Mine().acomplete(offered())).text == "[{'name': 't'}] T"

    def test_messages_may_be_changed_by_the_call(self) -> None:
        class Appends(BaseLLM):
            def call(self, messages: Any, tools: Any = None) -> str:
                messages.append({"role": "tool", "content": "x"})
                messages[0]["content"] = "changed"
                tools.append("more")
                return f"{len(messages)}"

        mine = [{"role": "user", "content": "Hi"}]
        request = Request(messages=mine, tools=({"name": "t"},))  # type: ignore[arg-type]
        assert Appends().complete(request).text == "2"
        assert Appends().complete(request).text == "2"
        assert mine == [{"role": "user", "content": "Hi"}]


class TestStructured:
    @pytest.mark.parametrize("answer", ["text", Reply(text="text")])
    def test_complete(self, answer: Any) -> None:
        class Mine(BaseLLM):
            def complete(self, request: Request) -> Any:
                return answer

        assert Mine().call("Hi") == "text"
        assert Mine().complete(HI) == answer  # the user's own method, as it is

    async def test_acomplete(self) -> None:
        class Mine(BaseLLM):
            async def acomplete(self, request: Request) -> Reply:
                return Reply(text=f"{request.messages[0]['content']}!")

        assert Mine().complete(HI).text == "Hi!"
        assert await Mine().acall("Hi") == "Hi!"
