"""The contract of an LLM as a list of checks: `check_llm` for a script, `LLMContract` for pytest."""
