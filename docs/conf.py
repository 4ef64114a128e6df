"""Sphinx: `sphinx-build -W -b html docs OUT`, with `pip install -e '.[docs]'`."""

import os

from varmixup_jax import __version__

project = "varmixup_jax"
author = "The varmixup_jax developers"
copyright = author
release = version = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]
# A name in single backticks is code, as in Markdown.
default_role = "code"
add_module_names = False
autodoc_typehints = "none"
autodoc_preserve_defaults = True
toc_object_entries_show_parents = "hide"
autodoc_member_order = "bysource"
python_use_unqualified_type_names = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
copybutton_prompt_text = ">>> "

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 120
os.environ.setdefault("JAX_PLATFORMS", "cpu")

html_theme = "sphinx_book_theme"
html_title = "varmixup_jax"
html_static_path = ["_static"]
html_css_files = ["tables.css"]
html_theme_options = {
    "show_toc_level": 2,
    "use_download_button": False,
    "navbar_persistent": [],  # the sidebar has the search
}
