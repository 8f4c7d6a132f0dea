"""OpenAI-compatible language models: analyse a page or a video, name a channel's owner."""
