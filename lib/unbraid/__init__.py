"""Unbraid: the thin helper library behind a notebook course on sequential disentanglement."""

__version__ = "0.1.0"
