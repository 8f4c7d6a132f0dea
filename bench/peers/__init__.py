"""The same work by other engines, run by ``.venv-bench``. These scripts import no serpline."""
