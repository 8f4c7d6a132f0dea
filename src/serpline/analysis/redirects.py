"""A table of links that lead through another site: redirects, viewers and translators.

Sources: the links in these sites' own pages. ``wrappers`` uses the table.
"""

import re

GOOGLE = r"(?:[a-z0-9-]+\.)*google\.(?:com|cat|[a-z]{2}|com?\.[a-z]{2})"
YANDEX = r"(?:[a-z0-9-]+\.)*(?:yandex\.(?:[a-z]{2,3}|com\.[a-z]{2})|ya\.ru)"
YAHOO = r"(?:[a-z0-9-]+\.)*search\.yahoo\.(?:com|co\.jp)"
FACEBOOK = r"(?:[a-z-]+\.)?(?:facebook\.com|messenger\.com|workplace\.com)"

# Host, path, and the parameters that may hold the target, the likeliest first. If there are none,
# or none holds a URL, the target is hidden.
REDIRECTS = tuple(
    (re.compile(host), re.compile(path), tuple(names.split()))
    for host, path, names in (
        (GOOGLE, r"/(?:url|interstitial|goto|(?:news|maps)/url|local_url|scholar_url)", "q url"),
        (GOOGLE, r"/(?:(?:viewerng/)?viewer|gview)", "url"),
        (GOOGLE, r"/travel/clk(?:/f)?", "pcurl"),
        (GOOGLE, r"/imgres", "imgrefurl"),
        (GOOGLE, r"/(?:aclk|pagead/aclk)", "adurl"),
        (GOOGLE, r"/gwt/[xn]", "u"),
        (GOOGLE, r"/(?:__i/)?(?:rss/)?(?:rd/)?(?:articles|read)/.+", ""),
        (GOOGLE, r"/~r/.+", ""),
        (r"translate\." + GOOGLE, r"(?:/(?:translate|translate_[a-z]|website))?", "u"),
        (r"consent\.(?:google|youtube)\.[a-z.]+", r"(?:/[a-z]*)?", "continue"),
        (r"translate\.googleusercontent\.com", r"/.*", "u"),
        (r"(?:www\.)?googleweblight\.com", r"(?:/i?)?", "u lite_url"),
        (
            r"(?:[a-z]+\.)?bing\.com",
            r"/(?:ck/a|aclick|aclk|alink/link|news/apiclick\.aspx)",
            "u url",
        ),
        (r"cc\.bingj\.com", r"/cache\.aspx", ""),
        (r"(?:[a-z]+\.)?duckduckgo\.com", r"/(?:l|y\.js)", "uddg u3"),
        (FACEBOOK, r"/(?:l\.php|flx/warn)", "u"),
        (r"l\.(?:instagram\.com|threads\.(?:com|net)|wl\.co)", r"(?:/l)?", "u"),
        (r"(?:[a-z]+\.)?youtube\.com", r"/redirect", "q url"),
        (r"(?:[a-z]+\.)?linkedin\.com", r"/(?:redir/[a-z-]+|safety/go)", "url"),
        (r"(?:www\.)?tiktok\.com", r"/link/v2", "target"),
        (r"(?:[a-z]+\.)?quora\.com", r"/_/redirect", "url"),
        (r"(?:exit|gate)\.sc", r"", "url"),
        (r"(?:[a-z]+\.)?vk\.(?:com|ru)", r"/away(?:\.php)?", "to"),
        (r"out\.reddit\.com", r"/.*", "url"),
        (r"t\.umblr\.com", r"/redirect", "z"),
        (r"(?:[a-z]+\.)?steamcommunity\.com", r"/linkfilter", "u url"),
        (r"slack-redir\.net", r"/link", "url"),
        (r"medium\.com", r"/r", "url"),
        (r"(?:[a-z]+\.)?pinterest\.[a-z.]+", r"/offsite", "url"),
        (r"(?:twitter|x)\.com", r"/(?:i/redirect|safety/unsafe_link_warning)", "url unsafe_link"),
        (r".+\.safelinks\.protection\.outlook\.com", r".*", "url"),
        (r"disq\.us", r"/url", "url"),
        (YANDEX, r"/clck/.+", "url"),
        (r"translate\." + YANDEX, r"/translate", "url"),
        (YANDEX, r"/turbo", "text"),
        (r"yandexwebcache\.(?:net|org)|(?:[a-z]+\.)?yandex\.net", r"/yandbtm", "url"),
        (r"(?:[a-z]+\.)?(?:baidu|so|sogou)\.com", r"/(?:link|baidu\.php)", "url m"),
        (r"(?:[a-z0-9]+\.)+naver\.com", r"/(?:bridge|redirect|rd|cr|p/crd/rd)", "url u"),
        (r"(?:[a-z0-9]+\.)*naver\.com", r"/(?:adcr(?:\.nhn)?|v2/bridge/.+)", ""),
        (r"link\.(?:zhihu\.com|csdn\.net|juejin\.cn)|gitee\.com", r"(?:/link)?", "target"),
        (r"(?:www\.)?(?:jianshu|douban)\.com", r"/(?:go-wild|link2)", "url"),
        (r"weibo\.cn", r"/sinaurl", "u"),
        (r"view\.officeapps\.live\.com", r"/op/(?:view|embed)\.aspx", "src"),
        (r"feeds\.feedburner\.com", r"/~r/.+", ""),
        (YAHOO, r"/cbclk.*", ""),
        (r"papago\.naver\.net|papago\.naver\.com", r"/.*", "url target"),
        (r"(?:www\.)?(?:microsofttranslator|translatetheweb)\.com", r"(?:/bv\.aspx)?", "a"),
    )
)
