"""Figures and films: what pages and reports draw with. The rest of the library imports none."""
