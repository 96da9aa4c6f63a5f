"""Data of the course: one sequence type, the real files behind it, and the generators built on them.

`load(name, split)` opens each dataset of `DATASETS`.
"""


def __getattr__(name: str) -> object:
    """`load` and `DATASETS` of the catalogue, imported when first asked for: who only looks for files needs no torch."""
    if name not in ("load", "DATASETS"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from unbraid.data import catalogue

    return getattr(catalogue, name)
