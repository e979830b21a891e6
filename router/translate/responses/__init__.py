"""OpenAI's responses API and its chat completions, both ways."""
