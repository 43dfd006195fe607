"""OpenAI's chat format, which most endpoints speak: requests to bytes, bytes and stream events to replies. No I/O.

Reading is tolerant of what many servers get wrong without harm (a byte order mark, missing ids, missing usage, an
`index` that is not there) and strict about the rest: each wrong shape is one `ResponseFormatError` that says what was
expected and shows a piece of what came.
"""

from oarlock.dialects.openai_chat.decoding import decode
from oarlock.dialects.openai_chat.encoding import encode
from oarlock.dialects.openai_chat.failures import error_message
from oarlock.dialects.openai_chat.streaming import StreamAssembler

__all__ = ["StreamAssembler", "decode", "encode", "error_message"]
