"""All tables of a run: listed, asked in SQL, drawn as pictures, and as a page to leaf through."""

import base64
import html
import os
import re
import stat
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from biomedjourney import pixels, tables
from biomedjourney.cli import commands
from biomedjourney.errors import UserError
from biomedjourney.inspect.found import age, find
from tests.helpers import fabricated

BULKY = {"pixels": "pixels/0", "registered": "registered/forward/0"}
SCRIPT = "<script>alert(1)</script> & more"


def inspect(*words: str | Path) -> str:
    result = CliRunner().invoke(commands, ["inspect", *map(str, words)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def error_of(*words: str | Path) -> str:
    error = CliRunner().invoke(commands, ["inspect", *map(str, words)]).exception
    assert isinstance(error, UserError)
    assert "\n" not in str(error)
    return str(error)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder ``results`` of a run of eight patients, with reports of several lines."""
    folder = tmp_path_factory.mktemp("run")
    written = fabricated.write(folder / "made", patients=8, systems=("biomedjourney", "copy-prior"))
    results = folder / "results"
    for name, path in written.items():
        place = BULKY.get(name, f"{name}/0" if name.startswith("generated/") else f"tables/{name}")
        (results / place).parent.mkdir(parents=True, exist_ok=True)
        path.rename(results / f"{place}.parquet")
    studies = tables.read(results / "tables/studies.parquet", "studies")
    ids = studies["study_id"].astype(str)
    studies["findings"] = f"{SCRIPT} of " + ids + ".\n Two\n lines.\n\n A paragraph."
    studies["impression"] = "1. First of " + ids + ".\n 2. Second."
    tables.write(results / "tables/studies.parquet", "studies", studies)
    return results


def test_all_tables_are_listed_with_their_rows(run: Path) -> None:
    lines = inspect("--results", run).splitlines()
    rows = {line.split()[0]: line for line in lines[1:]}
    assert rows["pairs"].split()[1] == "16"
    assert "just now" in rows["pairs"] or "minute" in rows["pairs"]
    assert str(run / "tables/pairs.parquet") in rows["pairs"]
    assert f"{run / 'generated'}/ (2 files)" in rows["generated"]
    declared = list(tables.TABLES)
    assert list(rows) == sorted(rows, key=declared.index)
    assert rows.keys() == {"real", *BULKY, "generated", *(p.stem for p in (run / "tables").iterdir())}


def test_a_run_without_tables_says_what_to_run(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"no table")
    assert "run `snakemake --cores all`" in error_of("--results", tmp_path)
    assert "run `snakemake --cores all`" in error_of("--results", tmp_path / "absent", "--sql", "select 1")


def test_parts_count_until_their_table_is_there_and_the_newest_cohort_counts(tmp_path: Path) -> None:
    def put(place: str, name: str, rows: pd.DataFrame, seconds: int) -> None:
        tables.write(tmp_path / place, name, rows)
        os.utime(tmp_path / place, (seconds, seconds))

    steps = pd.DataFrame({"step": ["a", "b"], "kept": 1, "dropped": 0, "reason": "", "paper": None})
    put("ingest/cohort.parquet", "cohort", steps[:1], 100)
    put("pair/cohort.parquet", "cohort", steps, 200)
    files = pd.DataFrame({"dicom_id": ["x", "y"], "bytes": 1, "problem": ""})
    put("image-files/0.parquet", "image_files", files[:1], 100)
    put("image-files/1.parquet", "image_files", files, 300)
    put("checkpoints/2.parquet", "image_files", files, 400)
    found = find(tmp_path)
    assert found["cohort"].paths == (tmp_path / "pair/cohort.parquet",)
    assert (found["image_files"].rows, found["image_files"].written) == (3, 300)
    put("tables/image_files.parquet", "image_files", files, 100)
    assert find(tmp_path)["image_files"].paths == (tmp_path / "tables/image_files.parquet",)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1, "just now"), (61, "1 minute ago"), (7300, "2 hours ago"), (90_000, "1 day ago"), (-50, "just now")],
)
def test_ages_are_in_their_largest_unit(seconds: float, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 10**9)
    assert age(10**9 - seconds) == text


def test_sql_joins_tables_by_name(run: Path) -> None:
    pairs = tables.read(run / "tables/pairs.parquet", "pairs")
    lines = inspect("--results", run, "--sql", "select split, count(*) n from pairs group by split").splitlines()
    assert lines[0].split() == ["split", "n"]
    assert {line.split()[0]: int(line.split()[1]) for line in lines[1:]} == pairs["split"].value_counts().to_dict()
    joined = "select count(*) n from pairs join studies using (study_id) join pixels using (dicom_id)"
    assert inspect("--results", run, "--sql", joined).split() == ["n", "16"]
    of_systems = "select count(distinct filename) n from generated"
    assert inspect("--results", run, "--sql", of_systems).split() == ["n", "2"]


def test_an_answer_is_cut_and_wide_rows_stand_one_under_the_other(run: Path) -> None:
    answer = inspect("--results", run, "--sql", "from triples order by pair_id", "--rows", "3")
    assert answer.count("  interval_days") == 3
    assert "the first 3 rows; more with --rows" in answer
    assert "more with" not in inspect("--results", run, "--sql", "select pair_id from pairs", "--rows", "16")
    assert inspect("--results", run, "--sql", "from pairs where false").strip() == "no rows"
    assert inspect("--results", run, "--sql", "select 1 a, 2 a").splitlines()[1].split() == ["1", "2"]


def test_parts_with_other_columns_are_one_table(tmp_path: Path) -> None:
    base = {"pair_id": "1-2", "description": "", "model": None, "prompt_sha256": None, "valid": True}
    for writer, check in (("rules", "check_sides"), ("openai", "check_length")):
        row = base | {"writer": writer, "fallback_reason": None, check: True}
        tables.write(tmp_path / "progressions" / f"{writer}.parquet", "progressions", pd.DataFrame([row]))
    query = "select writer, check_sides, check_length from progressions order by writer"
    lines = inspect("--results", tmp_path, "--sql", query).splitlines()
    assert [line.split() for line in lines[1:]] == [["openai", "null", "True"], ["rules", "True", "null"]]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("selec 1", "syntax error"),
        ("select * from pears", "the tables are patients, studies"),
        ("select fish from pairs", "fish"),
        ("select 1 / 'a' from pairs", "Could not convert"),
    ],
)
def test_a_mistake_in_sql_is_one_line(run: Path, sql: str, expected: str) -> None:
    message = error_of("--results", run, "--sql", sql)
    assert message.startswith("--sql: ")
    assert expected in message


def test_missing_values_and_ranges_are_shown_without_reading_pictures(run: Path) -> None:
    registrations = run / "tables/registrations.parquet"
    truth = tables.read(registrations, "registrations")
    rows = {line.split()[0]: line for line in inspect(registrations, "--rows", "0").splitlines() if line}
    least, greatest = truth["score_before"].min(), truth["score_before"].max()
    assert f"{least:.6g} to {greatest:.6g}" in rows["score_before"]
    assert re.search(r"pixels +16 +of a B-spline", rows["displacement"])
    pairs = {
        line.split()[0]: line for line in inspect(run / "tables/pairs.parquet", "--rows", "0").splitlines() if line
    }
    assert "test, train, validation" in pairs["split"]
    assert "16 values" in pairs["pair_id"]

    path = run.parent / "large.parquet"
    rng = os.urandom
    png = [b"\x89PNG\r\n\x1a\n" + rng(1 << 16) for _ in range(30)]
    rows_of_pictures = {"pair_id": [str(i) for i in range(30)], "png": [None, *png[1:]], "coverage": png}
    tables.write_stream(path, "registered", [pa.table(rows_of_pictures).to_pylist()])
    whole = path.read_bytes()
    start = pq.read_metadata(path).row_group(0).column(1).data_page_offset
    path.write_bytes(whole[: start + 8] + b"\0" * (1 << 20) + whole[start + 8 + (1 << 20) :])
    output = inspect(path, "--rows", "0")  # the damaged pages are not read
    assert re.search(r"^png +binary or null +1 +8-bit grey PNG$", output, re.MULTILINE)


def test_pictures_of_a_table_are_named_by_key(run: Path, tmp_path: Path) -> None:
    path = run / "registered/forward/0.parquet"
    rows = tables.read(path, "registered")
    assert "2 pictures in" in inspect(path, "--rows", "2", "--pictures", tmp_path / "drawn")
    drawn = {file.name: file.read_bytes() for file in (tmp_path / "drawn").iterdir()}
    assert drawn == {f"{row.pair_id}.png": row.png for row in rows[:2].itertuples()}
    organs = tmp_path / "organs.parquet"
    tables.write_stream(organs, "organs", [[{"dicom_id": "../a b", "lung": rows["png"][0], "heart": rows["png"][1]}]])
    inspect(organs, "--pictures", tmp_path / "drawn")
    assert {file.name for file in (tmp_path / "drawn").iterdir()} - drawn.keys() == {
        ".._a_b.lung.png",
        ".._a_b.heart.png",
    }
    assert stat.S_IMODE((tmp_path / "drawn").stat().st_mode) == 0o700
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in (tmp_path / "drawn").iterdir())


def test_pictures_of_an_answer_are_named_by_row(run: Path, tmp_path: Path) -> None:
    query = "select png, pair_id from registered order by pair_id desc"
    inspect("--results", run, "--sql", query, "--rows", "2", "--pictures", tmp_path)
    rows = tables.read(run / "registered/forward/0.parquet", "registered").sort_values("pair_id", ascending=False)
    assert [(tmp_path / f"{number}.png").read_bytes() for number in (1, 2)] == rows["png"].tolist()[:2]


def page_of(run: Path, tmp_path: Path, *words: str | Path) -> str:
    inspect("--results", run, *words, "--html", tmp_path / "page.html")
    return (tmp_path / "page.html").read_text()


def articles(page: str) -> list[str]:
    return re.findall(r"<article.*?</article>", page, re.DOTALL)


def test_the_page_has_both_films_and_both_reports_of_each_pair(run: Path, tmp_path: Path) -> None:
    page = page_of(run, tmp_path)
    pairs = tables.read(run / "tables/pairs.parquet", "pairs")
    films = tables.read(run / "pixels/0.parquet", "pixels").set_index("dicom_id")["png"]
    registered = tables.read(run / "registered/forward/0.parquet", "registered").set_index("pair_id")["png"]
    generated = tables.read(run / "generated/biomedjourney/0.parquet", "generated").set_index("pair_id")["png"]
    shown = articles(page)
    assert len(shown) == len(pairs)
    for article, pair in zip(shown, pairs.to_dict("records"), strict=True):
        assert f"pair {pair['pair_id']}<" in article
        drawn = [base64.b64decode(png) for png in re.findall(r'src="data:image/png;base64,(.*?)"', article)]
        expected = [films[pair["prior_dicom_id"]], registered[pair["pair_id"]], films[pair["dicom_id"]]]
        assert drawn == [*expected, *generated[generated.index == pair["pair_id"]]]
        sections = re.findall(r'<p class="report">(.*?)</p>', article, re.DOTALL)
        assert [html.unescape(text) for text in sections] == [
            text
            for study in (pair["prior_study_id"], pair["study_id"])
            for text in (f"{SCRIPT} of {study}. Two lines.\nA paragraph.", f"1. First of {study}.\n2. Second.")
        ]
        assert f"new pleural effusion, pair {pair['pair_id']}<br>" in article
    assert len(generated) == page.count("generated, not a film</figcaption>") > 0


def test_the_page_is_the_owners_alone_escapes_text_and_needs_no_other_file(run: Path, tmp_path: Path) -> None:
    before = os.umask(0o022)
    (tmp_path / "page.html").write_text("old")
    try:
        page = page_of(run, tmp_path)
        assert os.umask(0o022) == 0o022, "the umask is as it was"
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "page.html").stat().st_mode) == 0o600
    assert "<script>alert" not in page
    assert not re.search(r"https?://|src=\"(?!data:)|href=\"(?!#)|url\(|@import", page)


def test_the_page_shows_the_pairs_that_are_asked_for(run: Path, tmp_path: Path) -> None:
    query = "select pair_id, subject_id from pairs where split = 'test' order by pair_id desc"
    pairs = tables.read(run / "tables/pairs.parquet", "pairs").query("split == 'test'")["pair_id"]
    expected = sorted(pairs, reverse=True)[:3]
    page = page_of(run, tmp_path, "--sql", query, "--rows", "3")
    assert [re.search(r"pair ([\d-]+)<", article)[1] for article in articles(page)] == expected  # type: ignore[index]
    page = page_of(run, tmp_path, run / "registered/forward/0.parquet", "--rows", "2")
    assert len(articles(page)) == 2


def test_a_run_that_has_only_pairs_has_a_page_too(run: Path, tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables/pairs.parquet").symlink_to(run / "tables/pairs.parquet")
    (tmp_path / "tables/studies.parquet").symlink_to(run / "tables/studies.parquet")
    page = page_of(tmp_path, tmp_path, "--rows", "1")
    assert "No film of this pair is in canonical form yet." in page
    assert "A paragraph." in page


def test_a_page_without_pairs_is_refused(run: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert "has no column pair_id" in error_of("--results", run, run / "tables/studies.parquet", "--html", page)
    assert "has no column pair_id" in error_of("--results", run, "--sql", "select 1", "--html", page)
    assert "none of these pair_ids" in error_of("--results", run, "--sql", "select 7 as pair_id", "--html", page)
    only_studies = page.parent / "tables"
    only_studies.mkdir()
    (only_studies / "studies.parquet").symlink_to(run / "tables/studies.parquet")
    assert "has no table pairs yet" in error_of("--results", page.parent, "--html", page)
    assert not page.exists()


@pytest.mark.parametrize("words", [("--html", "page.html"), ()])
def test_pictures_without_rows_are_refused(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(commands, ["inspect", "--pictures", "folder", *words])
    assert result.exit_code == 2
    assert "Give --pictures with TABLE or --sql" in result.output


def test_a_missing_picture_leaves_its_place_empty(run: Path, tmp_path: Path) -> None:
    pair = tables.read(run / "tables/pairs.parquet", "pairs").iloc[0]
    for name in ("pairs", "studies"):
        (tmp_path / "tables").mkdir(exist_ok=True)
        (tmp_path / f"tables/{name}.parquet").symlink_to(run / f"tables/{name}.parquet")
    film = {"inverted": False, "to_original": None}
    rows = [
        {"dicom_id": pair["prior_dicom_id"], "png": None, "reason": "not a film", **film},
        {"dicom_id": pair["dicom_id"], "png": pixels.encode_png(fabricated.np.zeros((4, 4))), "reason": "", **film},
    ]
    tables.write(tmp_path / "pixels/0.parquet", "pixels", pd.DataFrame(rows))
    page = page_of(tmp_path, tmp_path, "--rows", "1")
    assert re.findall(r"<figcaption>(.*?)</figcaption>", page) == ["current film"]
