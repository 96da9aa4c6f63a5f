"""Models side by side, on the same data with an equal budget: what notebooks 40 and 41 open."""
