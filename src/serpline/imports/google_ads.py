"""What only reports of Google Ads have: marks of match types, lines of totals, signs of nothing."""

# A report ends with lines such as "Total: Search terms".
_TOTALS = ("total:", "total :", "gesamt:", "totale:", "razem:", "合計:", "合计:")
_EXACT_AND_PHRASE = ("[]", '""')
_EMPTY = "--"


def without_notation(keyword: str) -> str:
    """Without the marks of match types: ``[exact]``, ``"phrase"``, ``+modified +broad``.

    Any other sign belongs to the keyword, such as those of "c++" and "disney+".
    """
    text = keyword.strip()
    if len(text) > 2 and text[0] + text[-1] in _EXACT_AND_PHRASE:
        text = text[1:-1]
    return " ".join(word.removeprefix("+") or word for word in text.split())


def without_sign(cell: str) -> str:
    """The text of a cell, "" for the sign of an empty one."""
    return "" if cell.strip() == _EMPTY else cell


def is_total(cell: str) -> bool:
    """Whether the first cell of a line begins a line of totals."""
    return cell.strip().casefold().startswith(_TOTALS)
