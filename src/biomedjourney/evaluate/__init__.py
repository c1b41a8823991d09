"""Scores of generated pictures by frozen classifiers, the three measures, CMIG and their intervals."""

from biomedjourney.evaluate.measures import cmig

__all__ = ["cmig"]
