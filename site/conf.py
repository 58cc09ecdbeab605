"""Sphinx's settings. The pages are made by build.py."""

from __future__ import annotations

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging

import multiconv

logger = logging.getLogger(__name__)

project = "multiconv"
author = copyright = "The multiconv founders"
version = release = multiconv.__version__
extensions = ["myst_parser", "sphinx_design", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
default_role = "py:obj"
pygments_style = "tango"
pygments_dark_style = "native"

myst_enable_extensions = ["amsmath", "colon_fence", "dollarmath"]
myst_heading_anchors = 3
sd_tabs_storage_prefix = "multiconv-tab-"  # pages opened as files share their storage with all other files

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # NumPy's docstrings say the types
napoleon_google_docstring = False
napoleon_use_param = False
napoleon_use_rtype = False

html_theme = "furo"
html_title = "multiconv"
html_static_path = ["_static"]
html_css_files = ["lessons.css"]
html_copy_source = False
html_show_search_summary = False  # it is fetched, which a page that is a file may not do
html_math_renderer = "mathml"


def mathml(node: nodes.math | nodes.math_block, display: str) -> str:
    """Maths that browsers draw by themselves, without a script."""
    source = node.astext()
    text = str(convert(source, display=display))
    if "\\" in text:
        logger.warning("latex2mathml does not know a command in %s", source, location=node)
    return text


def visit_inline(translator: nodes.NodeVisitor, node: nodes.math) -> None:
    """Write maths within a line."""
    translator.body.append(mathml(node, "inline"))
    rest = node.parent[node.parent.index(node) + 1 :]
    if rest and rest[0].astext()[:1] in set(",.;:!?)"):
        translator.body.append("&#8288;")  # a word joiner: else a line may begin with the comma
    raise nodes.SkipNode


def visit_block(translator: nodes.NodeVisitor, node: nodes.math_block) -> None:
    """Write maths in a line of its own."""
    translator.body.append(f'<div class="math">{mathml(node, "block")}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Let Sphinx know the renderer, and the explorer's script on its page."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    app.connect("html-page-context", add_explorer)


def add_explorer(
    app: Sphinx, page: str, template: str, context: dict[str, object], tree: nodes.document | None
) -> None:
    """Add the explorer's script and style to its page only."""
    if page == "explorer":
        app.add_js_file("explorer.js")
        app.add_css_file("explorer.css")
