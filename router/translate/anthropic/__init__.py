"""OpenAI's chat completions and Anthropic's messages, both ways."""
