import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner
from PIL import Image
from test_register_films import chest

from biomedjourney import pixels, tables
from biomedjourney.preprocess.rows import Job, row
from biomedjourney.register.command import command


@pytest.fixture
def inputs(tmp_path):
    """Pixels in two files; the pairs: a good one, one with a null picture, one not there, one blank."""
    film = chest(64)
    pictures = {"a": film, "b": np.roll(film, 4, axis=1), "c": None, "e": np.zeros((64, 64))}
    for part, names in enumerate(("ab", "ce")):
        rows = []
        for name in names:
            picture = pictures[name]
            png = None if picture is None else pixels.encode_png(picture)
            reason = "truncated file" if picture is None else ""
            rows.append({"dicom_id": name, "png": png, "inverted": False, "to_original": None, "reason": reason})
        tables.write_stream(tmp_path / f"pixels{part}.parquet", "pixels", [rows])
    pair = {"subject_id": 1, "prior_study_id": 1, "study_id": 2, "interval_days": 1.0, "split": "train"}
    ids = [("4-5", "a", "e"), ("1-2", "a", "b"), ("2-3", "a", "c"), ("3-4", "d", "b")]
    frame = pd.DataFrame([{"pair_id": p, "prior_dicom_id": x, "dicom_id": y, **pair} for p, x, y in ids])
    tables.write(tmp_path / "pairs.parquet", "pairs", frame)
    return tmp_path


def run(folder, shard=0, shards=1, processes=1, transform="affine"):
    settings = {
        "preprocess": {"size": 64, "shards": 1},
        "register": {"transform": transform, "threshold": 0.4, "shards": shards},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    flags = [f"--pixels={folder / f'pixels{part}.parquet'}" for part in (0, 1)]
    flags += [f"--config={folder / 'config.yaml'}", f"--pairs={folder / 'pairs.parquet'}", f"--shard={shard}"]
    flags += [f"--registered={folder / 'out.parquet'}", f"--registrations={folder / 'matrices.parquet'}"]
    result = CliRunner().invoke(command, [*flags, f"--processes={processes}"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    pictures = list(tables.read_stream(folder / "out.parquet", "registered"))
    return tables.read(folder / "matrices.parquet", "registrations"), pictures


def test_a_row_for_every_pair_and_a_reason_for_a_bad_one(inputs):
    transforms, pictures = run(inputs)
    assert list(transforms["pair_id"]) == ["1-2", "2-3", "3-4", "4-5"]
    assert list(transforms["accepted"]) == [True, False, False, False]
    matrix = np.array(transforms["matrix"][0]).reshape(2, 3)
    assert matrix == pytest.approx(np.array([[1, 0, -4], [0, 1, 0]]), abs=0.5)
    for k, words in ((1, "truncated file"), (2, "not among the pixels"), (3, "blank")):
        assert words in transforms["reason"][k]
        assert transforms["matrix"][k] is None
        assert pictures[k]["png"] is None
    covered = pixels.decode_png(pictures[0]["coverage"])
    assert set(np.unique(covered)) == {0.0, 1.0}
    warped, current = pixels.decode_png(pictures[0]["png"]), np.roll(chest(64), 4, axis=1)
    assert np.abs(warped - current)[:, 8:].mean() < 0.05


def test_shards_and_processes_change_nothing(inputs):
    whole, pictures = run(inputs)
    first, _ = run(inputs, 0, 2)
    second, _ = run(inputs, 1, 2)
    assert sorted([*first["pair_id"], *second["pair_id"]]) == list(whole["pair_id"])
    again, same = run(inputs, processes=2)
    pd.testing.assert_frame_equal(whole, again)
    assert same == pictures


def test_a_spline_has_a_displacement_in_place_of_a_matrix(inputs):
    transforms, pictures = run(inputs, transform="bspline")
    first = transforms.iloc[0]
    assert (first["matrix"] is None) != (first["displacement"] is None)
    if first["matrix"] is None:
        assert len(first["displacement"]) == 98
    assert pictures[0]["png"]


def bad_files(folder):
    """The name of each bad file, and what its reason has to say."""
    film = Image.fromarray((chest(300) * 255).astype(np.uint8))
    Image.new("L", (300, 300)).save(folder / "blank.png")
    Image.new("I;16", (300, 300), 900).save(folder / "constant.png")
    film.resize((20, 20)).save(folder / "tiny.png")
    film.resize((900, 200)).save(folder / "strip.png")
    film.rotate(180).save(folder / "turned.jpg")
    film.save(folder / "cut.jpg")
    (folder / "cut.jpg").write_bytes((folder / "cut.jpg").read_bytes()[:900])
    (folder / "text.jpg").write_text("no image at all")
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.dcm").write_text("no image at all")
    unreadable = dict.fromkeys(("cut.jpg", "text.jpg", "empty.png", "text.dcm"), "not a readable")
    told = {"blank.png": "blank", "constant.png": "blank", "tiny.png": "tiny", "strip.png": "strip"}
    return told | unreadable | {"turned.jpg": "upside down", "missing.jpg": "missing"}


def test_a_bad_file_gives_a_row_with_its_reason_and_the_shard_goes_on(tmp_path):
    Image.fromarray((chest(300) * 255).astype(np.uint8)).save(tmp_path / "good.png")
    bad = bad_files(tmp_path)
    made = [row(Job(name, tmp_path / name, 64)) for name in ("good.png", *bad)]
    assert [line["dicom_id"] for line in made if line["png"]] == ["good.png"]
    for part in (0, 1):
        tables.write_stream(tmp_path / f"pixels{part}.parquet", "pixels", [made[part::2]])
    pair = {"subject_id": 1, "prior_study_id": 1, "study_id": 2, "interval_days": 1.0, "split": "train"}
    both = [(name, "good.png") for name in bad] + [("good.png", name) for name in bad] + [("good.png", "good.png")]
    frame = pd.DataFrame([{"pair_id": f"{a}-{b}", "prior_dicom_id": a, "dicom_id": b, **pair} for a, b in both])
    tables.write(tmp_path / "pairs.parquet", "pairs", frame)
    transforms, _ = run(tmp_path)
    reasons = transforms.set_index("pair_id")["reason"]
    for name, words in bad.items():
        assert words in reasons[f"{name}-good.png"]
        assert words in reasons[f"good.png-{name}"]
    assert list(transforms.loc[transforms["accepted"], "pair_id"]) == ["good.png-good.png"]


def test_no_pairs_give_empty_tables(inputs):
    transforms, pictures = run(inputs, shard=3, shards=9)
    assert len(transforms) == 1
    transforms, pictures = run(inputs, shard=8, shards=9)
    assert len(transforms) == len(pictures) == 0
