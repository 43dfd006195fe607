"""Stop words in a stream of an LLM that does not know them."""

from hypothesis import given
from hypothesis import strategies as st
from serve_helpers import body, events, send

from oarlock.contract.answers import cut_at_stop
from oarlock.dialects.openai_chat.stop_cut import StopCut
from oarlock.serve import create_app
from oarlock.testing import ScriptedLLM

letters = st.text("abc", max_size=12)


@given(st.lists(letters, max_size=6), st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=3))
def test_pieces_are_cut_as_the_whole_is(pieces, stop):
    cut = StopCut(stop)
    shown = "".join([*map(cut.feed, pieces), cut.end()])
    whole = "".join(pieces)
    expected = cut_at_stop(whole, stop)
    assert whole.startswith(shown)
    assert not any(word in shown for word in stop)
    assert len(shown) >= len(expected)
    if not any(word in whole for word in stop):
        assert shown == whole


def test_a_stream_ends_before_the_stop_word():
    llm = ScriptedLLM(["One two. Observation: three"], supports_stop_words=False)
    response = send(create_app({"mine": llm}), json=body(stream=True, stop=["Observation:"]))
    chunks = [event["choices"][0] for event in events(response.text)[:-1]]
    assert "".join(chunk["delta"].get("content") or "" for chunk in chunks) == "One two. "
    assert chunks[-1]["finish_reason"] == "stop"
