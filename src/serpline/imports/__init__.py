"""Keyword files as people have them, to keywords: exports of tools, spreadsheets, plain lists.

``reading.open_keywords`` opens a file. Every error of a file is a ``UserError`` of one line.
"""
