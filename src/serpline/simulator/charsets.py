"""Pages in the encodings of the older web: the fault ``odd_charset``.

A page comes in a legacy encoding with a sentence in its own letters, and says so in one of the ways
that browsers understand: in the header, by a ``<meta>`` beyond the first kilobyte, by an XML
declaration, or not at all. Encoding and way follow from the seed and the address.
"""

from collections.abc import Mapping
from dataclasses import replace

from serpline.simulator.seeds import stamp
from serpline.simulator.wire import Reply

# By label: Python's codec, and what the page says. A label is not always the codec's name.
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
WAYS = ("header", "meta", "xml", "none")
_DECLARED = b'<meta charset="utf-8">'
_FAR = "<!--" + " " * 1_100 + "-->"


def odd_charset(reply: Reply, which: str, seed: int, identity: str) -> Reply:
    """``reply`` in the encoding ``which``, or one by the seed; what is no article stays."""
    start = reply.body.find(b"<article><h1>")
    if reply.status != 200 or start < 0:
        return reply
    labels = list(SENTENCES)
    label = which or labels[stamp(seed, "charset", identity) % len(labels)]
    codec, sentence = SENTENCES[label]
    way = WAYS[stamp(seed, "declared", identity) % len(WAYS)]
    text = reply.body.decode().replace("<article>", f"<article><p>{sentence}</p>", 1)
    declared = f'{_FAR}<meta charset="{label}">' if way == "meta" else ""
    text = text.replace(_DECLARED.decode(), declared, 1)
    if way == "xml":
        text = f'<?xml version="1.0" encoding="{label}"?>\n{text}'
    kind = f"text/html; charset={label}" if way == "header" else "text/html"
    body = text.encode(codec, "xmlcharrefreplace")
    return replace(reply, body=body, headers={**reply.headers, "content-type": kind})
