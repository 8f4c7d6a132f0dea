"""Any OpenAI-compatible language model: judges a page or a video, and names a channel's owner."""
