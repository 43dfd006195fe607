"""Ready language models: endpoints over HTTP, and one in this process."""
