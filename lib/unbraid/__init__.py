"""Unbraid: the thin helper library behind a notebook course on sequential disentanglement.

Start with `from unbraid.models import SingleElement` and `from unbraid.training import fit`.
"""

__version__ = "1.0.0"
