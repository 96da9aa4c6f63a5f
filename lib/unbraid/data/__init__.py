"""Data of the course: `sequences` has the one type, a module with `load(split)` reads each source.

`sampling` draws from sequences; `fetch` finds and brings the files.
"""
