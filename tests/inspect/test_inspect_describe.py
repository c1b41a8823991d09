import random
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from biomedjourney import tables
from biomedjourney.cli import commands
from biomedjourney.errors import UserError
from tests.helpers import fabricated


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return fabricated.write(tmp_path_factory.mktemp("tables"), patients=8, systems=("copy-prior",))


def test_every_column_of_every_table_is_explained(written: dict[str, Path]) -> None:
    for name, path in written.items():
        declared = tables.table(name.split("/")[0])
        output = CliRunner().invoke(commands, ["inspect", str(path)], catch_exceptions=False).output
        assert output.startswith(f"{declared.name}: {declared.description}")
        for column in tables.read_arrow(path, declared.name).column_names:
            meaning = declared.column_for(column)
            assert meaning is not None
            assert meaning.description in output
            assert column in output


def test_rows_units_and_counts_are_shown(written: dict[str, Path]) -> None:
    output = CliRunner().invoke(commands, ["inspect", str(written["pairs"]), "--rows", "2"]).output
    pairs = tables.read(written["pairs"], "pairs")
    assert f"rows: {len(pairs)}" in output
    assert "days" in output
    assert pairs["pair_id"][0] in output
    assert pairs["pair_id"][1] in output
    assert output.count("  interval_days") == 2
    assert f"the first 2 of {len(pairs)} rows" in output
    assert "the first" not in CliRunner().invoke(commands, ["inspect", str(written["pairs"]), "--rows", "0"]).output


def test_binary_columns_are_shown_by_their_size(written: dict[str, Path]) -> None:
    size = len(tables.read(written["pixels"], "pixels")["png"][0])
    output = CliRunner().invoke(commands, ["inspect", str(written["pixels"]), "--rows", "1"]).output
    assert f"{size:,} bytes" in output


def test_an_empty_table_is_explained_too(tmp_path: Path) -> None:
    columns = [c.name for c in tables.table("cohort").columns]
    tables.write(tmp_path / "cohort.parquet", "cohort", pd.DataFrame(columns=columns))
    assert "rows: 0" in CliRunner().invoke(commands, ["inspect", str(tmp_path / "cohort.parquet")]).output


def test_other_files_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "foreign.parquet")
    for name, expected in (
        ("a.csv", "not a readable Parquet file"),
        ("foreign.parquet", "not written by this project"),
        ("none.parquet", "no such file"),
    ):
        error = CliRunner().invoke(commands, ["inspect", str(tmp_path / name)]).exception
        assert isinstance(error, UserError)
        assert expected in str(error)
        assert name in str(error)
        assert "\n" not in str(error)


@pytest.mark.parametrize("name", ["studies", "pixels"])
def test_a_changed_bit_is_one_line_at_most(name: str, written: dict[str, Path], tmp_path: Path) -> None:
    whole, chosen, said = written[name].read_bytes(), random.Random(5), []
    path = tmp_path / "results" / f"{name}.parquet"
    path.parent.mkdir()
    for _ in range(60):
        content = bytearray(whole)
        content[chosen.randrange(len(content))] ^= 1 << chosen.randrange(8)
        path.write_bytes(content)
        for words in ([str(path)], ["--results", str(path.parent), "--sql", f"select * from {name}"]):
            error = CliRunner().invoke(commands, ["inspect", *words]).exception
            assert error is None or isinstance(error, UserError), repr(error)
            said.append(str(error or ""))
    assert sum("damaged" in line for line in said) > 10
    assert not any("\n" in line for line in said)
