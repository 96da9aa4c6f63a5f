"""Settings of Sphinx, which reads the sources that `python -m tools site` has laid out."""

import importlib.metadata
import re

from sphinx.application import Sphinx

project = "Unbraid"
author = "the contributors of Unbraid"
copyright = "the contributors of Unbraid, CC BY 4.0"
version = release = importlib.metadata.version("unbraid")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.mathjax"]
extensions += ["sphinx_copybutton"]
copybutton_selector = ":not(.output) > div.highlight > pre"  # code, and not what it has printed
source_suffix = {".ipynb": "myst-nb", ".md": "myst-nb", ".rst": "restructuredtext"}
nb_execution_mode = "off"  # the committed outputs are shown
nb_merge_streams = True
nb_render_image_options = {"width": "100%"}
myst_enable_extensions = ["dollarmath", "amsmath", "html_image", "attrs_inline"]
myst_dmath_double_inline = True
myst_heading_anchors = 4
suppress_warnings = [
    "myst.header",  # a page may begin with a heading of the second level
    "mystnb.unknown_mime_type",  # sliders: the picture beside them is shown
    "misc.highlighting_failure",
    "toc.not_included",  # a page that only a link leads to
]

# Names of pages that a reader opens from the disk: nothing is fetched from elsewhere.
mathjax_path = "mathjax/tex-svg.js"
html_theme = "sphinx_book_theme"
html_title = "Unbraid"
html_static_path = ["static"]
templates_path = ["templates"]
html_favicon = html_logo = "static/favicon.svg"
html_css_files = ["course.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options: dict[str, object] = {
    "logo": {"text": "Unbraid"},
    "navbar_start": ["course-links.html"],
    "show_toc_level": 2,
    "show_navbar_depth": 1,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "home_page_in_toc": False,
    "show_prev_next": True,
}
html_sidebars = {"**": ["navbar-logo.html", "sbt-sidebar-nav.html"]}

linkcheck_anchors_ignore_for_url = [r"https://github\.com/.*"]  # lines are not in the page
linkcheck_ignore = [  # they answer programs with 403
    r"https://doi\.org/",
    r"https://www\.jstor\.org/",
    r"https://openreview\.net/",
    r"https://www\.mathnet\.ru/",
]

default_role = "code"
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
ARGUMENT = re.compile(r"([a-z_]\w*(?:, [a-z_]\w*)*): (.*)")


def set_docstring(
    _app: object, _what: str, _name: str, _object: object, _options: object, lines: list[str]
) -> None:
    """Make lists of the lines `name: meaning` and `- item` of a docstring, of no other signs."""
    if any(line.startswith(".. note::") for line in lines):
        lines.clear()  # That of PyTorch's own `forward`, which a method without words inherits.
    out = []
    inside = False
    for line in lines:
        code = line.split("`")
        code[::2] = [re.sub(r"([*|]|(?<=\w)_\b)", r"\\\1", words) for words in code[::2]]
        line = "`".join(code)
        if found := ARGUMENT.fullmatch(line):
            out += [""] * (not inside) + [f"* ``{found[1]}``: {found[2]}"]
            inside = True
        elif line.startswith("- "):
            out += [""] * (not inside) + [line]
            inside = True
        elif inside and line.startswith(" "):
            out.append("  " + line.strip())
        else:
            out += [""] * (inside and bool(line.strip())) + [line.strip()]
            inside = False
    lines[:] = out


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", set_docstring)
