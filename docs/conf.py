"""Sphinx configuration of these pages: ``sphinx-build docs build/docs`` (see index.md)."""

from importlib.metadata import version as installed

project = "statml"
author = "The statml developers"
copyright = "the statml developers"
release = version = installed("statml")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "numpydoc"]
myst_enable_extensions = ["dollarmath", "amsmath", "deflist"]
myst_heading_anchors = 3
numpydoc_show_class_members = False
# scikit-learn writes the set_*_request methods; their docstrings refer to its own pages.
autodoc_default_options = {
    "members": True,
    "show-inheritance": True,
    "exclude-members": "set_fit_request, set_predict_request, set_score_request",
}
html_theme = "alabaster"
html_theme_options = {"description": "Every prediction is a distribution", "page_width": "1080px"}
