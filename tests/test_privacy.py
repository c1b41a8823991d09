"""Real faults in tables of patients' texts: nothing that a command says of them and leaves behind holds a text."""

import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from biomedjourney import cli
from tests.helpers import fabricated

MARKER = "Mutterings of a zebra near the carina"


def as_list(texts: pa.Array) -> pa.Array:
    return pa.array([[text] for text in texts.to_pylist()])


def as_bytes(texts: pa.Array) -> pa.Array:
    return pa.array([text.encode() + b"\xff" for text in texts.to_pylist()], pa.binary())


def with_null(texts: pa.Array) -> pa.Array:
    return pa.array([None, *texts.to_pylist()[1:]], pa.string())


def not_unicode(texts: pa.Array) -> pa.Array:
    """Bytes that Parquet says are UTF-8, and are not."""
    return as_bytes(texts).view(pa.string())


COLUMN_FAULTS = {"a list": as_list, "bytes": as_bytes, "a null": with_null, "not Unicode": not_unicode}
FILE_FAULTS: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda content: content[: len(content) // 2],
    "a text": lambda content: MARKER.encode() * 100,
    "its pages": lambda content: content.replace(MARKER.encode()[:9], b"\0" * 9),
}


def spoiled(path: Path, columns: tuple[str, ...], fault: str) -> None:
    table = pq.read_table(path)
    for column in columns:
        texts = pc.binary_join_element_wise(table[column].cast(pa.string()), pa.scalar(MARKER), " ")
        texts = texts.combine_chunks()
        table = table.set_column(
            table.schema.get_field_index(column), column, COLUMN_FAULTS.get(fault, lambda same: same)(texts)
        )
    pq.write_table(table, path, compression="none", use_dictionary=False)
    if fault in FILE_FAULTS:
        path.write_bytes(FILE_FAULTS[fault](path.read_bytes()))


@pytest.mark.parametrize("fault", [*COLUMN_FAULTS, *FILE_FAULTS])
@pytest.mark.parametrize("read", ["studies", "progressions"])
def test_a_fault_in_a_table_of_texts_is_told_without_them(
    read: str, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    paths = fabricated.write(tmp_path / "tables", patients=8, systems=())
    log, out = tmp_path / "x.log", tmp_path / "out.parquet"
    if read == "studies":
        spoiled(paths["studies"], ("findings", "impression"), fault)
        words = ["rewrite", "--config", fabricated.config_text(phantom=None), "--writer", "rules"]
        words += [f"--pairs={paths['pairs']}", f"--studies={paths['studies']}", f"--progressions={out}"]
    else:
        spoiled(paths["progressions"], ("description",), fault)
        words = ["gather", "parts", "progressions", str(paths["progressions"]), "--out", str(out)]
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(sys, "argv", ["biomedjourney", "--log", str(log), *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capfd.readouterr()
    assert MARKER[:20] not in said.out + said.err + log.read_text()
    if ended.value.code:
        assert [line for line in said.err.splitlines() if line.startswith("error: ")]
        assert not out.exists()
