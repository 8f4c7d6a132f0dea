"""Other engines doing the same, run by the interpreter of ``.venv-bench``; nothing of serpline."""
