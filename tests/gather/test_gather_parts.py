import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from biomedjourney import tables
from biomedjourney.cli import commands
from biomedjourney.errors import UserError
from tests.helpers import fabricated


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return fabricated.write(tmp_path_factory.mktemp("tables"), patients=12, systems=())


def split(name: str, path: Path, folder: Path) -> list[str]:
    rows = tables.read_arrow(path, name)
    parts = []
    for i, part in enumerate((rows.slice(0, 5), rows.slice(5, 0), rows.slice(5))):
        parts.append(str(folder / f"{i}.parquet"))
        tables.write(parts[-1], name, part)
    return parts


@pytest.mark.parametrize("name", ["registrations", "training", "pixels", "progressions"])
def test_parts_make_the_whole(name: str, whole: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "all.parquet"
    result = CliRunner().invoke(
        commands, ["gather", "parts", name, *split(name, whole[name], tmp_path), "--out", str(out)]
    )
    assert result.exit_code == 0, result.output
    gathered = tables.read_arrow(out, name)
    assert gathered.equals(tables.read_arrow(whole[name], name))
    assert gathered.schema.equals(tables.read_arrow(whole[name], name).schema, check_metadata=True)


@pytest.mark.parametrize(("part", "whole_mode"), [(0o600, 0o600), (0o640, 0o640), (0o644, 0o644)])
def test_who_cannot_read_a_part_cannot_read_the_whole(
    part: int, whole_mode: int, whole: dict[str, Path], tmp_path: Path
) -> None:
    words = split("pixels", whole["pixels"], tmp_path)
    for path in words[:2]:
        Path(path).chmod(0o644)
    Path(words[2]).chmod(part)
    out, before = tmp_path / "all.parquet", os.umask(0o022)
    try:
        assert CliRunner().invoke(commands, ["gather", "parts", "pixels", *words, "--out", str(out)]).exit_code == 0
    finally:
        assert os.umask(before) == 0o022
    assert out.stat().st_mode & 0o777 == whole_mode


def test_a_part_given_twice_is_refused_and_nothing_is_written(whole: dict[str, Path], tmp_path: Path) -> None:
    first, _, rest = split("pixels", whole["pixels"], tmp_path)
    out = tmp_path / "all.parquet"
    error = CliRunner().invoke(commands, ["gather", "parts", "pixels", first, rest, first, "--out", str(out)]).exception
    assert isinstance(error, UserError)
    assert "dicom_id=" in str(error)
    assert "already" in str(error)
    assert not out.exists()
    assert not list(tmp_path.glob(".*"))


def test_parts_with_other_columns_or_of_another_table_are_named(whole: dict[str, Path], tmp_path: Path) -> None:
    truth = tables.read(whole["truth"], "truth")
    one, two = tmp_path / "1.parquet", tmp_path / "2.parquet"
    tables.write(one, "truth", truth.iloc[:3])
    tables.write(two, "truth", truth.iloc[3:].drop(columns="severity_edema"))
    for name, expected in (
        ("truth", "'severity_edema'"),
        ("pairs", "not a table 'pairs'"),
        ("fish", "no table 'fish'"),
    ):
        words = ["gather", "parts", name, str(one), str(two), "--out", str(tmp_path / "all.parquet")]
        error = CliRunner().invoke(commands, words).exception
        assert isinstance(error, UserError)
        assert expected in str(error)


def test_no_part_is_a_usage_error(tmp_path: Path) -> None:
    result = CliRunner().invoke(commands, ["gather", "parts", "pairs", "--out", str(tmp_path / "x.parquet")])
    assert result.exit_code == 2
    assert "PARTS" in result.output
