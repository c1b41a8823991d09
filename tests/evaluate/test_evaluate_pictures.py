"""The columns that a generated picture gets beside the real ones of its pair, on pictures whose truth is known."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from biomedjourney import pixels, tables
from biomedjourney.errors import UserError
from biomedjourney.evaluate import comparisons
from biomedjourney.evaluate.pictures import Pictures, RealPictures

TRIPLES = pd.DataFrame({"pair_id": ["1-2", "2-3", "3-4"], "dicom_id": ["b", "c", "d"]})
GREY = np.linspace(0, 1, 16 * 16, dtype=np.float32).reshape(16, 16)


def as_stored(picture: np.ndarray) -> np.ndarray:
    return pixels.decode_png(pixels.encode_png(picture))


def written(folder: Path) -> tuple[list[Path], list[Path]]:
    """Shards of the tables `registered` and `pixels` of TRIPLES: priors 0.25 times GREY, films 0.5 times GREY."""
    rows = [{"pair_id": p, "png": pixels.encode_png(GREY * 0.25), "coverage": None} for p in TRIPLES["pair_id"]]
    mask = np.zeros((16, 16))
    mask[4:] = 1
    rows[1]["coverage"] = pixels.encode_png(mask)
    common = {"inverted": False, "to_original": None, "reason": ""}
    films = [{"dicom_id": d, "png": pixels.encode_png(GREY * 0.5)} | common for d in ("a", "b", "c", "d")]
    shards = []
    for name, content in (("registered", rows), ("pixels", films)):
        paths = [folder / f"{name}-{i}.parquet" for i in range(2)]
        for path, part in zip(paths, (content[:2], content[2:]), strict=True):
            tables.write_stream(path, name, [part])
        shards.append(paths)
    return shards[0], shards[1]


def test_a_batch_holds_the_real_pictures_of_its_pairs_in_their_order(tmp_path: Path) -> None:
    registered, films = written(tmp_path)
    priors = tables.read(registered[1], "registered")
    priors["png"] = [pixels.encode_png(GREY)]
    tables.write(registered[1], "registered", priors)
    generated = np.stack([GREY, GREY / 2, GREY / 4])
    batch = RealPictures(TRIPLES, registered, films).beside(["3-4", "1-2", "3-4"], generated)
    np.testing.assert_array_equal(batch.prior, [as_stored(GREY), as_stored(GREY * 0.25), as_stored(GREY)])
    np.testing.assert_array_equal(batch.current, [as_stored(GREY * 0.5)] * 3)
    assert batch.covered.all()
    assert batch.generated is generated
    covered = RealPictures(TRIPLES, registered, films).beside(["2-3"], GREY[None]).covered
    np.testing.assert_array_equal(covered[0].mean(axis=1), [0.0] * 4 + [1.0] * 12)


def test_a_picture_that_is_missing_or_of_another_size_is_refused(tmp_path: Path) -> None:
    registered, films = written(tmp_path)
    with pytest.raises(UserError, match=r"1 of 3 pictures are missing: give every shard of the table registered"):
        RealPictures(TRIPLES, registered[:1], films)
    with pytest.raises(UserError, match=r"1 of 3 pictures are missing: give every shard of the table pixels"):
        RealPictures(TRIPLES, registered, films[1:])
    with pytest.raises(UserError, match=r"pair 1-2: the generated picture has \(8, 8\) pixels, the registered prior"):
        RealPictures(TRIPLES, registered, films).beside(["1-2"], np.zeros((1, 8, 8), np.float32))
    rows = tables.read(films[1], "pixels").assign(png=None, reason="it cannot be read")
    tables.write(films[1], "pixels", rows)
    with pytest.raises(UserError, match="dicom_id c of a test pair has no picture"):
        RealPictures(TRIPLES, registered, films).beside(["2-3"], GREY[None])


def beside(generated: np.ndarray, covered: np.ndarray | None = None, current: np.ndarray | None = None) -> Pictures:
    """One pair whose prior is GREY; the current picture is the prior too, and all is covered, unless given."""
    mask = np.ones(GREY.shape, bool) if covered is None else covered
    return Pictures(generated[None], GREY[None], mask[None], (GREY if current is None else current)[None])


def test_the_difference_to_the_prior_is_taken_where_the_prior_has_data() -> None:
    def difference(pictures: Pictures) -> float:
        return float(comparisons.difference_to_prior(pictures)["difference_to_prior"].iloc[0])

    assert difference(beside(GREY)) == 0
    assert difference(beside(GREY + 0.1)) == pytest.approx(0.1)
    darker = GREY.copy()
    darker[:4] -= 0.2
    assert difference(beside(darker)) == pytest.approx(0.05)
    uncovered = np.ones(GREY.shape, bool)
    uncovered[:4] = False
    assert difference(beside(darker, uncovered)) == 0
    assert np.isnan(difference(beside(darker, np.zeros(GREY.shape, bool))))
