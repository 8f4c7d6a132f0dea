"""Pages that sites show in place of content: the fault ``wall``.

A wall is a reply: status, headers, HTML. Vendors' bot checks are in ``checks``. Here are the sites'
own pages: notices, consent (Google's form posts to consent.google.com/save), logins, soft 404s,
errors and almost empty pages.
"""

from collections.abc import Mapping

from serpline.simulator.checks import CHECKS, Wall, document
from serpline.simulator.seeds import stamp
from serpline.simulator.wire import Reply

_MENU = "".join(
    f'<li><a href="/{name.lower()}">{name}</a></li>'
    for name in ("Home", "Offers", "Guides", "Stores", "Contact")
)
_FRAME = f"<header><nav><ul>{_MENU}</ul></nav></header>%s<footer><p>© 2026 Example</p></footer>"

WALLS: Mapping[str, Wall] = {
    **CHECKS,
    "react": Wall(
        "javascript_notice",
        document(
            "Example App",
            "<noscript>You need to enable JavaScript to run this app.</noscript>"
            '<div id="root"></div><script src="/static/js/main.js"></script>',
        ),
    ),
    "javascript_fr": Wall(
        "javascript_notice",
        document(
            "Boutique",
            "<p>Votre navigateur ne prend pas en charge ce site. Veuillez activer JavaScript pour "
            "continuer vos achats.</p>",
            lang="fr",
        ),
    ),
    "javascript_zh": Wall(
        "javascript_notice",
        document("商城", "<p>请启用JavaScript后继续浏览本网站。</p>", lang="zh"),
    ),
    "google_consent": Wall(
        "consent_wall",
        document(
            "Before you continue to Google Search",
            "<h1>Before you continue to Google</h1><p>We use cookies and data to</p><ul><li>"
            "Deliver and maintain Google services</li><li>Track outages and protect against spam, "
            "fraud and abuse</li><li>Measure audience engagement and site statistics to understand "
            "how our services are used</li></ul><p>If you choose to “Accept all,” we will also use "
            "cookies and data to develop and improve new services and to show personalised ads.</p>"
            '<form action="https://consent.google.com/save" method="POST"><button>Reject all'
            "</button></form><form action='https://consent.google.com/save'><button>Accept all"
            "</button></form>",
        ),
    ),
    "yahoo_consent": Wall(
        "consent_wall",
        document(
            "Yahoo ist Teil der Yahoo Markenfamilie",
            "<div><h2>Ihre Daten, Ihre Entscheidung</h2><p>Wir, Yahoo, sind Teil der Yahoo "
            "Markenfamilie. Wenn Sie unsere Websites und Apps nutzen, verwenden wir Cookies, um "
            "Ihnen unsere Dienste bereitzustellen. Wir und unsere Partner speichern Informationen "
            "auf einem Gerät oder greifen darauf zu und verarbeiten personenbezogene Daten, um "
            "Werbung und Inhalte zu messen. Klicken Sie auf „Alle akzeptieren“, wenn Sie damit "
            'einverstanden sind.</p><form method="post"><button name="agree">Alle akzeptieren'
            '</button><button name="reject">Alle ablehnen</button></form></div>',
            lang="de",
        ),
    ),
    "pur_consent": Wall(
        "consent_wall",
        document(
            "Zeitung",
            "<main><h1>Zeitung mit Werbung lesen</h1><p>Besuchen Sie unsere Seiten wie gewohnt mit "
            "Werbung und Tracking. Wir und unsere Partner verarbeiten dafür Daten. Details in der "
            "Datenschutzerklärung.</p><button>Zustimmen</button><p>Oder lesen Sie uns im Pur-Abo, "
            "ohne Tracking, für 5 Euro im Monat.</p></main>",
            lang="de",
        ),
    ),
    "login_en": Wall(
        "login_wall",
        document(
            "Log In",
            _FRAME % "<main><h1>Sign in to continue</h1><form><input name=user><input "
            "type=password><button>Log in</button></form></main>",
        ),
    ),
    "login_es": Wall(
        "login_wall",
        document(
            "Foro",
            _FRAME % "<main><p>Inicia sesión para ver este contenido. ¿Aún no tienes cuenta? "
            "Regístrate gratis en menos de un minuto.</p></main>",
            lang="es",
        ),
    ),
    "login_ko": Wall(
        "login_wall",
        document(
            "카페", "<p>로그인이 필요한 서비스입니다. 로그인 후 이용해 주세요.</p>", lang="ko"
        ),
    ),
    "club": Wall(
        "login_wall",
        document(
            "The Harbour Club",
            _FRAME % "<main><h1>Welcome to the Harbour Club</h1><p>What you are about to see is "
            "reserved. Our members enjoy reports that took years to write, tables that are kept up "
            "to date by hand, and a newsletter that arrives every Thursday morning before the "
            "first coffee.</p><p>This part of our site is for members only. Sign in to read on, or "
            "join us: the first month costs nothing, and you may leave whenever you like without "
            "giving a reason to anybody.</p><p>Four out of five members have been with us for more "
            "than six years. They come from thirty countries, and they meet once a year in a city "
            "that they choose together. Every member may bring a friend to that meeting, and most "
            "of them do. We are looking forward to meeting you, too.</p><p>Questions? Our office "
            "in the old harbour answers every letter by hand, from Monday to Friday, and on the "
            "first Saturday of each month you will find its door open.</p></main>",
        ),
        long=True,
    ),
    "soft_404": Wall(
        "not_found",
        document(
            "Page not found | Example Store",
            _FRAME % "<main><h1>Oops!</h1><p>The page you are looking for has moved or no longer "
            "exists. Try the search, or go back to our home page and start again.</p></main>",
        ),
    ),
    "soft_404_pl": Wall(
        "not_found",
        document(
            "Sklep",
            _FRAME % "<main><h1>Nie znaleziono strony</h1><p>Sprawdź adres lub wróć na stronę "
            "główną. Zapraszamy do zapoznania się z naszą ofertą.</p></main>",
            lang="pl",
        ),
    ),
    "soft_404_ja": Wall(
        "not_found",
        document(
            "ページが見つかりません｜例",
            _FRAME % "<p>お探しのページは移動または削除された可能性があります。</p>",
            lang="ja",
        ),
    ),
    "denied_ru": Wall(
        "access_denied",
        document("Доступ запрещён", "<p>Обратитесь к администратору.</p>", lang="ru"),
    ),
    "region": Wall(
        "access_denied",
        document(
            "451: Unavailable due to legal reasons",
            "<h1>451: Unavailable due to legal reasons</h1><p>We recognize you are attempting to "
            "access this website from a country belonging to the European Economic Area (EEA) "
            "including the EU which enforces the General Data Protection Regulation (GDPR) and "
            "therefore access cannot be granted at this time.</p>",
        ),
    ),
    "rejected": Wall(
        "access_denied",
        "<html><head><title>Request Rejected</title></head><body>The requested URL was rejected. "
        "Please consult with your administrator.<br><br>Your support ID is: 0000</body></html>",
    ),
    "maintenance": Wall(
        "site_error",
        document("Under Maintenance", "<h1>We&rsquo;ll be back soon!</h1><p>Sorry about that.</p>"),
    ),
    "database": Wall(
        "site_error",
        document(
            "Database Error", "<h1>Error establishing a database connection</h1>", lang="en-US"
        ),
    ),
    "loading": Wall("no_text", document("Example", "<p>Loading…</p>")),
    "blank": Wall("no_text", document("", "")),
    "menu": Wall("no_text", document("Example", _FRAME % "<main></main>")),
}


def wall_of(which: str, seed: int, identity: str) -> Reply:
    """The reply with the wall of this name, or one chosen by the seed."""
    names = list(WALLS)
    wall = WALLS[which or names[stamp(seed, "wall", identity) % len(names)]]
    headers = {"content-type": "text/html; charset=utf-8", **wall.headers}
    return Reply(wall.status, wall.html.encode(), headers)
