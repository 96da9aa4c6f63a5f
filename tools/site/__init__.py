"""The course as pages, with one on which models run in the browser, and as slides."""
