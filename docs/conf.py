"""The configuration of the documentation: ``make docs`` builds it into docs/_build/html.

Every warning is an error, so that a broken link, a missing picture or a failing cell stops the build.
Nothing is fetched, neither when the pages are built nor when they are read: they need neither fonts nor
scripts, and browsers draw the MathML formulas themselves. The pages describe the installed package.
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
suppress_warnings = ["mystnb.unknown_mime_type"]  # a widget's view: the page shows the PNG beside it

# --- pages in Markdown, those with cells, and the lessons ---

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 3
# Pages with cells are executed in each build, so that they show this version. The notebooks carry their
# outputs.
nb_execution_mode = "force"
nb_execution_excludepatterns = ["lessons/*"]
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True
# Scripts that animate widgets would come from the network, and the pages lack a kernel.
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


# --- extensions of Sphinx ---


def copy_notebooks(app: Sphinx) -> None:
    """Copy the notebooks, so that they become pages. The originals stay where JupyterLab opens them."""
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
