"""The rows of the scorecard: a module ``rowNN_name`` with its ``ROW`` each."""
