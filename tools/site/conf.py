"""The pages of ``docs/`` as a site. ``make docs`` builds it with Sphinx."""

import html
import tomllib
from pathlib import Path

from docutils import nodes
from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).parents[2]
# Files above docs/ that pages link to, and the pages that include them.
_INCLUDED = {
    "(../CONTRIBUTING.md": "(contributing.md",
    "(../CHANGELOG.md": "(changes.md",
    "(CONTRIBUTING.md": "(contributing.md",
    "(CHANGELOG.md": "(changes.md",
    "(docs/adr)": "(docs/adr/README.md)",
}

project = "serpline"
release = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
extensions = ["myst_nb"]
html_theme = "furo"
html_title = f"serpline {release}"
html_static_path = [str(ROOT / "build" / "mermaid")]
html_js_files = ["mermaid.min.js"]
html_show_copyright = False
# A notebook's outputs are stored in it.
nb_execution_mode = "off"
# Anchors for the headings that pages link to.
myst_heading_anchors = 4
myst_fence_as_directive = ["mermaid"]


class Mermaid(SphinxDirective):
    """A diagram, drawn in the browser by mermaid; its text where scripts are off."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the element that mermaid looks for."""
        drawn = html.escape("\n".join(self.content))
        return [nodes.raw("", f'<pre class="mermaid">{drawn}</pre>', format="html")]


def _link_to_pages(app: Sphinx, page: str, source: list[str]) -> None:
    for file, including in _INCLUDED.items():
        source[0] = source[0].replace(file, including)


def _link_included(app: Sphinx, path: Path, parent: str, source: list[str]) -> None:
    _link_to_pages(app, parent, source)


def setup(app: Sphinx) -> None:
    """Register the directive, the language and the links to files above ``docs/``."""
    app.add_directive("mermaid", Mermaid)
    app.add_lexer("csv", TextLexer)
    app.connect("source-read", _link_to_pages)
    app.connect("include-read", _link_included)
