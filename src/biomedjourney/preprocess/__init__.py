"""Any chest film, in any file, as a square picture in [0, 1]."""

from biomedjourney.preprocess.film import Canonical, canonical, load

__all__ = ["Canonical", "canonical", "load"]
