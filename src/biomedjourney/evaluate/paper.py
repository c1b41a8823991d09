"""The figures printed in arXiv 2310.10765, as fractions: pathology AUC, race AUC, age r, CMIG; None where none is."""

from biomedjourney.tables import MEASURES

SYSTEMS: dict[str, tuple[float | None, ...]] = {
    "stable-diffusion": (0.4990, 0.7713, 0.0273, 0.1814),
    "instruct-pix2pix": (0.5810, 0.7825, 0.1782, 0.4212),
    "roentgen": (0.7961, 0.8471, 0.2891, 0.6608),
    "biomedjourney": (0.8054, 0.9722, 0.7938, 0.8323),
}
ABLATIONS: dict[str, tuple[float | None, ...]] = {
    "biomedjourney": SYSTEMS["biomedjourney"],
    "one-stage": (None, None, None, 0.8283),
    "no-registration": (None, 0.8858, 0.5512, 0.7638),
    "no-registration-one-stage": (None, 0.9476, 0.7678, 0.8076),
    "impression-text": (None, None, None, 0.8296),
}


def columns(figures: dict[str, tuple[float | None, ...]], system: str) -> dict[str, float | None]:
    """The ``paper_*`` columns of a row."""
    values = figures.get(system, (None,) * len(MEASURES))
    return {f"paper_{name}": value for name, value in zip(MEASURES, values, strict=True)}
