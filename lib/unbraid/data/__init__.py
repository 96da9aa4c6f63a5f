"""Data of the course: one type of sequences, a module with `load(split)` for each source, samplers.

`sequences` has the type and `sampling` draws from it. `fetch` finds and brings the files.
"""

from unbraid.data.sequences import Sequences

__all__ = ["Sequences"]
