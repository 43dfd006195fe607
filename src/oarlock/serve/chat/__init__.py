"""OpenAI's chat completions, from the server's side."""
