import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biomedjourney import tables
from biomedjourney.errors import UserError

TYPES = {
    pa.string(): "text",
    pa.bool_(): True,
    pa.binary(): b"\x00\xff",
    pa.timestamp("ms"): pd.Timestamp("2150-03-04 05:06:07.123"),
}


def value(kind: pa.DataType, row: int) -> object:
    if pa.types.is_fixed_size_list(kind):
        return [value(kind.value_type, row)] * kind.list_size
    if pa.types.is_list(kind):
        return [value(kind.value_type, row + i) for i in range(row)]
    if pa.types.is_integer(kind):
        return row
    if pa.types.is_floating(kind):
        return row + 0.5
    if kind == pa.string():
        return f"text {row}"
    return TYPES[kind]


def example(declared: tables.Table, rows: int = 3, *, null: bool = False) -> pa.Table:
    """Rows of any table; a family of columns has two, and with ``null`` the last row has one wherever it may."""
    columns = {}
    for column in declared.columns:
        for name in [column.name[:-1] + end for end in ("a", "b")] if column.is_family else [column.name]:
            values = [value(column.type, row) for row in range(rows)]
            if null and column.nullable:
                values[-1] = None
            columns[name] = pa.array(values, column.type)
    return pa.table(columns)


PAIRS = example(tables.table("pairs")).to_pandas()


@pytest.mark.parametrize("name", tables.TABLES)
@pytest.mark.parametrize("null", [False, True])
def test_every_table_makes_the_round_trip(name: str, null: bool, tmp_path: Path) -> None:
    given_rows, path = example(tables.table(name), null=null), tmp_path / "new" / f"{name}.parquet"
    tables.write(path, name, given_rows)
    read = tables.read_arrow(path, name)
    assert read.to_pylist() == given_rows.select(read.column_names).to_pylist()
    frame = tables.read(path, name)
    tables.write(tmp_path / "again.parquet", name, frame)
    assert tables.read_arrow(tmp_path / "again.parquet", name).equals(read)
    assert tables.row_count(path, name) == 3


@pytest.mark.parametrize("name", tables.TABLES)
def test_every_table_opens_in_duckdb_and_pandas_and_explains_itself(name: str, tmp_path: Path) -> None:
    path, declared = tmp_path / f"{name}.parquet", tables.table(name)
    tables.write(path, name, example(declared))
    found = duckdb.sql(f"select * from '{path}'")
    assert found.columns == list(pd.read_parquet(path).columns) == pq.read_schema(path).names
    assert len(found.fetchall()) == 3
    schema = pq.read_schema(path)
    assert schema.metadata[b"table"] == name.encode()
    assert schema.metadata[b"description"] == declared.description.encode()
    assert schema.metadata[b"key"] == ",".join(declared.key).encode()
    for field in schema:
        column = declared.column_for(field.name)
        assert column is not None
        assert field.metadata[b"description"] == column.description.encode()
        assert field.metadata[b"unit"] == column.unit.encode()
        assert field.nullable == column.nullable


def test_declarations_are_complete() -> None:
    for declared in tables.TABLES.values():
        assert declared.description.endswith(".")
        names = [column.name for column in declared.columns]
        assert len(set(names)) == len(names)
        assert set(declared.key) <= set(names)
        for column in declared.columns:
            assert column.description
            assert not (column.nullable and column.name in declared.key)


def test_tables_that_are_joined_agree_on_the_type_of_what_joins_them() -> None:
    joined_by = ("subject_id", "study_id", "dicom_id", "pair_id", "split", "writer", "system", "seed", "interval_days")
    for name in joined_by:
        columns = [table.column_for(name) for table in tables.TABLES.values()]
        types = [column.type for column in columns if column is not None]
        assert len(types) > 1, name
        assert set(types) == {types[0]}, name
    in_triples = {column.name: column.type for column in tables.table("triples").columns}
    for column in tables.table("pairs").columns:
        assert in_triples[column.name] == column.type


def test_columns_are_put_in_the_declared_order(tmp_path: Path) -> None:
    tables.write(tmp_path / "t.parquet", "pairs", PAIRS[PAIRS.columns[::-1]])
    assert tables.read_arrow(tmp_path / "t.parquet", "pairs").column_names == [
        column.name for column in tables.table("pairs").columns
    ]


def test_small_integers_keep_their_nulls_in_pandas(tmp_path: Path) -> None:
    tables.write(tmp_path / "t.parquet", "studies", example(tables.table("studies"), null=True))
    read = tables.read(tmp_path / "t.parquet", "studies")
    assert read["edema"].dtype == pd.Int8Dtype()
    assert list(read["edema"].isna()) == [False, False, True]
    assert read["age"].dtype == pd.Int16Dtype()


@pytest.mark.parametrize(
    ("broken", "named"),
    [
        (PAIRS.drop(columns="split"), "column 'split' is missing"),
        (PAIRS.assign(splitt="train"), "unknown column 'splitt'"),
        (PAIRS.assign(study_id=["a", "b", "c"]), "study_id"),
        (PAIRS.assign(study_id=[1.5, 2.0, 3.0]), "study_id"),
        (PAIRS.assign(study_id=[1.0, np.nan, 3.0]), "'study_id' has 1 null"),
        (PAIRS.assign(interval_days=[1.0, np.nan, 3.0]), "'interval_days' has 1 null"),
        (PAIRS.assign(split=["train", None, None]), "'split' has 2 null"),
        (PAIRS.assign(pair_id=["1-2", "3-4", "1-2"]), "pair_id=1-2 occurs twice"),
    ],
)
def test_what_does_not_fit_is_refused_by_column(broken: pd.DataFrame, named: str, tmp_path: Path) -> None:
    path = tmp_path / "pairs.parquet"
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match="table pairs") as refused:
        tables.write(path, "pairs", broken)
    assert named in str(refused.value)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["pairs.parquet"]


@pytest.mark.parametrize("column", ["study_id", "interval_days", "split"])
def test_arrow_data_of_a_wrong_type_is_refused_by_column(column: str) -> None:
    wrong = example(tables.table("pairs"))
    i = wrong.column_names.index(column)
    with pytest.raises(ValueError, match=f"column '{column}'"):
        tables.conform("pairs", wrong.set_column(i, column, pa.array([[1.5], [2.5], [3.5]])))
    if column == "study_id":
        with pytest.raises(ValueError, match="column 'study_id'"):
            tables.conform("pairs", wrong.set_column(i, column, pa.array([1.5, 2.5, 3.5])))


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.text(min_size=1), st.binary()), max_size=20, unique_by=lambda row: row[0]), st.integers(1, 7)
)
def test_a_stream_makes_the_round_trip_whatever_its_batches(rows: list[tuple[str, bytes]], size: int) -> None:
    given_rows = [{"training_seed": 0, "seed": 0, "pair_id": pair_id, "png": png} for pair_id, png in rows]
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"stream-{os.getpid()}.parquet"
    try:
        batches = (given_rows[i : i + size] for i in range(0, len(given_rows), size))
        assert tables.write_stream(path, "generated", batches) == len(rows)
        assert list(tables.read_stream(path, "generated", rows=3)) == given_rows
        wanted = [pair_id for pair_id, _ in rows[::2]]
        found = tables.find([path], "generated", "pair_id", wanted, rows=2)
        assert {key: row["png"] for key, row in found.items()} == dict(rows[::2])
    finally:
        path.unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ({"training_seed": 0, "seed": 0, "pair_id": "1-2", "png": b"", "pgn": b""}, "unknown column 'pgn'"),
        ({"training_seed": 0, "seed": 0, "png": b""}, "'pair_id' has 1 null"),
        ({"training_seed": 0, "seed": "x", "pair_id": "1-2", "png": b""}, "'seed'"),
        ({"training_seed": 0, "seed": 0, "pair_id": 7, "png": b""}, "'pair_id'"),
    ],
)
def test_a_stream_refuses_a_wrong_row_by_column_and_keeps_the_old_file(row: dict, named: str, tmp_path: Path) -> None:
    path = tmp_path / "g.parquet"
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match="table generated") as refused:
        tables.write_stream(path, "generated", [[{"training_seed": 0, "seed": 0, "pair_id": "0", "png": b""}], [row]])
    assert named in str(refused.value)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["g.parquet"]


def test_an_exception_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "a" / "f.txt"
    with tables.atomic_path(path) as temporary:
        temporary.write_text("old")
    with pytest.raises(RuntimeError), tables.atomic_path(path) as temporary:  # noqa: PT012
        temporary.write_text("new")
        raise RuntimeError
    assert path.read_text() == "old"
    assert os.listdir(path.parent) == ["f.txt"]


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a" / "model"
    for name in ("first", "second"):
        with tables.atomic_folder(path) as temporary:
            (temporary / name).write_text("")
        assert os.listdir(path) == [name]
    with pytest.raises(RuntimeError), tables.atomic_folder(path) as temporary:  # noqa: PT012
        (temporary / "third").write_text("")
        raise RuntimeError
    assert os.listdir(path) == ["second"]
    assert os.listdir(path.parent) == ["model"]
    (tmp_path / "plain").mkdir()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_kill_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "f.txt"
    path.write_text("old")
    code = (
        "import sys, time\nfrom biomedjourney import tables\n"
        "with tables.atomic_path(sys.argv[1]) as t:\n    t.write_text('half')\n    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        child.send_signal(signal.SIGKILL)
    assert path.read_text() == "old"


def test_a_new_file_has_the_usual_rights(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    with tables.atomic_path(tmp_path / "atomic") as temporary:
        temporary.write_text("")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_readers_refuse_what_is_not_the_table(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    readers = (
        lambda: tables.read(path, "pairs"),
        lambda: list(tables.read_stream(path, "pairs")),
        lambda: tables.row_count(path, "pairs"),
    )

    def refused(expected: str) -> None:
        for reader in readers:
            with pytest.raises(UserError) as error:
                reader()
            assert str(path) in str(error.value)
            assert expected in str(error.value)
            assert "\n" not in str(error.value)

    refused("is not there")
    path.write_bytes(b"no Parquet at all")
    refused("not a readable Parquet file")
    PAIRS.drop(columns="split").to_parquet(path)
    refused("column 'split' is missing")
    PAIRS.assign(extra=1).to_parquet(path)
    refused("unknown column 'extra'")
    PAIRS.assign(study_id=PAIRS["study_id"].astype("int32")).to_parquet(path)
    refused("column 'study_id' of table 'pairs' is int32, expected int64")
    PAIRS.iloc[:0].to_parquet(path, schema=tables.table("pairs").schema(PAIRS.columns))
    refused("table 'pairs' has no rows")


def not_text(column: str) -> pa.Table:
    """The pairs with bytes in a column of text that are not UTF-8, as a changed bit makes them."""
    latin = pa.array(["Größe".encode("latin-1")] * len(PAIRS), pa.binary()).view(pa.string())
    rows = example(tables.table("pairs"))
    return rows.set_column(rows.column_names.index(column), column, latin)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (pa.Table.from_pandas(PAIRS.assign(split=["train", None, None])), "column 'split' of table 'pairs' lacks 2"),
        (pa.Table.from_pandas(PAIRS.assign(interval_days=[1.0, 2.0, None])), "column 'interval_days' of table 'pairs'"),
        (not_text("split"), "damaged (ArrowInvalid: "),
        (not_text("pair_id"), "damaged (ArrowInvalid: "),
    ],
)
def test_readers_refuse_values_that_no_step_writes(rows: pa.Table, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "results" / "tables" / "pairs.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(rows, path)
    for reader in (tables.read, tables.read_arrow, lambda *a: list(tables.read_stream(*a))):
        with pytest.raises(UserError) as error:
            reader(path, "pairs")
        assert str(error.value).startswith(f"{path}: {expected}")
        assert str(error.value).endswith("its rule pair_studies makes it again")


@pytest.mark.parametrize(("name", "is_read"), [("exclusions", True), ("pixels", True), ("pairs", False)])
def test_only_some_tables_may_have_no_rows(name: str, is_read: bool, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.parquet"
    tables.write(path, name, example(tables.table(name), 0))
    if is_read:
        assert tables.read(path, name).empty
    else:
        with pytest.raises(UserError, match="has no rows"):
            tables.read(path, name)


def test_pictures_that_are_missing_name_the_file_without_rows(tmp_path: Path) -> None:
    full, rowless = tmp_path / "0.parquet", tmp_path / "1.parquet"
    tables.write(full, "pixels", example(tables.table("pixels")))
    tables.write(rowless, "pixels", example(tables.table("pixels"), 0))
    lookup = tables.Lookup([full, rowless], "pixels", "dicom_id", ["text 0", "text 9"])
    lookup.require_pictures(["text 0"])
    with pytest.raises(UserError, match=rf"1 of 2 pictures are missing: .*; {rowless} has no rows: "):
        lookup.require_pictures(["text 0", "text 9"])


def test_an_unknown_column_or_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    tables.write(path, "pairs", PAIRS)
    assert list(tables.read(path, "pairs", ["split"]).columns) == ["split"]
    for reader in (tables.read, tables.read_arrow, lambda *a: list(tables.read_stream(*a))):
        with pytest.raises(ValueError, match="'splt'"):
            reader(path, "pairs", ["splt"])
    with pytest.raises(UserError, match="no table 'pears'"):
        tables.read(path, "pears")


def test_a_lookup_gives_each_key_its_first_row_from_any_file_and_row_group(tmp_path: Path) -> None:
    first, second = tmp_path / "first.parquet", tmp_path / "second.parquet"

    def rows(*names: str, note: bytes) -> list[dict[str, object]]:
        return [{"training_seed": 0, "seed": 0, "pair_id": name, "png": name.encode() + note} for name in names]

    tables.write_stream(first, "generated", [rows("a", "b", note=b"1"), rows("c", "a", note=b"2")])
    tables.write_stream(second, "generated", [rows("d", "b", note=b"3"), rows("e", note=b"3"), rows("d", note=b"4")])
    lookup = tables.Lookup([first, second, first], "generated", "pair_id", ["e", "d", "b", "a", "none", "a"])
    assert [key in lookup for key in ("a", "b", "c", "d", "e", "none")] == [True, True, False, True, True, False]
    assert lookup.path_of("b") == first
    assert lookup.path_of("d") == second
    expected = {"a": b"a1", "b": b"b1", "d": b"d3", "e": b"e3"}
    assert {key: row["png"] for key, row in lookup.rows().items()} == expected
    assert {key: row["png"] for key, row in lookup.rows(["d", "c", "a"]).items()} == {"a": b"a1", "d": b"d3"}
    in_order = [key for batch in lookup.batches(columns=["pair_id"]) for key in batch["pair_id"].to_pylist()]
    assert in_order == ["a", "b", "d", "e"]
    assert list(lookup.batches([])) == []
    assert tables.Lookup([first], "generated", "pair_id", []).rows() == {}


def test_pieces_have_at_most_so_many_rows_and_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"training_seed": 0, "seed": 0, "pair_id": str(row), "png": bytes([row]) * 1_000} for row in range(50)]
    tables.write_stream(tmp_path / "t", "generated", [rows])
    for limit, columns, expected in ((1 << 20, None, 20), (11_500, None, 10), (1, None, 1), (10_500, ["pair_id"], 9)):
        monkeypatch.setattr(tables, "BATCH", limit)
        sizes = [len(batch) for batch in tables.batches(tmp_path / "t", "generated", columns, rows=20)]
        assert sum(sizes) == 50
        assert max(sizes) == expected


LARGE, LARGE_PNG = 10_000, 20_000  # rows of the large files, and bytes of the picture in each: 200 MB

# Reads a large table in every way; prints how many rows each way saw, and how far it raised the peak of memory, in MB.
GROWTH = """
import sys
from pathlib import Path
from biomedjourney import tables
from biomedjourney.gather.parts import gather
from biomedjourney.inspect.describe import describe

path, keys = Path(sys.argv[1]), [str(row) for row in range(0, 10_000, 5)]

def peak():  # not that of resource.getrusage: it counts what the parent had before this program began
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))

for name, reader in {
    "one-column": lambda: len(tables.read(path, "generated", ["pair_id"])),
    "describe": lambda: describe(path).count(" bytes"),
    "read_stream": lambda: sum(1 for _ in tables.read_stream(path, "generated")),
    "batches": lambda: sum(len(batch) for batch in tables.Lookup([path], "generated", "pair_id", keys).batches()),
    "find": lambda: len(tables.find([path], "generated", "pair_id", keys[::50])),
    "gather": lambda: gather("generated", [path], path.with_suffix(".gathered")),
}.items():
    before = peak()
    print(name, reader(), peak() - before)
"""


@pytest.fixture(scope="module")
def large_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One table in files of many small row groups and of one large one, as we and as others write them."""
    folder, rng = tmp_path_factory.mktemp("large"), np.random.default_rng(0)

    def batches() -> Iterator[list[dict[str, object]]]:
        for first in range(0, LARGE, 64):
            rows = range(first, min(first + 64, LARGE))
            yield [{"training_seed": 0, "seed": 0, "pair_id": str(row), "png": rng.bytes(LARGE_PNG)} for row in rows]

    paths = {name: folder / f"{name}.parquet" for name in ("many groups", "one group", "one group of another writer")}
    tables.write_stream(paths["many groups"], "generated", batches())
    rows = tables.read_arrow(paths["many groups"], "generated")
    tables.write(paths["one group"], "generated", rows)
    pq.write_table(rows, paths["one group of another writer"])
    for path in paths.values():
        assert path.stat().st_size > LARGE * LARGE_PNG
    return paths


@pytest.mark.parametrize("file", ["many groups", "one group", "one group of another writer"])
def test_readers_of_a_bulky_table_hold_a_small_part_of_it(file: str, large_files: dict[str, Path]) -> None:
    program = [sys.executable, "-c", GROWTH, str(large_files[file])]
    result = subprocess.run(program, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    lines = [line.split() for line in result.stdout.splitlines()]
    rows = {"one-column": LARGE, "describe": 5, "read_stream": LARGE, "batches": LARGE // 5, "find": LARGE // 250}
    assert {name: int(count) for name, count, _ in lines} == rows | {"gather": LARGE}
    growth = {name: float(megabytes) for name, _, megabytes in lines}
    # What Arrow keeps varies with the machine. Readers that read ahead grow by 400 to 1,000 MB in all.
    assert sum(growth.values()) < 220, growth


WRITES_MANY = """
import sys
import pandas as pd
from biomedjourney import tables
path, first = sys.argv[1], int(sys.argv[2])
data = {"subject_id": range(first, first + 2000), "sex": "F", "race": None, "anchor_age": 60, "anchor_year": 2150}
for _ in range(20):
    tables.write(path, "patients", pd.DataFrame(data))
"""


def test_two_commands_that_write_one_table_leave_a_whole_one(tmp_path: Path) -> None:
    path = tmp_path / "patients.parquet"
    writers = [subprocess.Popen([sys.executable, "-c", WRITES_MANY, path, first]) for first in ("0", "10000")]
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            assert set(tables.read(path, "patients")["subject_id"]) in ({*range(2000)}, {*range(10_000, 12_000)})
        time.sleep(0.05)
    assert [writer.returncode for writer in writers] == [0, 0]
    assert [found.name for found in tmp_path.iterdir()] == ["patients.parquet"]


FLIPS = """
import random, sys
from pathlib import Path
from biomedjourney import tables
from biomedjourney.errors import UserError

path, damaged = Path(sys.argv[1]), Path(sys.argv[1]).with_name("damaged.parquet")
content, rng, silent = path.read_bytes(), random.Random(0), []
rows = sum(batch.num_rows for batch in tables.batches(path, "pixels"))
for flip in range(2500):
    changed = bytearray(content)
    place, bit = rng.randrange(len(content)), rng.randrange(8)
    changed[place] ^= 1 << bit
    damaged.write_bytes(changed)
    for read in (
        lambda: sum(batch.num_rows for batch in tables.batches(damaged, "pixels")),
        lambda: tables.read_arrow(damaged, "pixels").num_rows,
        lambda: len(tables.Lookup([damaged], "pixels", "dicom_id", KEYS).rows()),
    ):
        try:
            if read() != rows:
                silent.append((place, bit))
        except UserError:
            pass
print(silent)
"""


def test_no_flipped_bit_ends_the_process_or_loses_rows_without_a_word(tmp_path: Path) -> None:
    """Those of the footer and of the pages' headers have no checksum."""
    path = tmp_path / "results" / "pixels" / "0.parquet"
    rows = [
        {"dicom_id": f"image-{i}", "png": bytes([i]) * 300, "inverted": False, "to_original": [1.0] * 6, "reason": ""}
        for i in range(6)
    ]
    tables.write_stream(path, "pixels", [rows[:3], rows[3:]])
    code = FLIPS.replace("KEYS", repr([row["dicom_id"] for row in rows]))
    result = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
    assert result.stdout == "[]\n"
