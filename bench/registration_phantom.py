"""Registration of the embedded cohort against its true positions, at the working size of its pixels.

python bench/registration_phantom.py --tables results/tables --pixels results/pixels/0.parquet [--pairs 400]
"""

import argparse
import time
from pathlib import Path

import numpy as np

from biomedjourney import pixels, tables
from biomedjourney.register import affine, register
from tests.helpers import films


def to_film(position: dict[str, float], side: float) -> np.ndarray:
    """Body coordinates (shares of the side, origin in the middle) to the pixels of the file."""
    turn = np.radians(position["position_rotation"])
    cos, sin = (position["position_scale"] * value for value in (np.cos(turn), np.sin(turn)))
    body = np.array([[cos, sin, position["position_shift_x"]], [-sin, cos, position["position_shift_y"]]])
    return affine.compose(np.array([[side, 0.0, side / 2 - 0.5], [0.0, side, side / 2 - 0.5]]), body)


def inverse(matrix: np.ndarray) -> np.ndarray:
    return np.linalg.inv(np.vstack([matrix, [0.0, 0.0, 1.0]]))[:2]


def main(folder: Path, stored: list[Path], count: int, transform: str, threshold: float) -> None:
    pairs = tables.read(folder / "pairs.parquet", "pairs").sort_values("pair_id")
    pairs = pairs.iloc[np.linspace(0, len(pairs) - 1, min(count, len(pairs))).round().astype(int)]
    truth = tables.read(folder / "truth.parquet", "truth").set_index("dicom_id")
    images = tables.read(folder / "images.parquet", "images").set_index("dicom_id")
    wanted = {*pairs["prior_dicom_id"], *pairs["dicom_id"]}
    rows = tables.find(stored, "pixels", "dicom_id", wanted)
    nothing, found, accepted, seconds = [], [], [], 0.0
    for _, pair in pairs.iterrows():
        films_of = [rows.get(pair[name]) for name in ("prior_dicom_id", "dicom_id")]
        if any(row is None or row["png"] is None or row["dicom_id"] not in truth.index for row in films_of):
            continue  # the truth knows one film of each study
        body = []
        for row in films_of:
            side = max(images.loc[row["dicom_id"], ["rows", "columns"]])
            canonical = inverse(np.array(row["to_original"]).reshape(2, 3))
            body.append(affine.compose(canonical, to_film(truth.loc[row["dicom_id"]].to_dict(), side)))
        true = affine.compose(body[0], inverse(body[1]))
        prior, current = (pixels.decode_png(row["png"]) for row in films_of)
        start = time.process_time()
        result = register(prior, current, transform=transform, threshold=threshold)
        seconds += time.process_time() - start
        side = len(current)
        for errors, matrix in ((nothing, affine.IDENTITY), (found, result.matrix)):
            errors.append(films.corner_distances(matrix, true, side).mean() * side / films.SIDE)
        accepted.append(result.accepted)
    print(f"{len(found)} pairs of {side} px, {transform}: {seconds / len(found):.4f} CPU s a pair")
    for name, errors in (("nothing", nothing), ("registered", found)):
        median, high = np.percentile(errors, [50, 95])
        print(
            f"  {name}: corner error median {median:.2f} px, 95th percentile {high:.2f} px, worst {max(errors):.1f} px"
        )
    print(f"  accepted at {threshold:g}: {np.mean(accepted):.1%}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, default=Path("results/tables"))
    parser.add_argument("--pixels", type=Path, nargs="+", default=[Path("results/pixels/0.parquet")])
    parser.add_argument("--pairs", type=int, default=400)
    parser.add_argument("--transform", default="affine")
    parser.add_argument("--threshold", type=float, default=0.4)
    options = parser.parse_args()
    main(options.tables, options.pixels, options.pairs, options.transform, options.threshold)
