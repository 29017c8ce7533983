"""How Sphinx builds these pages (make docs)."""

from __future__ import annotations

import re
from importlib.metadata import version as installed_version
from pathlib import Path

project = "entres"
author = "The entres authors"
release = version = installed_version("entres")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "entres"
html_static_path: list[str] = []
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "force"  # the tour is run anew whenever the pages are built
nb_execution_raise_on_error = True
nb_execution_timeout = 300

autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_typehints = "description"
autodoc_class_signature = "separated"
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False  # Lightning's hooks bring references to pages of its own
napoleon_use_ivar = True  # the attributes of a NamedTuple are its members already

# Pages link to files beside docs/, as one reads them in the repository. Such a link becomes the
# file's name: the built pages may lie anywhere.
OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./([^)]+)\)")


def _name_files_outside(app: object, name: str, source: list[str]) -> None:
    source[0] = OUTSIDE.sub(r"\1 (`\2`)", source[0])


def _include_the_changelog(app: object, name: str, source: list[str]) -> None:
    if name == "changelog":
        source[0] = (Path(__file__).parents[1] / "CHANGELOG.md").read_text()


def setup(app: object) -> None:
    """Connect the two steps above."""
    app.connect("source-read", _include_the_changelog)  # type: ignore[attr-defined]
    app.connect("source-read", _name_files_outside)  # type: ignore[attr-defined]
