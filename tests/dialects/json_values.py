"""Any JSON, with a liking for the names that the chat format uses."""

from __future__ import annotations

from hypothesis import strategies as st

_NAMES = """
    choices message content tool_calls function function_call name arguments id error code type status usage
    prompt_tokens prompt_tokens_details cached_tokens detail msg loc text refusal delta index finish_reason
"""

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.just("Hello"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(_NAMES.split()) | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=20,
)
