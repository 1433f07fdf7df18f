"""Sphinx configuration: the site of these documents. `make docs` builds it into out/docs; ADR 22 says why."""

from __future__ import annotations

import sys
from importlib.metadata import version as installed
from pathlib import Path

from jupyter_client.manager import KernelManager

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "wrenla"
copyright = "the authors of wrenla, Apache-2.0"
version = release = installed("wrenla")

extensions = [
    "myst_nb",  # Markdown and notebooks
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",  # numpydoc's sections in docstrings
    "sphinx_llms_txt",
    "mathml",
    "measurements",
    "waves",
]
exclude_patterns = ["_ext"]
suppress_warnings = ["ref.python"]  # a word of a docstring that several classes have as a name, as shape
default_role = "py:obj"  # `one` backtick in a docstring is code, and a link if it is a public name

# Markdown as on any Git host: links to headings, tables, fences of `math`.
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4

# Notebooks are kept without outputs, and run here: what the site shows is what this version prints.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 120
nb_execution_show_tb = True
nb_execution_in_temp = True
KernelManager.transport_encryption.default_value = "auto"  # kernels speak TCP, and may not be overheard

autodoc_member_order = "groupwise"
autodoc_typehints = "none"  # docstrings say types, and with shapes
toc_object_entries_show_parents = "hide"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

# All that a page needs lies beside it: readers need no network, and nobody is told what they read.
html_theme = "pydata_sphinx_theme"
html_title = "wrenla"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["wrenla.css"]
html_show_sourcelink = False
html_copy_source = True
html_theme_options = {
    "logo": {"text": "wrenla"},
    "header_links_before_dropdown": 6,
    "navbar_align": "left",
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
}
# these have no pages below them
html_sidebars = {path.stem: [] for path in Path(__file__).parent.glob("*.md")}

llms_txt_uri_template = "_sources/{docname}{suffix}{sourcelink_suffix}"  # beside it, wherever that is
llms_txt_summary = (
    "Linear algebra for matrices larger than memory: products, Cholesky, LU and solve on matrices stored in "
    "tiles, on this machine, a Dask cluster or AWS Lambda. A plan says tasks, memory and cost before it runs."
)
