from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner
from PIL import Image
from scipy import ndimage

from biomedjourney import pixels, tables
from biomedjourney.errors import UserError
from biomedjourney.preprocess import views
from biomedjourney.preprocess.film import load, load_field
from biomedjourney.preprocess.rows import Job, groups, part_of, work
from biomedjourney.preprocess.rows import jobs as preprocess_jobs
from biomedjourney.register import affine, rows, spline
from biomedjourney.register.command import command
from tests.helpers.drawn_films import bent, chest_with_vessels

SIDE = 256  # pixels of the films' files
SHIFT = 16  # pixels by which film b lies to the right of film a


@pytest.fixture
def inputs(tmp_path):
    """A good pair, one with a film that preprocess refused, one with an unknown film, and one with a blank one."""
    film = chest_with_vessels(SIDE)
    films = {"a": film, "b": np.roll(film, SHIFT, axis=1)}
    write_films(tmp_path, films, no_films={"c": None, "e": np.zeros((64, 64))})
    write_pairs(tmp_path, ("4-5", "a", "e"), ("1-2", "a", "b"), ("2-3", "a", "c"), ("3-4", "d", "b"))
    return tmp_path


def write_films(folder, films, no_films=None):
    """Each film in a file and, by `preprocess`, in one table of pixels; the stored pictures of no films in another."""
    for name, film in films.items():
        Image.fromarray(np.rint(film * 255).astype(np.uint8)).save(folder / f"{name}.png")
    film_rows = [work(Job(name, folder / f"{name}.png", 64)).row for name in films]
    assert all(film_row["png"] for film_row in film_rows)
    other_rows = []
    for name, picture in (no_films or {}).items():
        png, reason = (None, "truncated file") if picture is None else (pixels.encode_png(picture), "")
        other_rows.append({"dicom_id": name, "png": png, "inverted": False, "to_original": None, "reason": reason})
    write_pixels(folder, film_rows, other_rows)


def write_pixels(folder, *parts):
    """The tables of pixels, and the images table for all their files."""
    for number, pixel_rows in enumerate(parts):
        tables.write_stream(folder / f"pixels{number}.parquet", "pixels", [pixel_rows])
    names = [pixel_row["dicom_id"] for pixel_rows in parts for pixel_row in pixel_rows]
    image = {"study_id": 1, "subject_id": 1, "view": "PA", "rows": SIDE, "columns": SIDE, "official_split": "train"}
    paths = {name: name if "." in name else f"{name}.png" for name in names}
    images = pd.DataFrame([{"dicom_id": name, "path": path, **image} for name, path in paths.items()])
    tables.write(folder / "images.parquet", "images", images)


def write_pairs(folder, *pairs, split="train"):
    """Pairs given as (pair, prior image, current image)."""
    pair_rows = []
    for pair_id, prior, current in pairs:
        studies = pair_id.split("-") if pair_id.replace("-", "").isdigit() else (1, 2)
        pair_row = {"pair_id": pair_id, "subject_id": 1, "prior_study_id": int(studies[0]), "study_id": int(studies[1])}
        images = {"prior_dicom_id": prior, "dicom_id": current}
        pair_rows.append(pair_row | images | {"interval_days": 1.0, "split": split})
    tables.write(folder / "pairs.parquet", "pairs", pd.DataFrame(pair_rows))


def invoke(folder, *flags, shards=1, transform="affine", threshold=0.4, largest_failed_share=0.05):
    step_settings = {"transform": transform, "threshold": threshold, "shards": shards}
    step_settings["largest_failed_share"] = largest_failed_share
    settings = {"data": {"images": str(folder)}, "register": step_settings}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    flags = [f"--pixels={folder / f'pixels{part}.parquet'}" for part in (0, 1)] + list(flags)
    flags += [f"--{name}={folder / name}.parquet" for name in ("pairs", "images", "registered", "registrations")]
    result = CliRunner().invoke(command, [f"--config={folder / 'config.yaml'}", *flags], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def run(folder, *flags, **settings):
    """(rows of the table `registrations` as a frame, rows of the table `registered` as a list)."""
    invoke(folder, *flags, **settings)
    registered = list(tables.read_stream(folder / "registered.parquet", "registered"))
    return tables.read(folder / "registrations.parquet", "registrations"), registered


def canonical_shift(folder, prior, current, shift):
    """The true matrix between canonical pictures of films of which the current one is shifted to the right."""
    to_prior_file, to_current_file = (load(folder / f"{name}.png", 64).to_original for name in (prior, current))
    inverse = np.linalg.inv(np.vstack([to_prior_file, [0, 0, 1]]))[:2]
    return affine.compose(inverse, affine.compose(np.array([[1.0, 0, -shift], [0, 1.0, 0]]), to_current_file))


def detail(picture):
    """The energy above half of the Nyquist frequency, over the middle of the picture."""
    middle = picture[8:-8, 8:-8]
    frequency, fade = np.fft.fftfreq(len(middle)), np.hanning(len(middle))
    spectrum = np.fft.fft2((middle - middle.mean()) * np.outer(fade, fade))
    return float((np.abs(spectrum) ** 2)[np.hypot(frequency, frequency[:, None]) > 0.25].sum())


def test_a_row_for_every_pair_and_a_reason_for_a_bad_one(inputs):
    registrations, registered = run(inputs)
    assert list(registrations["pair_id"]) == ["1-2", "2-3", "3-4", "4-5"]
    assert list(registrations["accepted"]) == [True, False, False, False]
    matrix = np.array(registrations["matrix"][0]).reshape(2, 3)
    assert matrix == pytest.approx(canonical_shift(inputs, "a", "b", SHIFT), abs=0.5)
    for k, words in ((1, "truncated file"), (2, "not among the pixels"), (3, "blank")):
        assert words in registrations["reason"][k]
        assert registrations["matrix"][k] is None
        assert registered[k]["png"] is None
    covered = pixels.decode_png(registered[0]["coverage"])
    assert set(np.unique(covered)) == {0.0, 1.0}
    registered_prior = pixels.decode_png(registered[0]["png"])
    current = load(inputs / "b.png", 64).picture
    assert np.abs(registered_prior - current)[:, 8:].mean() < 0.03
    assert "4 pairs, 1 accepted, 2 failed, 1 with a film that preprocess refused" in invoke(inputs)


def test_shards_and_processes_change_nothing(inputs):
    whole, registered = run(inputs)
    first, _ = run(inputs, "--shard=0", shards=2)
    second, _ = run(inputs, "--shard=1", shards=2)
    assert sorted([*first["pair_id"], *second["pair_id"]]) == list(whole["pair_id"])
    again, same = run(inputs, "--processes=2")
    pd.testing.assert_frame_equal(whole, again)
    assert same == registered


def test_the_prior_is_resampled_once_and_keeps_its_detail(tmp_path):
    """A grainy film, moved by a number of pixels of its file that is a fraction of a canonical pixel."""
    grain = np.random.default_rng(3).normal(size=(SIDE, SIDE))
    film = np.clip(chest_with_vessels(SIDE) + 0.1 * ndimage.gaussian_filter(grain, 1.2), 0, 1)
    write_films(tmp_path, {"a": film, "b": np.roll(film, 6, axis=(0, 1))})
    write_pairs(tmp_path, ("1-2", "a", "b"))
    registrations, (registered,) = run(tmp_path, transform="rigid")
    prior, current = (load(tmp_path / f"{name}.png", 64).picture for name in "ab")
    registered_prior = pixels.decode_png(registered["png"])
    matrix = np.reshape(registrations["matrix"][0], (2, 3))
    resampled_twice = affine.warp(prior, matrix, (64, 64))
    assert detail(registered_prior) > 0.85 * detail(current)
    assert detail(resampled_twice) < 0.6 * detail(current)
    field = load_field(tmp_path / "a.png", 64)
    expected = field.seen_at(affine.applied(matrix, affine.grid((64, 64))))
    assert np.abs(registered_prior - expected).max() < 0.003  # 8 bits


def test_a_film_of_the_opposite_grey_scale_takes_that_of_the_current_film(tmp_path, monkeypatch):
    """As if the grey scale of the prior had not been recognised."""
    monkeypatch.setattr(views, "recognise", lambda picture: (False, ""))
    film = chest_with_vessels(SIDE)[:, 20:-20]
    write_films(tmp_path, {"positive": film, "negative": 1 - film, "b": np.roll(film, SHIFT, axis=0)})
    write_pairs(tmp_path, ("1-2", "positive", "b"), ("2-3", "negative", "b"))
    registrations, registered = run(tmp_path)
    assert "opposite grey scales" in registrations["reason"][1]
    positive, negative = (pixels.decode_png(picture_row["png"]) for picture_row in registered)
    assert np.abs(positive - negative).mean() < 0.04  # one is registered a little differently
    assert (negative[:, 0] == 0).all()


def test_a_spline_has_a_displacement_in_place_of_a_matrix_and_fits_a_bent_film_better(tmp_path):
    film = chest_with_vessels(SIDE)
    bent_film, file_displacement = bent(film, SIDE / 16)
    write_films(tmp_path, {"a": film, "b": bent_film})
    write_pairs(tmp_path, ("1-2", "a", "b"))
    fields = [load_field(tmp_path / f"{name}.png", 64) for name in "ab"]
    assert [field.box for field in fields] == [(0, 0, 64, 64)] * 2  # one scale: a file pixel is a quarter of a pixel
    true_displacement = ndimage.zoom(file_displacement, (0.25, 0.25, 1), order=1) / 4
    current = fields[1].canonical().picture
    inside = np.s_[12:-12, 12:-12]
    pictures, registrations = {}, {}
    for transform in ("affine", "bspline"):
        frame, (registered,) = run(tmp_path, transform=transform)
        registrations[transform], pictures[transform] = frame.iloc[0], pixels.decode_png(registered["png"])
    assert registrations["affine"]["displacement"] is None
    assert registrations["bspline"]["matrix"] is None
    displacement = spline.at_pixels(np.reshape(registrations["bspline"]["displacement"], (7, 7, 2)), (64, 64))
    errors = np.linalg.norm(displacement - true_displacement, axis=-1)
    assert errors[inside].mean() < 0.4  # pixels; the best affine map leaves 0.9
    by_affine, by_spline = (np.abs(pictures[name] - current)[inside].mean() for name in ("affine", "bspline"))
    assert by_spline < 0.5 * by_affine


def test_backward_registers_the_later_film_onto_the_earlier_one(inputs):
    forward, _ = run(inputs)
    backward, registered = run(inputs, "--direction=backward")
    assert list(backward["pair_id"]) == ["2-1", "3-2", "4-3", "5-4"]
    there, back = (np.reshape(frame["matrix"][0], (2, 3)) for frame in (forward, backward))
    assert affine.compose(there, back) == pytest.approx(np.eye(2, 3), abs=0.3)
    earlier = load(inputs / "a.png", 64).picture
    assert np.abs(pixels.decode_png(registered[0]["png"]) - earlier)[:, :-8].mean() < 0.03
    shards = [run(inputs, "--direction=backward", f"--shard={shard}", shards=2)[0]["pair_id"] for shard in (0, 1)]
    assert [list(pair_ids) for pair_ids in shards] == [["2-1", "3-2"], ["4-3", "5-4"]]


def bytes_read():
    """What this process has read so far, from files or elsewhere."""
    return int(Path("/proc/self/io").read_text().split()[1])


def write_cohort(folder, patients, visits, shards, png_bytes):
    """Tables of singles, pairs and images, and pixels in shards as `preprocess` deals them; pictures are noise."""
    rng = np.random.default_rng(0)
    singles, pair_rows = [], []
    for subject in range(patients):
        studies = rng.choice(10**8, visits, replace=False) + 10**8
        films = [(rng.bytes(10).hex(), int(study)) for study in studies]
        for film, study in films:
            singles.append({"dicom_id": film, "study_id": study, "subject_id": subject, "split": "train", "text": ""})
        for (prior, prior_study), (film, study) in pairwise(films):
            pair_row = {"pair_id": f"{prior_study}-{study}", "subject_id": subject, "interval_days": 1.0}
            pair_row |= {"prior_study_id": prior_study, "study_id": study, "split": "train"}
            pair_rows.append(pair_row | {"prior_dicom_id": prior, "dicom_id": film})
    image = {"view": "PA", "rows": SIDE, "columns": SIDE, "official_split": "train", "path": "film.png"}
    keys = ("dicom_id", "study_id", "subject_id")
    images = [{key: single[key] for key in keys} | image for single in singles]
    paths = {name: folder / f"{name}.parquet" for name in ("singles", "pairs", "images")}
    for name, table_rows in (("singles", singles), ("pairs", pair_rows), ("images", images)):
        tables.write(paths[name], name, pd.DataFrame(table_rows))
    films = preprocess_jobs(paths["pairs"], paths["singles"], paths["images"], folder, 64)
    stored = [folder / f"pixels-{shard}.parquet" for shard in range(shards)]
    for shard, path in enumerate(stored):
        rest = {"inverted": False, "to_original": None, "reason": ""}
        pixel_rows = ({"dicom_id": film.dicom_id, "png": rng.bytes(png_bytes)} | rest
                      for film in part_of(films, shard, shards))  # fmt: skip
        tables.write_stream(path, "pixels", groups(pixel_rows, 64))
    return paths["pairs"], stored


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize(("pixel_shards", "shards"), [(8, 8), (5, 7), (1, 4)])
def test_each_shard_reads_the_pictures_of_its_own_pairs(tmp_path, direction, pixel_shards, shards):
    pairs, stored = write_cohort(tmp_path, patients=800, visits=4, shards=pixel_shards, png_bytes=8_000)
    whole = sum(path.stat().st_size for path in stored)
    seen, read = [], []
    for shard in range(shards):
        shard_pairs = rows.pairs_of(pairs, direction, shard, shards)
        before = bytes_read()
        for job, pair in zip(rows.jobs(shard_pairs, stored, {}), shard_pairs, strict=True):
            assert job.pair_id == pair.pair_id
            assert (job.prior["dicom_id"], job.current["dicom_id"]) == (pair.prior_dicom_id, pair.dicom_id)
            seen.append(job.pair_id)
        read.append(bytes_read() - before)
    assert sorted(seen) == sorted(pair.pair_id for pair in rows.pairs_of(pairs, direction, 0, 1))
    assert len(set(seen)) == 800 * 3
    assert max(read) < 1.3 * whole / shards + 1_500_000  # the latter for the keys and the footers of all files


def test_only_training_pairs_are_read_backward(inputs):
    write_pairs(inputs, ("1-2", "a", "b"), split="test")
    registrations, registered = run(inputs, "--direction=backward")
    assert len(registrations) == len(registered) == 0
    assert len(run(inputs, "--direction=forward")[0]) == 1


def bad_files(folder):
    """The name of each bad file, and what its reason has to say."""
    film = Image.fromarray((chest_with_vessels(300) * 255).astype(np.uint8))
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
    no_film = {"blank.png": "blank", "constant.png": "blank", "tiny.png": "tiny", "strip.png": "strip"}
    return no_film | unreadable | {"turned.jpg": "upside down", "missing.jpg": "missing"}


def test_a_film_that_preprocess_refused_gives_a_row_with_its_reason_and_is_no_failure(tmp_path):
    Image.fromarray((chest_with_vessels(300) * 255).astype(np.uint8)).save(tmp_path / "good.png")
    bad = bad_files(tmp_path)
    pixel_rows = [work(Job(name, tmp_path / name, 64)).row for name in ("good.png", *bad)]
    assert [pixel_row["dicom_id"] for pixel_row in pixel_rows if pixel_row["png"]] == ["good.png"]
    write_pixels(tmp_path, pixel_rows[::2], pixel_rows[1::2])
    pairs = [(name, "good.png") for name in bad] + [("good.png", name) for name in bad] + [("good.png", "good.png")]
    write_pairs(tmp_path, *((f"{prior}-{current}", prior, current) for prior, current in pairs))
    registrations, _ = run(tmp_path, largest_failed_share=0.0)
    reasons = registrations.set_index("pair_id")["reason"]
    for name, words in bad.items():
        assert words in reasons[f"{name}-good.png"]
        assert words in reasons[f"good.png-{name}"]
    assert list(registrations.loc[registrations["accepted"], "pair_id"]) == ["good.png-good.png"]


def unknown_to_the_images_table(folder):
    images = tables.read(folder / "images.parquet", "images")
    tables.write(folder / "images.parquet", "images", images[images["dicom_id"] != "a"])


def another_film_in_its_place(folder):
    Image.fromarray((chest_with_vessels(SIDE)[40:, 60:] * 255).astype(np.uint8)).save(folder / "a.png")


def the_negative_in_its_place(folder):
    Image.fromarray(255 - np.asarray(Image.open(folder / "a.png"))).save(folder / "a.png")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: (folder / "a.png").unlink(), "a.png: the image file is missing"),
        (lambda folder: (folder / "a.png").write_bytes(b"damaged"), "a.png: not a readable image"),
        (another_film_in_its_place, "a.png: the file has changed since preprocess"),
        (the_negative_in_its_place, "a.png: the file has changed since preprocess"),
        (unknown_to_the_images_table, "the images table does not know the prior image"),
    ],
)
def test_a_file_that_is_no_longer_what_preprocess_read_is_a_failure_with_a_reason(inputs, change, words):
    change(inputs)
    registrations, registered = run(inputs)
    assert words in registrations["reason"][0]
    assert np.isnan(registrations["score_after"][0])
    assert registered[0]["png"] is None
    assert "3 failed" in invoke(inputs)


@pytest.mark.parametrize("processes", [1, 2])
def test_too_many_failures_end_the_step_and_leave_no_file(inputs, processes):
    write_pairs(inputs, ("1-2", "a", "b"), *((f"{k}-{k + 1}", "unknown", "b") for k in range(2, 13)))
    words = (
        r"register.*pairs were refused \(11 x the prior image is not among the pixels\).*register\.largest_failed_share"
    )
    with pytest.raises(UserError, match=words):
        run(inputs, f"--processes={processes}")
    assert not list(inputs.glob("*regist*"))
    registrations, _ = run(inputs, f"--processes={processes}", largest_failed_share=0.92)
    assert len(registrations) == 12


def test_a_pair_below_the_threshold_is_not_accepted_and_is_no_failure(inputs):
    write_pairs(inputs, *((f"{k}-{k + 1}", "a", "b") for k in range(12)))
    registrations, registered = run(inputs, largest_failed_share=0.0, threshold=0.9999)
    assert not registrations["accepted"].any()
    assert registrations["score_after"].notna().all()
    assert all(picture_row["png"] for picture_row in registered)
    assert run(inputs, threshold=0.4)[0]["accepted"].all()


def test_a_fault_of_the_program_ends_the_step_names_the_pair_and_leaves_no_file(inputs, monkeypatch):
    def faulty(*_, **__):
        raise ZeroDivisionError("fault")

    monkeypatch.setattr(rows, "register", faulty)
    with pytest.raises(ZeroDivisionError) as caught:
        run(inputs)
    assert caught.value.__notes__ == ["register was working on pair 1-2"]
    assert not list(inputs.glob("*regist*"))


def test_no_pairs_give_empty_tables(inputs):
    registrations, _ = run(inputs, "--shard=3", shards=9)
    assert len(registrations) == 1
    registrations, registered = run(inputs, "--shard=8", shards=9)
    assert len(registrations) == len(registered) == 0


def test_a_shard_too_many_is_refused(inputs):
    with pytest.raises(AssertionError, match="counted from 0"):
        run(inputs, "--shard=1")
