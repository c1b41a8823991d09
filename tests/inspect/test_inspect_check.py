"""`inspect --check`: what is whole passes, and each kind of damage is one line that names file and rule."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner

from biomedjourney import pixels, sums, tables
from biomedjourney.cli import commands
from biomedjourney.errors import UserError
from biomedjourney.inspect.check import check
from biomedjourney.train import checkpoint
from tests.helpers import fabricated, tiny

TABLE = "tables/pairs.parquet"
SHARD = "pixels/0.parquet"
MODEL = "models/first-stage/diffusion_pytorch_model.safetensors"
STATE = "checkpoints/stage1-0123/state-4.pt"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    written = fabricated.write(folder / "made", patients=4, systems=("biomedjourney",))
    results = folder / "results"
    for name, path in written.items():
        place = {"pixels": SHARD, "pairs": TABLE}.get(name)
        if place:
            (results / place).parent.mkdir(parents=True, exist_ok=True)
            path.rename(results / place)
    published = tiny.first_stage(folder / "published")
    with sums.model_folder(results / "models" / "first-stage") as model:
        shutil.copytree(published, model, dirs_exist_ok=True)
    state = dict.fromkeys(checkpoint.PARTS, 0) | {"step": 4, "unet": torch.zeros(1000)}
    checkpoint.save((results / STATE).parent, state)
    (results / "report").mkdir()
    (results / "report" / "index.html").write_text("<html>a report</html>\n")
    (results / "report" / "grid.png").write_bytes(pixels.encode_png(torch.rand(9, 9).numpy()))
    (results / "tables" / ".pairs.parquet.x.part").write_bytes(b"half")
    return results


@pytest.fixture
def results(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "results")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip(path: Path) -> None:
    """One bit, of a table in the middle of its largest column."""
    content = bytearray(path.read_bytes())
    place = len(content) // 2
    if path.suffix == ".parquet":
        group = pq.ParquetFile(path).metadata.row_group(0)
        largest = max(map(group.column, range(group.num_columns)), key=lambda chunk: chunk.total_compressed_size)
        place = (largest.dictionary_page_offset or largest.data_page_offset) + largest.total_compressed_size // 2
    content[place] ^= 4
    path.write_bytes(content)


def rename(path: Path) -> None:
    table = pq.read_table(path)
    pq.write_table(table.rename_columns(["other", *table.column_names[1:]]), path)


def drop(path: Path) -> None:
    pq.write_table(pq.read_table(path).drop_columns(["subject_id"]), path)


def retype(path: Path) -> None:
    table = pq.read_table(path)
    place = table.column_names.index("subject_id")
    pq.write_table(table.set_column(place, "subject_id", table["subject_id"].cast(pa.string())), path)


def omit(path: Path) -> None:
    """One value that may not be missing."""
    table = pq.read_table(path)
    place = table.column_names.index("subject_id")
    values = [None, *table["subject_id"].to_pylist()[1:]]
    pq.write_table(table.set_column(place, "subject_id", pa.array(values, pa.int64())), path)


def no_rows(path: Path) -> None:
    pq.write_table(pq.read_table(path).slice(0, 0), path)


def empty_folder(path: Path) -> None:
    shutil.rmtree(path)
    path.mkdir()


def other(path: Path) -> None:
    """Another table in its place."""
    shutil.copy(path.parents[1] / (TABLE if path.match(SHARD) else SHARD), path)


FAULTS = [
    *((place, fault) for place in (TABLE, SHARD, MODEL, STATE) for fault in (cut, empty, flip)),
    *((TABLE, fault) for fault in (rename, drop, retype, omit, no_rows, other)),
    *((SHARD, fault) for fault in (rename, other)),
    ("report/index.html", cut),
    ("report/grid.png", cut),
    (MODEL, Path.unlink),
    ("models/first-stage", empty_folder),
    ("models/first-stage/config.json", flip),
    ("models/first-stage/checksums.sha256", empty),
]
RULES = {TABLE: "pair_studies", SHARD: "preprocess_images", STATE: "to train from the start"}


@pytest.mark.parametrize(("place", "fault"), FAULTS, ids=[f"{fault.__name__}-{place}" for place, fault in FAULTS])
def test_damage_is_one_line_with_the_file_and_the_rule(
    place: str, fault: Callable[[Path], object], results: Path
) -> None:
    fault(results / place)
    run = CliRunner().invoke(commands, ["inspect", "--check", "--results", str(results)])
    assert isinstance(run.exception, UserError)
    damaged, count = str(run.exception).splitlines()
    assert damaged.startswith(f"{results / place}: ")
    expected = RULES.get(place, "rule write_report" if "report" in place else "rule pretrain_first_stage")
    assert expected in damaged
    assert count.endswith(": 1 of 6 are damaged")


def test_what_a_killed_command_left_is_told_in_the_same_line(whole: Path) -> None:
    assert check(whole).endswith(
        "; 1 unfinished files and folders of commands that were killed can be deleted while nothing runs: "
        f"find {whole} -name '.*.part' -exec rm -r {{}} +"
    )


def test_what_is_whole_is_one_line(whole: Path) -> None:
    counts = "2 tables and shards, 1 models, 1 saved states of trainings, 2 pages and pictures"
    assert check(whole).startswith(f"{whole}: whole: {counts}")


def test_a_picture_that_was_written_damaged_is_found(results: Path) -> None:
    rows = pq.read_table(results / SHARD).to_pylist()
    rows[1]["png"] = rows[1]["png"][:40]
    tables.write_stream(results / SHARD, "pixels", [rows])
    with pytest.raises(UserError, match=rf"pixels/0.parquet: dicom_id {rows[1]['dicom_id']}: a stored picture cannot"):
        check(results)


def test_a_folder_without_results_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing to check"):
        check(tmp_path)
