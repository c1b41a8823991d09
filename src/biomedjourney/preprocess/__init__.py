"""Brings any chest film, from a file or an array, into canonical form: a square picture in [0, 1]."""

from biomedjourney.preprocess.film import Canonical, canonical, load, mask_on_canonical

__all__ = ["Canonical", "canonical", "load", "mask_on_canonical"]
