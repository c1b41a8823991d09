import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner
from PIL import Image
from test_preprocess_film import chest

from biomedjourney import pixels, tables
from biomedjourney.preprocess.command import command


@pytest.fixture
def inputs(tmp_path):
    """Five images: one missing, one truncated, one unknown to the table of images."""
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


def run(folder, shard=0, shards=1, processes=1):
    data = {"images": str(folder / "data"), "tables": None, "reports": "x", "demographics": "x"}
    settings = {"data": data, "preprocess": {"size": 64, "shards": shards}}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    flags = [f"--{name}={folder / name}.parquet" for name in ("pairs", "singles", "images")]
    out = folder / f"pixels-{shard}-of-{shards}-{processes}.parquet"
    more = [f"--config={folder / 'config.yaml'}", f"--shard={shard}", f"--out={out}", f"--processes={processes}"]
    result = CliRunner().invoke(command, flags + more, catch_exceptions=False)
    assert result.exit_code == 0, result.output
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
    assert "table of images" in rows["e"]["reason"]


def test_shards_share_the_work_and_processes_change_nothing(inputs):
    whole = run(inputs)
    parts = [run(inputs, shard, 2) for shard in (0, 1)]
    assert sorted((row["dicom_id"], row["png"]) for part in parts for row in part if row["png"]) == [
        (row["dicom_id"], row["png"]) for row in whole if row["png"]
    ]
    assert run(inputs, processes=2) == whole


def test_a_shard_too_many_is_refused(inputs):
    with pytest.raises(AssertionError, match="counted from 0"):
        run(inputs, shard=1)
