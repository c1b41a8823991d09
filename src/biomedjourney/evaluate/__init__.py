"""Scores of generated pictures by frozen classifiers, and the measures with their intervals."""

from biomedjourney.measures import cmig

__all__ = ["cmig"]
