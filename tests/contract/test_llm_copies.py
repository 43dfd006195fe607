"""LLM objects after use: copied, pickled, wrapped in policies, compared."""

from __future__ import annotations

import asyncio
import copy
import pickle
from typing import Any

import pytest

from oarlock.contract.context import current_call
from oarlock.contract.errors import ConfigurationError
from oarlock.contract.llm import BaseLLM
from oarlock.contract.policy import Handler
from oarlock.contract.reply import Reply
from oarlock.contract.request import Request
from oarlock.runtime import Runtime
from oarlock.testing import ScriptedLLM

HI = Request(messages=[{"role": "user", "content": "Hi"}])


class Mine(BaseLLM):
    def __init__(self, prefix: str = ">") -> None:
        super().__init__("mine", temperature=0.5, stop=["END"], max_tokens=9)
        self.prefix = prefix

    def call(self, messages: Any) -> str:
        return f"{self.prefix}{messages if isinstance(messages, str) else messages[-1]['content']}"

    def get_metrics(self) -> dict[str, Any]:
        return {"calls": 3}

    def get_context_window_size(self) -> int:
        return 77

    def supports_function_calling(self) -> bool:
        return True


class Tag:
    """A policy that says where it stands."""

    def __init__(self, word: str, rank: int | None = None) -> None:
        self.word = word
        if rank is not None:
            self.rank = rank

    def __call__(self, handler: Handler) -> Handler:
        async def handle(runtime: Runtime, request: Request) -> Reply:
            reply = await handler(runtime, request)
            return Reply(text=f"{self.word}({reply.text})")

        return handle

    def __repr__(self) -> str:
        return f"Tag({self.word!r})"


class Other(Tag):
    pass


def used(llm: BaseLLM) -> BaseLLM:
    """Return the LLM with its thread pool and handler stack made."""
    assert llm.call("Hi")
    assert asyncio.run(llm.acomplete(HI)).text
    return llm


class TestCopies:
    @pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy, lambda llm: pickle.loads(pickle.dumps(llm))])
    @pytest.mark.parametrize("make", [Mine, lambda: Mine().with_policies(Tag("a"), Other("b", 1))])
    def test_after_use(self, clone: Any, make: Any) -> None:
        llm = used(make())
        other = clone(llm)
        assert type(other) is type(llm)
        assert used(other).call("Hi") == llm.call("Hi")
        assert (other.prefix, other.stop, other.model, repr(other)) == (">", ["END"], "mine", repr(llm))

    def test_a_deep_copy_stands_by_itself(self) -> None:
        llm = used(Mine())
        other = copy.deepcopy(llm)
        other.stop = ["X"]
        other.prefix = "#"
        assert (llm.stop, llm.call("Hi"), other.call("Hi")) == (["END"], ">Hi", "#Hi")

    def test_a_copy_of_a_policed_one_uses_its_own_policies(self) -> None:
        policed = used(Mine().with_policies(Tag("a")))
        other = copy.copy(policed)
        other.policies = (Tag("z"),)
        assert (other.call("Hi"), policed.call("Hi")) == ("z(>Hi)", "a(>Hi)")

    def test_no_threads_are_copied(self) -> None:
        llm = used(Mine())
        assert copy.copy(llm)._threads is not llm._threads


class TestPolicies:
    def test_the_first_given_is_outermost_where_ranks_say_nothing(self) -> None:
        assert Mine().with_policies(Tag("a"), Tag("b")).call("Hi") == "a(b(>Hi))"

    def test_ranks_order_by_default(self) -> None:
        policies = (Tag("inner", 50), Tag("outer", 10), Tag("mid", 30), Tag("unranked"))
        assert Mine().with_policies(*policies).call("Hi") == "unranked(outer(mid(inner(>Hi))))"

    def test_the_given_order(self) -> None:
        policies = (Tag("inner", 50), Tag("outer", 10))
        assert Mine().with_policies(*policies, order="given").call("Hi") == "inner(outer(>Hi))"

    def test_replaced_not_stacked(self) -> None:
        llm = Mine().with_policies(Other("old", 1), Tag("keep")).with_policies(Other("new", 2))
        assert llm.call("Hi") == "keep(new(>Hi))"
        assert llm.inner.__class__ is Mine  # type: ignore[attr-defined]

    def test_functions_are_policies_and_stack(self) -> None:
        def shout(handler: Handler) -> Handler:
            async def handle(runtime: Runtime, request: Request) -> Reply:
                return Reply(text=(await handler(runtime, request)).text + "!")

            return handle

        assert Mine().with_policies(shout).with_policies(shout).call("Hi") == ">Hi!!"

    def test_the_original_stays_as_it_is(self) -> None:
        llm = Mine()
        llm.with_policies(Tag("a"))
        assert llm.call("Hi") == llm.with_policies().call("Hi") == ">Hi"

    @pytest.mark.parametrize(
        ("wrong", "words"),
        [
            (Tag, "this is the class Tag: write Tag()"),
            ("retry", "this is 'retry'"),
            (None, "this is None"),
            (3, "this is 3"),
        ],
    )
    def test_what_is_no_policy(self, wrong: Any, words: str) -> None:
        with pytest.raises(ConfigurationError) as caught:
            Mine().with_policies(wrong)
        assert words in str(caught.value)

    def test_an_unknown_order(self) -> None:
        with pytest.raises(ConfigurationError, match='order must be "default" or "given", not \'best\''):
            Mine().with_policies(order="best")

    async def test_every_door_goes_through(self) -> None:
        llm = ScriptedLLM(["x"] * 6).with_policies(Tag("a"))
        assert await llm.acall("Hi") == llm.call("Hi") == "a(x)"
        assert llm.complete(HI).text == (await llm.acomplete(HI)).text == "a(x)"
        stream, astream = llm.stream("Hi"), llm.astream("Hi")
        assert list(map(str, stream))
        assert [str(delta) async for delta in astream]
        assert stream.reply.text == astream.reply.text == "a(x)"

    def test_an_llm_with_policies_of_its_own(self) -> None:
        class Ready(ScriptedLLM):
            policies = (Other("own", 1),)

        assert Ready(["x"]).call("Hi") == "own(x)"
        assert Ready(["x"]).with_policies(Tag("a")).call("Hi") == "a(own(x))"
        assert Ready(["x"]).with_policies(Other("new", 1)).call("Hi") == "new(x)"

    def test_attributes_and_methods_pass_through(self) -> None:
        llm = Mine().with_policies(Tag("a"))
        assert llm.prefix == ">"  # type: ignore[attr-defined]
        assert llm.get_metrics() == {"calls": 3}
        assert (llm.get_context_window_size(), llm.supports_function_calling(), llm.supports_stop_words()) == (
            77,
            True,
            False,
        )
        assert (llm.model, llm.temperature, llm.stop, llm.max_tokens) == ("mine", 0.5, ["END"], 9)
        with pytest.raises(AttributeError, match="nothing"):
            llm.nothing  # type: ignore[attr-defined]
        assert not hasattr(llm, "__fspath__")

    def test_the_repr_shows_all_of_it(self) -> None:
        assert repr(Mine().with_policies(Tag("a"))) == "Mine(model='mine').with_policies(Tag('a'))"

    def test_metrics_that_are_not_kept(self) -> None:
        with pytest.raises(ConfigurationError, match="keeps no metrics"):
            ScriptedLLM([]).get_metrics()

    def test_a_policy_may_change_the_request(self) -> None:
        def second(handler: Handler) -> Handler:
            async def handle(runtime: Runtime, request: Request) -> Reply:
                return await handler(runtime, request.replace(attempt=2, idempotency_key="k"))

            return handle

        class Looks(BaseLLM):
            def call(self, messages: Any) -> str:
                return f"{current_call().attempt} {current_call().idempotency_key}"

        assert Looks().with_policies(second).call("Hi") == "2 k"
