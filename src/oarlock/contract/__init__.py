"""The contract: what a language model is to this library, and the data that go to it and come back. No I/O."""
