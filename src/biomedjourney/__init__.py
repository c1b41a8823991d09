"""BiomedJourney in the open: counterfactual chest X-rays from a prior image and a progression description.

An independent implementation of Gu et al., 2023 (arXiv 2310.10765), for research and not for clinical use.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from biomedjourney.editing import edit

__all__ = ["__version__", "edit"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "edit":
        from biomedjourney.editing import edit

        return edit
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
