"""Any OpenAI-compatible language model: reads a page or a video's text and judges it."""
