"""Data of the course: a module with `load(split)` reads each source, as `sequences.Sequences`."""
