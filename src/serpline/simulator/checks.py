"""Bot checks and denials of the vendors that protect sites, copied from real pages.

The pages are reduced to their marks, with made-up identifiers. Sources: Cloudflare's "Detect a
Challenge Page response" and its page as FlareSolverr knows it; DataDome's page in the documentation
of its solvers (ct.captcha-delivery.com/c.js); HUMAN's block page (px-captcha); Akamai's challenge
(sec-if-cpt-container) and denial (errors.edgesuite.net); Imperva's frame (incapsula-cracker-py3
issue 1) and "Pardon Our Interruption"; AWS WAF's guide. All have status 200 here, except those
that are recognised by a header.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Wall:
    """A page in place of content. ``kind``: its page state; ``long``: only a model detects it."""

    kind: str
    html: str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    long: bool = False


def document(title: str, body: str, *, head: str = "", lang: str = "en") -> str:
    return (
        f'<!DOCTYPE html><html lang="{lang}"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width">{head}</head>'
        f"<body>{body}</body></html>"
    )


def _cloudflare(title: str, noscript: str, lang: str) -> str:
    return document(
        title,
        f'<div class="main-wrapper" role="main"><div class="main-content"><noscript><div class='
        f'"h2"><span id="challenge-error-text">{noscript}</span></div></noscript></div></div>'
        "<script>(function(){window._cf_chl_opt={cvId:'3',cZone:'a.example',cType:'managed',"
        "cRay:'8b0000000000'};var a=document.createElement('script');a.src="
        "'/cdn-cgi/challenge-platform/h/b/orchestrate/chl_page/v1?ray=8b0000000000';"
        "document.getElementsByTagName('head')[0].appendChild(a);}());</script>",
        head='<meta name="robots" content="noindex,nofollow">'
        '<meta http-equiv="refresh" content="390">',
        lang=lang,
    )


CHECKS: Mapping[str, Wall] = {
    "cloudflare": Wall(
        "bot_check",
        _cloudflare("Just a moment...", "Enable JavaScript and cookies to continue", "en-US"),
    ),
    "cloudflare_403": Wall(
        "bot_check",
        _cloudflare("Just a moment...", "Enable JavaScript and cookies to continue", "en-US"),
        403,
        {"cf-mitigated": "challenge", "server": "cloudflare"},
    ),
    "cloudflare_de": Wall(
        "bot_check",
        _cloudflare("Nur einen Moment…", "Aktivieren Sie JavaScript und Cookies", "de-DE"),
    ),
    "cloudflare_rendered": Wall(
        "bot_check",
        document(
            "www.a.example",
            "<h1>www.a.example</h1><h2>Performing security verification</h2><p>This website uses a "
            "security service to protect against malicious bots. This page is displayed while the "
            "website verifies you are not a bot.</p><p>Ray ID: 8b0000000000</p>",
        ),
    ),
    "cloudflare_blocked": Wall(
        "access_denied",
        document(
            "Attention Required! | Cloudflare",
            '<div id="cf-wrapper"><h1>Sorry, you have been blocked</h1><h2>You are unable to '
            "access a.example</h2><p>This website is using a security service to protect itself "
            "from online attacks. The action you just performed triggered the security "
            "solution.</p></div>",
        ),
    ),
    "datadome": Wall(
        "bot_check",
        "<html><head><title>a.example</title><style>#cmsg{animation:A 1.5s}</style></head>"
        '<body style="margin:0"><p id="cmsg">Please enable JS and disable any ad blocker</p>'
        "<script data-cfasync=\"false\">var dd={'rt':'c','cid':'AHr','hsh':'EC3A','t':'fe','s':1,"
        "'host':'geo.captcha-delivery.com'}</script>"
        '<script data-cfasync="false" src="https://ct.captcha-delivery.com/c.js"></script>'
        "</body></html>",
    ),
    "perimeterx": Wall(
        "bot_check",
        document(
            "Access to this page has been denied",
            '<div class="px-captcha-container"><div class="px-captcha-header">Before we continue...'
            '</div><div id="px-captcha"></div><p>Press &amp; Hold to confirm you are a human (and '
            "not a bot).</p><p>Reference ID 0000</p></div>",
            head="<script>window._pxAppId='PX0000';</script>",
        ),
    ),
    "akamai_challenge": Wall(
        "bot_check",
        '<!DOCTYPE html><html><head><meta charset="utf-8"></head><body><div id='
        '"sec-if-cpt-container"><div class="behavioral-content"></div><p>Powered and protected by '
        'Akamai</p></div><script src="/_sec/cp_challenge/sec-3-8.js" async></script></body></html>',
    ),
    "akamai_denied": Wall(
        "access_denied",
        "<HTML><HEAD><TITLE>Access Denied</TITLE></HEAD><BODY><H1>Access Denied</H1> You don't "
        'have permission to access "http&#58;&#47;&#47;a&#46;example&#47;" on this server.<P>'
        "Reference&#32;&#35;18&#46;0000&#46;1700000000&#46;0000<P>https&#58;&#47;&#47;errors&#46;"
        "edgesuite&#46;net&#47;18&#46;0000</BODY></HTML>",
    ),
    "incapsula": Wall(
        "bot_check",
        '<html style="height:100%"><head><META NAME="ROBOTS" CONTENT="NOINDEX, NOFOLLOW">'
        '<script src="/_Incapsula_Resource?SWJIYLWA=0"></script></head><body style="margin:0px">'
        '<iframe id="main-iframe" src="/_Incapsula_Resource?CWUDNSAI=9&incident_id=0-0" '
        'frameborder=0 width="100%">Request unsuccessful. Incapsula incident ID: 0-0</iframe>'
        "</body></html>",
    ),
    "imperva": Wall(
        "bot_check",
        document(
            "Pardon Our Interruption",
            '<div class="container"><h1>Pardon Our Interruption</h1><p>As you were browsing '
            "something about your browser made us think you were a bot. There are a few reasons "
            "this might happen:</p><ul><li>You're a power user moving through this website with "
            "super-human speed.</li><li>You've disabled cookies in your web browser.</li></ul>"
            '<div id="interstitial-inprogress"></div></div>',
        ),
    ),
    "aws": Wall(
        "bot_check",
        document(
            "",
            '<div id="challenge-container"></div><noscript><h1>JavaScript is disabled</h1>In order '
            "to continue, we need to verify that you're not a robot.</noscript>",
            head='<script>window.gokuProps={"key":"AQ","iv":"A6","context":"gl"};</script>'
            '<script src="https://a.us-east-1.token.awswaf.com/a/challenge.js"></script>',
        ),
    ),
    "aws_202": Wall("bot_check", "<html></html>", 202, {"x-amzn-waf-action": "challenge"}),
    "amazon": Wall(
        "bot_check",
        document(
            "Amazon.com",
            '<form method="get" action="/errors/validateCaptcha"><h4>Enter the characters you see '
            "below</h4><p>Sorry, we just need to make sure you're not a robot.</p></form>",
        ),
    ),
    "google_sorry": Wall(
        "bot_check",
        document(
            "https://a.example/",
            "<div>Our systems have detected unusual traffic from your computer network. This page "
            "checks to see if it's really you sending the requests, and not a robot.</div>",
        ),
    ),
    "captcha_ja": Wall(
        "bot_check",
        document("セキュリティ", "<p>あなたが人間であることを確認してください。</p>", lang="ja"),
    ),
    "captcha_ru": Wall(
        "bot_check",
        document("Ой!", "<p>Подтвердите, что запросы отправляли вы, а не робот</p>", lang="ru"),
    ),
}
