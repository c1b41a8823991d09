"""Which image files a configuration needs, before any of them is there, and where PhysioNet keeps them."""

import shlex
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from biomedjourney.pair.pair import pair


@dataclass(frozen=True)
class Release:
    """A folder of PhysioNet that holds image files below ``files/``. ``mean_bytes``: of one file, about."""

    url: str
    mean_bytes: float


# By the ending of the files: MIMIC-CXR-JPG has 570 GB and MIMIC-CXR 4.7 TB, in 377,110 images each.
RELEASES = {
    ".jpg": Release("https://physionet.org/files/mimic-cxr-jpg/2.1.0/", 570e9 / 377_110),
    ".dcm": Release("https://physionet.org/files/mimic-cxr/2.1.0/", 4.7e12 / 377_110),
}


def needed(studies: pd.DataFrame, images: pd.DataFrame, settings: dict[str, Any]) -> pd.DataFrame:
    """The rows of the table images that `pair` would choose if every file were whole, in the order of their paths.

    They are the images of the singles; pairs have no others. Errors as in `pair`.
    """
    whole = images[["dicom_id"]].assign(problem="")
    singles = pair(studies, images, whole, settings)["singles"]
    return images[images["dicom_id"].isin(singles["dicom_id"])].sort_values("path")


def problems(needed_images: pd.DataFrame, image_files: pd.DataFrame) -> pd.Series:
    """The problem of each of these images that is not whole (missing, truncated, ...), by its path."""
    states = image_files.set_index("dicom_id")["problem"].reindex(needed_images["dicom_id"]).fillna("not checked")
    by_path = pd.Series(states.to_numpy(), index=needed_images["path"], dtype=object)
    return by_path[by_path != ""]


def counts(found_problems: pd.Series) -> str:
    """How many images have which problem, as in ``118 missing, 2 truncated``."""
    return ", ".join(f"{count:,} {problem}" for problem, count in Counter(found_problems).most_common())


def urls(paths: pd.Series) -> list[str]:
    """Where PhysioNet keeps the files at these paths, which are relative to the folder of the images."""
    return [RELEASES[PurePosixPath(path).suffix].url + path for path in paths]


def gigabytes(paths: pd.Series) -> float:
    """The size of these files, estimated from the mean size of a file."""
    return sum(RELEASES[PurePosixPath(path).suffix].mean_bytes for path in paths) / 1e9


def wget(listed: Path, folder: str) -> str:
    """The command that fetches the files of a list into the folder of the images, and goes on where it was stopped."""
    # the address has three folders before files/: files, the data set, its version
    flags = "--continue --force-directories --no-host-directories --cut-dirs=3 --user NAME --ask-password"
    return f"wget {flags} --directory-prefix={shlex.quote(folder)} --input-file={shlex.quote(str(listed))}"
