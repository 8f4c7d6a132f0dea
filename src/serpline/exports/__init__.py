"""Result tables as files: CSV, XLSX, JSON and Parquet, written portion by portion.

``tables``: the tables by name. ``writing``: from the database to a file. ``layout``: what every
format shares. One file per format: ``csv_file``, ``json_file``, ``parquet_file``, ``xlsx_file``.
"""
