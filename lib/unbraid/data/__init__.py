"""Data of the course: one sequence type, the real files behind it, and the generators built on them."""
