"""How Sphinx builds the documentation: `scripts/build-docs`."""

from pltfrms import __version__

project = "PLTFRMS"
version = release = __version__
extensions = ["myst_parser"]
myst_heading_anchors = 4
html_theme = "furo"
html_title = f"PLTFRMS {release}"
html_copy_source = False
html_show_copyright = False
nitpicky = True
# Examples have our words in them, for which there is no lexer.
highlight_language = "none"
suppress_warnings = ["misc.highlighting_failure"]  # of `nft`, for which there is no lexer
