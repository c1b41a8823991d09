import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner
from PIL import Image

from biomedjourney import pixels, tables, workers
from biomedjourney.errors import UserError
from biomedjourney.preprocess import rows
from biomedjourney.preprocess.command import command
from tests.helpers import dicom_files
from tests.helpers.drawn_films import chest


@pytest.fixture
def inputs(tmp_path):
    """Five images: one missing, one truncated, one unknown to the images table."""
    (tmp_path / "data").mkdir()
    for name in ("a", "b", "d"):
        Image.fromarray((chest() * 255).astype(np.uint8)).save(tmp_path / "data" / f"{name}.jpg")
    broken = tmp_path / "data" / "d.jpg"
    broken.write_bytes(broken.read_bytes()[:300])
    names = ["a", "b", "c", "d"]
    image = {"study_id": 1, "subject_id": 1, "view": "PA", "rows": 300, "columns": 260, "official_split": "train"}
    images = pd.DataFrame([{"dicom_id": n, "path": f"{n}.jpg", **image} for n in names])
    singles = pd.DataFrame(
        [{"dicom_id": n, "study_id": 1, "subject_id": 1, "split": "train", "text": "t"} for n in "ac"]
    )
    pair = {"subject_id": 1, "prior_study_id": 1, "study_id": 2, "interval_days": 1.0, "split": "train"}
    pairs = pd.DataFrame(
        [
            {"pair_id": "1-2", "prior_dicom_id": "b", "dicom_id": "d", **pair},
            {"pair_id": "2-3", "prior_dicom_id": "d", "dicom_id": "e", **pair},
        ]
    )
    for name, frame in (("images", images), ("singles", singles), ("pairs", pairs)):
        tables.write(tmp_path / f"{name}.parquet", name, frame)
    return tmp_path


def run(folder, shard=0, shards=1, processes=1, largest_refused_share=0.05, log=None):
    step_settings = {"size": 64, "shards": shards, "largest_refused_share": largest_refused_share}
    settings = {"data": {"images": str(folder / "data")}, "preprocess": step_settings}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    flags = [f"--{name}={folder / name}.parquet" for name in ("pairs", "singles", "images")]
    out = folder / f"pixels-{shard}-of-{shards}-{processes}.parquet"
    more = [f"--config={folder / 'config.yaml'}", f"--shard={shard}", f"--out={out}", f"--processes={processes}"]
    result = CliRunner().invoke(command, flags + more, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    if log is not None:
        log.append(result.output)
    return list(tables.read_stream(out, "pixels"))


def test_every_image_has_a_row_and_a_bad_one_its_reason(inputs):
    rows = {row["dicom_id"]: row for row in run(inputs)}
    assert list(rows) == ["a", "b", "c", "d", "e"]
    assert pixels.decode_png(rows["a"]["png"]).shape == (64, 64)
    assert rows["a"]["reason"] == ""
    assert len(rows["a"]["to_original"]) == 6
    assert [rows[name]["png"] for name in "cde"] == [None, None, None]
    assert "missing" in rows["c"]["reason"]
    assert "not a readable image" in rows["d"]["reason"]
    assert "images table" in rows["e"]["reason"]


def test_shards_share_the_work_and_processes_change_nothing(inputs):
    whole = run(inputs)
    parts = [run(inputs, shard, 2) for shard in (0, 1)]
    assert sorted((row["dicom_id"], row["png"]) for part in parts for row in part if row["png"]) == [
        (row["dicom_id"], row["png"]) for row in whole if row["png"]
    ]
    assert run(inputs, processes=2) == whole
    assert [row for part in parts for row in part] == whole


def test_the_images_of_a_patient_are_neighbours(inputs):
    singles = pd.DataFrame(
        {"dicom_id": ["a", "f", "c", "g"], "subject_id": [2, 1, 1, 3], "study_id": 1, "split": "train"}
    )
    tables.write(inputs / "singles.parquet", "singles", singles.assign(text="t"))
    pair = {"subject_id": 2, "prior_study_id": 1, "study_id": 2, "interval_days": 1.0, "split": "train"}
    pairs = pd.DataFrame([{"pair_id": "1-2", "prior_dicom_id": "h", "dicom_id": "a", **pair}])
    tables.write(inputs / "pairs.parquet", "pairs", pairs)
    jobs = rows.jobs(*(inputs / f"{name}.parquet" for name in ("pairs", "singles", "images")), inputs, 64)
    assert [job.dicom_id for job in jobs] == ["c", "f", "a", "h", "g"]


@pytest.mark.parametrize("count", [0, 1, 3, 4, 7, 100])
@pytest.mark.parametrize("shards", [1, 3, 4, 9])
def test_shards_are_neighbours_of_about_one_size(count, shards):
    parts = [rows.part_of(range(count), shard, shards) for shard in range(shards)]
    assert [item for part in parts for item in part] == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("processes", [1, 2])
def test_the_log_counts_the_films_of_which_a_window_was_ignored(inputs, processes):
    write_singles(inputs, good=3, missing=0)
    images = tables.read(inputs / "images.parquet", "images").assign(path=[f"film{k}.dcm" for k in range(3)])
    tables.write(inputs / "images.parquet", "images", images)
    stored = (chest() * 4095).astype(np.uint16)
    for name, width in (("film0", 4096), ("film1", 0), ("film2", 2)):
        dicom_files.write(inputs / "data" / f"{name}.dcm", stored, WindowCenter=2048, WindowWidth=width)
    log = []
    rows = run(inputs, processes=processes, log=log)
    assert len({row["png"] for row in rows}) == 1
    assert "3 pictures" in log[0]
    assert "a DICOM window, table or rescale of 2 films was ignored" in log[0]
    dicom_files.write(inputs / "data" / "film1.dcm", stored)
    dicom_files.write(inputs / "data" / "film2.dcm", stored)
    run(inputs, processes=processes, log=log)
    assert "window" not in log[1]


def test_a_shard_too_many_is_refused(inputs):
    with pytest.raises(AssertionError, match="counted from 0"):
        run(inputs, shard=1)


def write_singles(folder, good, missing):
    """Tables of so many images whose file is there, or is not."""
    names = [f"good{k}" for k in range(good)] + [f"missing{k}" for k in range(missing)]
    for name in names[:good]:
        Image.fromarray((chest() * 255).astype(np.uint8)).save(folder / "data" / f"{name}.jpg")
    image = {"study_id": 1, "subject_id": 1, "view": "PA", "rows": 300, "columns": 260, "official_split": "train"}
    single = {"study_id": 1, "subject_id": 1, "split": "train", "text": "t"}
    tables.write(
        folder / "images.parquet", "images", pd.DataFrame([{"dicom_id": n, "path": f"{n}.jpg", **image} for n in names])
    )
    tables.write(folder / "singles.parquet", "singles", pd.DataFrame([{"dicom_id": n, **single} for n in names]))
    pairs = tables.read(folder / "pairs.parquet", "pairs").iloc[:1]
    tables.write(folder / "pairs.parquet", "pairs", pairs.assign(prior_dicom_id=names[0], dicom_id=names[1]))


@pytest.mark.parametrize("processes", [1, 2])
def test_too_many_refused_films_end_the_step_and_leave_no_file(inputs, processes):
    write_singles(inputs, good=30, missing=11)
    with pytest.raises(UserError, match=r"preprocess.*films were refused.*missing.*preprocess\.largest_refused_share"):
        run(inputs, processes=processes)
    assert not [path for path in inputs.iterdir() if "pixels" in path.name]


def test_films_up_to_the_largest_share_may_be_refused(inputs):
    write_singles(inputs, good=33, missing=11)
    rows = run(inputs, largest_refused_share=0.25)
    assert sum(row["png"] is None for row in rows) == 11


@pytest.mark.parametrize("processes", [1, 2])
def test_a_fault_of_the_program_ends_the_step_and_names_the_film(inputs, processes):
    """The fault here: a size that is no number."""
    job = rows.Job("a", inputs / "data" / "a.jpg", size=None)
    with pytest.raises(TypeError) as caught:
        list(workers.map_ordered(rows.work, [job], processes))
    assert caught.value.__notes__ == [f"preprocess was working on {inputs / 'data' / 'a.jpg'}"]
