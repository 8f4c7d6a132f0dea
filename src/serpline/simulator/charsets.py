"""Pages in legacy encodings: the fault ``odd_charset``.

A page contains a sentence in the letters of its encoding. It declares the encoding in the header,
in a ``<meta>`` after the first kilobyte, in an XML declaration, or not at all. Encoding and
declaration follow from the seed and the address.
"""

from collections.abc import Mapping
from dataclasses import replace

from serpline.simulator.seeds import stamp
from serpline.simulator.wire import Reply

# By label: Python's codec and the page's sentence. Labels and codec names may differ.
SENTENCES: Mapping[str, tuple[str, str]] = {
    "iso-8859-1": ("cp1252", "“Les élèves étaient là, déjà près de la forêt” – ça coûte 5 €."),
    "iso-8859-2": ("iso8859-2", "Wisła jest najdłuższą rzeką w Polsce, źródła są w Beskidach."),
    "windows-1251": ("cp1251", "Сегодня в городе состоялась встреча жителей района."),
    "koi8-r": ("koi8-r", "Сегодня в городе состоялась встреча жителей района."),
    "ks_c_5601-1987": ("cp949", "오늘 날씨가 매우 좋아서 서울의 공원을 오래 걸었습니다"),
    "x-sjis": ("cp932", "東京は日本の首都で、今日は天気がとてもいいですね"),
    "gb2312": ("gb18030", "今天天气很好,我们一起去公园散步,北京是中国的首都"),
    "big5": ("big5", "今天天氣很好,我們一起去公園散步,臺北是臺灣的首都"),
}
DECLARATIONS = ("header", "meta", "xml", "none")
_DECLARED = b'<meta charset="utf-8">'
_FAR = "<!--" + " " * 1_100 + "-->"


def odd_charset(reply: Reply, which: str, seed: int, identity: str) -> Reply:
    """Encode an article as ``which``, or by the seed. Other replies stay unchanged."""
    start = reply.body.find(b"<article><h1>")
    if reply.status != 200 or start < 0:
        return reply
    labels = list(SENTENCES)
    label = which or labels[stamp(seed, "charset", identity) % len(labels)]
    codec, sentence = SENTENCES[label]
    declaration = DECLARATIONS[stamp(seed, "declared", identity) % len(DECLARATIONS)]
    text = reply.body.decode().replace("<article>", f"<article><p>{sentence}</p>", 1)
    declared = f'{_FAR}<meta charset="{label}">' if declaration == "meta" else ""
    text = text.replace(_DECLARED.decode(), declared, 1)
    if declaration == "xml":
        text = f'<?xml version="1.0" encoding="{label}"?>\n{text}'
    kind = f"text/html; charset={label}" if declaration == "header" else "text/html"
    body = text.encode(codec, "xmlcharrefreplace")
    return replace(reply, body=body, headers={**reply.headers, "content-type": kind})
