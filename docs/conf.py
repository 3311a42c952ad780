"""How the documentation is built: ``make docs``, into docs/_build/html.

Every warning is an error, so that a broken link, a picture that is missing or a cell that fails is found.
Nothing is fetched, neither when the pages are built nor when they are read: no fonts, no scripts, and
formulas are MathML, which browsers draw by themselves. The package that is described is the installed one.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx

import ganpaint_widget

HERE = Path(__file__).parent

project = "ganpaint_widget"
author = "the ganpaint_widget developers"
project_copyright = author
release = version = ganpaint_widget.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_math_renderer = "mathml"
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "ganpaint_widget"
html_copy_source = False
html_show_sphinx = False
html_static_path = ["static"]
html_css_files = ["style.css"]
suppress_warnings = ["mystnb.unknown_mime_type"]  # a widget's view; the PNG beside it is what a page shows

# --- pages in Markdown, those with cells, and the lessons ---

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 3
# The pages with cells are executed each time, so that what they show is what this version does. The
# notebooks bring their outputs along.
nb_execution_mode = "force"
nb_execution_excludepatterns = ["lessons/*"]
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True
# The scripts that would bring widgets to life come from elsewhere, and there is no kernel here.
nb_ipywidgets_js: dict[str, Any] = {}
nb_mime_priority_overrides = [("html", "application/vnd.jupyter.widget-view+json", None)]

# --- the reference, from docstrings ---

default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_default_options = {"members": True}
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False


# --- what Sphinx is told here and nowhere else ---


def copy_notebooks(app: Sphinx) -> None:
    """The notebooks become pages. They stay in notebooks/, where JupyterLab opens them."""
    lessons = HERE / "lessons"
    shutil.rmtree(lessons, ignore_errors=True)
    lessons.mkdir()
    for path in sorted((HERE.parent / "notebooks").glob("*.ipynb")):
        shutil.copy(path, lessons)


def inline_formula(translator: Any, node: nodes.math) -> None:
    translator.body.append(str(tex2mathml(node.astext())))
    raise nodes.SkipNode


def displayed_formula(translator: Any, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="math">{tex2mathml(node.astext(), as_block=True)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    app.add_html_math_renderer("mathml", (inline_formula, None), (displayed_formula, None))
    app.connect("config-inited", lambda app, config: copy_notebooks(app))
