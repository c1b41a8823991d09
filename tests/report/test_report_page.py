import base64
import html
import io
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from biomedjourney import config, tables
from biomedjourney.beyond import BEYOND
from biomedjourney.cli import commands
from biomedjourney.errors import UserError
from biomedjourney.measures import MAIN, MEASURES, RANKING
from biomedjourney.report import examples
from biomedjourney.report.subgroups import LEAST_PAIRS
from biomedjourney.systems import BOUND
from biomedjourney.systems import MAIN as MAIN_SYSTEM
from tests.helpers import evaluation, fabricated
from tests.helpers.full_disk import files, largest_file
from tests.helpers.report_page import table_rows

BEFORE = (
    *("soundness", "training", "guidance", "samplers", "cohort", "triples", "studies", "registrations", "pixels"),
    "registered",
)
SECTIONS = (
    *("main", "differences", "change", "beyond", "soundness", "claims", "grid", "missed", "ablations", "findings"),
    *("subgroups", "guidance", "samplers", "training", "registration", "descriptions", "cohort", "cost", "provenance"),
)
OURS = "generated/biomedjourney"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every table that the report reads, and the pictures of each system as `generated/NAME`."""
    folder = tmp_path_factory.mktemp("tables")
    paths = fabricated.write(folder, patients=48)
    scores = evaluation.score_all(paths, tmp_path_factory.mktemp("scores"))
    result = evaluation.measure(paths, scores, folder, "--truth", str(paths["truth"]))
    assert result.exit_code == 0, result.output
    return paths | {name: folder / f"{name}.parquet" for name in evaluation.OUTPUTS} | {"benchmarks": times(folder)}


def times(folder: Path) -> Path:
    """A folder of benchmarks as Snakemake writes them."""
    for name, figures in {
        "phantom": "222.64\t0:03:42\t195.49\t61.07",
        "train/stage1": "0.90\t0:00:00\t-\tNA",
        "generate/biomedjourney/0": "60.00\t0:01:00\t900.00\t30.00",
        "generate/biomedjourney/1": "120.00\t0:02:00\t1100.00\t60.00",
    }.items():
        path = folder / "benchmarks" / f"{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"s\th:m:s\tmax_rss\tcpu_time\n{figures}\n")
    return folder / "benchmarks"


def report(paths: dict[str, Path], out: Path, **overlay: Any) -> Result:
    text = fabricated.config_text(**config.merge(evaluation.SETTINGS, overlay))
    words = ["report", "--config", text, "--out", str(out), "--generated", str(paths[OURS])]
    words += ["--benchmarks", str(paths["benchmarks"])]
    for name in (*evaluation.OUTPUTS, *BEFORE, "judges"):
        words += [f"--{name}", str(paths[name])] if name in paths else []
    return CliRunner().invoke(commands, words)


def replaced(paths: dict[str, Path], name: str, rows: pd.DataFrame, folder: Path) -> dict[str, Path]:
    """The tables with other rows in the table ``name``."""
    path = folder / f"changed-{name.replace('/', '-')}.parquet"
    tables.write(path, name.partition("/")[0], rows)
    return paths | {name: path}


def section(page: str, name: str) -> str:
    return page.partition(f'<section id="{name}">')[2].partition("</section>")[0]


@pytest.fixture(scope="module")
def written(inputs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "report"
    result = report(inputs, out)
    assert result.exit_code == 0, result.output
    assert str(out / "index.html") in result.output
    return out


def test_the_page_is_self_contained_and_has_every_section(written: Path) -> None:
    page = (written / "index.html").read_text()
    assert "not for clinical use" in page
    assert re.findall(r'<section id="(.*?)">', page) == list(SECTIONS)
    assert re.findall(r'<a href="#(.*?)">', page) == list(SECTIONS)
    sources = re.findall(r'src="([^"]*)"', page)
    assert len(sources) == 9
    for source in sources:
        kind, content = re.fullmatch(r"data:image/(svg\+xml|png);base64,(.+)", source).groups()  # type: ignore[union-attr]
        assert base64.b64decode(content, validate=True).startswith(b"\x89PNG" if kind == "png" else b"<?xml")
    assert "<link" not in page
    assert "<script" not in page


def test_every_figure_of_the_main_table_is_on_the_page(written: Path, inputs: dict[str, Path]) -> None:
    on_the_page = table_rows((written / "index.html").read_text(), "main")
    lines = (written / "main-table.txt").read_text().splitlines()
    first_words = [line.split(" ")[0] for line in lines]
    in_the_text = {word: i for i, word in enumerate(first_words) if word in fabricated.SYSTEMS}
    systems = tables.read(inputs["systems"], "systems").set_index("system")
    assert list(on_the_page) == list(in_the_text) == list(systems.index)
    for system, row in systems.iterrows():
        for measure in MAIN:
            assert f"{100 * row[measure.name]:.2f}" in on_the_page[system], measure.name
            assert f"{100 * row[measure.name]:.2f}" in lines[in_the_text[system]].split(), measure.name
    for figure in ("80.54", "97.22", "79.38", "83.23", "84.11"):
        assert figure in on_the_page["biomedjourney"]
        assert figure in lines[in_the_text["biomedjourney"] + 1]


def test_differences_have_their_sign_and_the_parts_of_a_measure_their_own_table(
    written: Path, inputs: dict[str, Path]
) -> None:
    page = (written / "index.html").read_text()
    differences, parts = table_rows(page, "differences"), table_rows(page, "change")
    systems = tables.read(inputs["systems"], "systems").set_index("system")
    assert list(differences) == [name for name in systems.index if name != "biomedjourney"]
    assert list(parts) == list(systems.index)
    for name, cells in differences.items():
        shown = [systems.loc[name, f"{measure.name}_difference"] for measure in MAIN]
        assert cells == ["–" if pd.isna(value) else f"{100 * value:+.2f}" for value in shown]
    assert any(cell.startswith("-") for cell in differences["untrained"])
    for name, cells in parts.items():
        assert cells == [f"{100 * systems.loc[name, m.name]:.2f}" for m in MEASURES if m.part_of]


def test_the_spread_over_training_seeds_and_the_differences_of_ablations_are_on_the_page(
    written: Path, inputs: dict[str, Path], tmp_path: Path
) -> None:
    assert "training seeds" not in section((written / "index.html").read_text(), "main")
    systems = tables.read(inputs["systems"], "systems")
    ours = systems["system"] == "biomedjourney"
    systems.loc[ours, ["race_auc_seeds_least", "race_auc_seeds_greatest"]] = 0.123, 0.987
    scores = tables.read(inputs["scores"], "scores")
    paths = replaced(inputs, "systems", systems, tmp_path)
    paths = replaced(paths, "scores", pd.concat([scores, scores.assign(training_seed=1)]), tmp_path)
    assert report(paths, tmp_path / "report").exit_code == 0
    page = (tmp_path / "report" / "index.html").read_text()
    assert re.findall(r'<small class="seeds">(.*?)</small>', page) == ["12.3 to 98.7"]
    assert "training seeds: 0, 1." in section(page, "main")
    row = tables.read(inputs["ablations"], "ablations").set_index("system").loc["no-registration"]
    assert f"{100 * row['race_auc_difference']:+.2f}" in section(page, "ablations")


def test_a_second_set_of_judges_has_a_section_where_there_is_one(
    written: Path, inputs: dict[str, Path], tmp_path: Path
) -> None:
    assert "second set of judges" not in (written / "index.html").read_text()
    systems = tables.read(inputs["systems"], "systems")
    order = {f"{m.name}_rank": systems[m.name].rank(ascending=False, method="min") for m in RANKING}
    first = systems.assign(judges="first", **order, **{f"{m.name}_agreement": 0.25 for m in RANKING})
    second = first.assign(judges="second", age_r=None, change_auc_rank=None, change_auc=0.5)
    columns = [column.name for column in tables.table("judges").columns]
    paths = replaced(inputs, "judges", pd.concat([first, second])[columns], tmp_path)
    judges = {"pretrain": {"second_judges": {"weights": None}}}
    assert report(paths, tmp_path / "report", **judges).exit_code == 0
    page = (tmp_path / "report" / "index.html").read_text()
    assert re.findall(r'<section id="(.*?)">', page) == re.findall(r'<a href="#(.*?)">', page)
    shown = html.unescape(section(page, "judges"))
    assert (
        "By change AUC no pair of systems changes places between the two sets of judges (Kendall's tau 0.25)" in shown
    )
    assert "By CMIG no pair of systems changes" in shown
    assert "networks of another width" in shown
    cells = re.findall(r"<td.*?>(.*?)</td>", shown.split('<tr class="ours">')[2])
    assert cells[0] == "second"
    assert cells[-2:] == ["1", "–"]
    assert "<b>–</b>" in cells[4]
    assert 'download="judges.csv"' in shown
    published = dict.fromkeys(("pathology", "race", "age"), "weights.pt")
    judges = {"pretrain": {"second_judges": {"weights": published}}}
    assert report(paths, tmp_path / "other", **judges).exit_code == 0
    assert "published ones, of which" in section((tmp_path / "other" / "index.html").read_text(), "judges")


def test_the_grid_is_a_picture_of_as_many_rows_as_asked_for(
    written: Path, inputs: dict[str, Path], tmp_path: Path
) -> None:
    assert report(inputs, tmp_path, report={"examples": 8}).exit_code == 0
    with Image.open(tmp_path / "grid.png") as eight, Image.open(written / "grid.png") as two:
        assert eight.width == two.width
        assert eight.height > 3 * two.height
        assert np.asarray(two.convert("L")).std() > 20


def test_the_same_inputs_give_the_same_files(written: Path, inputs: dict[str, Path], tmp_path: Path) -> None:
    assert report(inputs, tmp_path).exit_code == 0
    for name in ("index.html", "main-table.txt", "grid.png"):
        assert (tmp_path / name).read_bytes() == (written / name).read_bytes(), name


def test_real_patients_are_not_shown(written: Path, inputs: dict[str, Path], tmp_path: Path) -> None:
    descriptions = tables.read(inputs["triples"], "triples")["description"]
    shown = (written / "index.html").read_text()
    assert any(description in shown for description in descriptions)
    assert report(inputs, tmp_path, report={"show_patients": False}).exit_code == 0
    page = (tmp_path / "index.html").read_text()
    assert "are left out of this report" in page
    assert "data:image/png" not in page
    assert not any(description in page for description in descriptions)
    with Image.open(tmp_path / "grid.png") as notice:
        assert notice.height < 200


def test_texts_are_escaped(inputs: dict[str, Path], tmp_path: Path) -> None:
    rows = tables.read(inputs["triples"], "triples").assign(description="<script>alert(1)</script>")
    assert report(replaced(inputs, "triples", rows, tmp_path), tmp_path).exit_code == 0
    page = (tmp_path / "index.html").read_text()
    assert "&lt;script&gt;alert(1)" in section(page, "grid")
    assert "&lt;script&gt;alert(1)" in section(page, "descriptions")
    assert "<script" not in page


def with_another_writer(inputs: dict[str, Path], folder: Path) -> dict[str, Path]:
    """The tables with triples of `impression`, half of them accepted, and with those of `rules` read backward."""
    triples = tables.read(inputs["triples"], "triples")
    other = triples.assign(writer="impression", description="the Impression of " + triples["pair_id"])
    other["accepted"] &= other.index % 2 == 0
    turned = triples[triples["split"] == "train"].assign(direction="backward", description="the other way")
    turned["pair_id"] = turned["study_id"].astype(str) + "-" + turned["prior_study_id"].astype(str)
    return replaced(inputs, "triples", pd.concat([triples, other, turned]), folder)


def test_triples_are_counted_by_writer_and_direction(inputs: dict[str, Path], tmp_path: Path) -> None:
    paths = with_another_writer(inputs, tmp_path)
    assert report(paths, tmp_path).exit_code == 0
    triples = tables.read(paths["triples"], "triples")
    shown = section((tmp_path / "index.html").read_text(), "descriptions")
    cells = re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", shown.partition("<tbody>")[2].partition("</tbody>")[0])
    lines = [tuple(cells[i : i + 6]) for i in range(0, len(cells), 6)]
    expected = []
    for writer, direction in (("rules", "forward"), ("impression", "forward"), ("rules", "backward")):
        rows = triples.query("writer == @writer and direction == @direction")
        accepted = rows.loc[rows["accepted"], "description"]
        distinct, characters = accepted.nunique(), accepted.str.len().mean()
        expected.append((writer, direction, *map(str, (len(rows), len(accepted), distinct, f"{characters:.0f}"))))
    assert lines == expected


@pytest.mark.parametrize("writer", ["rules", "impression"])
def test_the_descriptions_shown_are_those_of_the_writer_that_the_main_row_learned_from(
    writer: str, inputs: dict[str, Path], tmp_path: Path
) -> None:
    runs = {"stage2": {"writer": writer}}
    result = report(with_another_writer(inputs, tmp_path), tmp_path, train={"runs": runs})
    assert result.exit_code == 0, result.output
    page = (tmp_path / "index.html").read_text()
    starts = {"rules": "new pleural effusion, pair", "impression": "the Impression of"}
    other = starts[{"rules": "impression", "impression": "rules"}[writer]]
    for name in ("grid", "descriptions"):
        assert starts[writer] in section(page, name)
        assert other not in section(page, name)
        assert "the other way" not in section(page, name)
    listed = re.findall(r"<li>.*?([0-9]+-[0-9]+)</li>", section(page, "descriptions"))
    triples = tables.read(inputs["triples"], "triples").set_index("pair_id")
    assert listed
    assert (triples.loc[listed, "split"] == "test").all()
    assert triples.loc[listed, "accepted"].all()


def test_the_flow_chart_and_the_table_show_every_step_of_the_cohort(written: Path, inputs: dict[str, Path]) -> None:
    cohort = tables.read(inputs["cohort"], "cohort")
    shown = section((written / "index.html").read_text(), "cohort")
    for row in cohort.itertuples():
        assert f"<td>{row.step}</td>" in shown
        assert f'<td class="num">{row.kept:,}</td><td class="num">{row.dropped:,}</td><td>{row.reason}</td>' in shown
        if not pd.isna(row.paper):
            assert f'<td class="num paper">{row.paper:,.0f}</td>' in shown


def test_the_registrations_shown_are_of_pairs_read_forward(
    written: Path, inputs: dict[str, Path], tmp_path: Path
) -> None:
    """The table of registrations holds both directions; here those of pairs read backward fit worst of all."""
    paths = with_another_writer(inputs, tmp_path)
    registrations = tables.read(inputs["registrations"], "registrations")
    backward = tables.read(paths["triples"], "triples").query("direction == 'backward'")["pair_id"]
    worst = registrations.iloc[: len(backward)].assign(pair_id=backward.to_numpy(), score_after=-1.0, accepted=False)
    assert (
        report(replaced(paths, "registrations", pd.concat([registrations, worst]), tmp_path), tmp_path).exit_code == 0
    )
    pictures = [
        re.findall(r'src="data:image/png;base64,([^"]*)"', section((folder / "index.html").read_text(), "registration"))
        for folder in (tmp_path, written)
    ]
    assert len(pictures[0]) == 1
    assert pictures[0] == pictures[1]


def test_the_registrations_of_test_pairs_are_counted(written: Path, inputs: dict[str, Path]) -> None:
    registrations = tables.read(inputs["registrations"], "registrations")
    triples = tables.read(inputs["triples"], "triples").query("split == 'test'")
    accepted, of_test = registrations["accepted"], registrations["pair_id"].isin(triples["pair_id"])
    said = " ".join(section((written / "index.html").read_text(), "registration").split())
    assert f"{accepted.sum()} of {len(registrations)} pairs are accepted" in said
    assert f"({(accepted & of_test).sum()} of {of_test.sum()} test pairs)" in said


def test_every_finding_has_a_figure_of_every_measure_that_is_measured_by_finding(
    written: Path, inputs: dict[str, Path]
) -> None:
    findings = tables.read(inputs["findings"], "findings").query("system == 'biomedjourney'")
    shown = section((written / "index.html").read_text(), "findings")
    by_finding = [measure for measure in MEASURES if measure.by_finding]
    assert re.findall(r"<caption>(.*?)</caption>", shown) == [measure.title for measure in by_finding]
    for table, measure in zip(shown.split("<table>")[1:], by_finding, strict=True):
        for value in findings[measure.name]:
            assert f"<b>{'–' if pd.isna(value) else f'{100 * value:.2f}'}</b>" in table


def test_measures_beyond_the_paper_have_a_table_of_their_own(written: Path, inputs: dict[str, Path]) -> None:
    page = (written / "index.html").read_text()
    shown = table_rows(page, "beyond")
    table = tables.read(inputs["beyond"], "beyond").set_index("system")
    defined = [measure for measure in BEYOND if table[measure.name].notna().any()]
    assert list(shown) == [measure.title for measure in defined]
    for measure in defined:
        values = table[measure.name]
        assert shown[measure.title] == ["–" if pd.isna(value) else f"{100 * value:.2f}" for value in values]
    assert "10.9, and 40.74 for RoentGen" in section(page, "beyond")


@pytest.mark.parametrize("weights", [None, "pspnet.pth"])
def test_the_paper_s_overlap_stands_beside_that_of_the_published_segmenter_alone(
    weights: str | None, inputs: dict[str, Path], tmp_path: Path
) -> None:
    rows = tables.read(inputs["beyond"], "beyond").assign(lung_dice_prior=0.9)
    result = report(
        replaced(inputs, "beyond", rows, tmp_path), tmp_path / "out", pretrain={"segmenter": {"weights": weights}}
    )
    assert result.exit_code == 0, result.output
    shown = table_rows((tmp_path / "out" / "index.html").read_text(), "beyond")
    assert set(shown["lung Dice with the prior"]) == {"90.00"}
    printed = shown.get("lung Dice with the prior, printed in the paper")
    if weights is None:
        assert printed is None
    else:
        assert printed is not None
        of_system = dict(zip(rows["system"], printed, strict=True))
        assert (of_system["biomedjourney"], of_system["real-follow-up"]) == ("81.05", "74.04")


def test_the_gap_between_the_groups_of_an_attribute_is_shown(inputs: dict[str, Path], tmp_path: Path) -> None:
    rows = tables.read(inputs["subgroups"], "subgroups")
    paths = replaced(inputs, "subgroups", rows.assign(n=rows["n"] + LEAST_PAIRS), tmp_path)
    assert report(paths, tmp_path / "report").exit_code == 0
    shown = section((tmp_path / "report" / "index.html").read_text(), "subgroups").split("<table>")[2]
    by_sex = rows.query("system == 'biomedjourney'").set_index("group").loc[["sex=F", "sex=M"], "pathology_auc"]
    cell = f"<b>{100 * (by_sex.max() - by_sex.min()):.2f}</b><small>lowest: {by_sex.idxmin()}</small>"
    assert cell in shown.partition('<th scope="row">sex</th>')[2].partition("</tr>")[0]


def test_every_table_that_was_read_is_named_with_its_verb(written: Path, inputs: dict[str, Path]) -> None:
    shown = section((written / "index.html").read_text(), "provenance")
    for name, verb in (
        *(("systems", "evaluate"), ("beyond", "evaluate"), ("scores", "evaluate"), ("training", "train")),
        ("cohort", "gather"),
        *(("triples", "gather"), ("studies", "ingest"), ("registrations", "register"), ("pixels", "preprocess")),
    ):
        rows = tables.row_count(inputs[name], name)
        line = f'<td>{name}</td><td><code>{inputs[name]}</code></td><td class="num">{rows:,}</td>'
        assert f"{line}<td><code>biomedjourney {verb}</code></td>" in shown
    assert f"<td>generated</td><td><code>{inputs[OURS]}</code></td>" in shown


def test_a_run_with_undefined_measures_and_no_sweep_has_a_report(inputs: dict[str, Path], tmp_path: Path) -> None:
    paths = dict(inputs)
    del paths["guidance"], paths["samplers"]
    for name in ("systems", "ablations", "findings", "subgroups"):
        rows = tables.read(inputs[name], name)
        empty = [column for column in rows if column.startswith(tuple(measure.name for measure in MEASURES))]
        paths = replaced(paths, name, rows.assign(**dict.fromkeys(empty, np.nan)), tmp_path)
    paths = replaced(paths, "training", tables.read(inputs["training"], "training").iloc[:0], tmp_path)
    result = report(paths, tmp_path / "report")
    assert result.exit_code == 0, result.output
    page = (tmp_path / "report" / "index.html").read_text()
    verdicts = {cells[0] for cells in table_rows(page, "claims").values()}
    assert verdicts == {"undefined"}
    assert "No scales were swept" in page
    assert "samplers" not in re.findall(r'<section id="(.*?)">', page)


def test_a_missing_table_is_named_and_the_old_report_stays(inputs: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("old")
    result = report(inputs | {"cohort": tmp_path / "none.parquet"}, tmp_path)
    assert isinstance(result.exception, UserError)
    assert "none.parquet: the table 'cohort' is not there" in str(result.exception)
    assert (tmp_path / "index.html").read_text() == "old"


@pytest.mark.system
@pytest.mark.parametrize("width", [1280, 420])
def test_a_browser_shows_all_pictures_and_tables(written: Path, tmp_path: Path, width: int) -> None:
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("needs a system package: chromium")
    probe = tmp_path / "probe.html"
    script = (
        "<script>addEventListener('load', () => { const all = [...document.images];"
        "parent.document.body.dataset.seen ="
        " `pictures ${all.filter(i => i.complete && i.naturalWidth > 50).length}"
        " of ${all.length}, tables ${[...document.querySelectorAll('table')].filter(t => t.rows.length > 1"
        " && t.offsetWidth > 100).length}, wider ${document.documentElement.scrollWidth > innerWidth},"
        " width ${innerWidth}`; });</script>"
    )
    page = (written / "index.html").read_text()
    pictures, page_tables = page.count("<img "), page.count("<table")
    inner = html.escape(page.replace("</body>", f"{script}</body>"))
    # a frame, because no window is narrower than 500 pixels
    probe.write_text(f'<body><iframe style="width:{width}px;height:3000px;border:0" srcdoc="{inner}"></iframe></body>')
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--window-size=1400,3000", "--enable-logging=stderr", "--dump-dom", probe.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    expected = f"pictures {pictures} of {pictures}, tables {page_tables}, wider false, width {width}"
    assert re.findall('data-seen="(.*?)"', shown.stdout) == [expected]
    assert "CONSOLE" not in shown.stderr


@pytest.mark.parametrize("size", [200, 2_000, 50_000])
def test_a_full_disk_leaves_the_three_files_of_an_earlier_report(
    inputs: dict[str, Path], written: Path, tmp_path: Path, size: int
) -> None:
    """One file after the other is the first that does not fit."""
    out = tmp_path / "report"
    shutil.copytree(written, out)
    before = {name: (out / name).read_bytes() for name in files(out)}
    with largest_file(size):
        result = report(inputs, out, report={"cohort": "another cohort"})
    assert isinstance(result.exception, UserError)
    assert re.search(r"report/[\w.-]+: cannot be written \(File too large; space left in /.*B\)", str(result.exception))
    assert {name: (out / name).read_bytes() for name in files(out)} == before


def test_the_time_of_a_step_is_summed_over_its_jobs(written: Path, inputs: dict[str, Path], tmp_path: Path) -> None:
    shown = table_rows((written / "index.html").read_text(), "cost")
    assert shown["generate/biomedjourney"] == ["2", "3.0", "1.5", "1,100"]
    assert shown["train/stage1"] == ["1", "0.0", "0.0", "–"]
    assert shown["all"] == ["4", "6.7", "2.5", ""]
    assert report(inputs, tmp_path, resources={"generate": {"gpus": 2}}).exit_code == 0
    shown = table_rows((tmp_path / "index.html").read_text(), "cost")
    assert shown["generate/biomedjourney"] == ["2", "3.0", "1.5", "6.0", "1,100"]
    assert shown["phantom"][3] == "0.0"


def test_samplers_stand_beside_the_one_with_most_evaluations(written: Path) -> None:
    shown = section((written / "index.html").read_text(), "samplers")
    first, second = re.findall(r'<tr><th scope="row">biomedjourney</th>(.*)</tr>', shown)
    assert ">100</td>" in first
    assert first.endswith("<td>reference</td>")
    assert second.startswith('<td>dpm-solver++</td><td class="num">20</td><td class="num">60</td>')
    assert "<b>-3.21</b><small>-3.6 to -2.8</small>" in second
    assert second.endswith("<td>no</td>")
    assert "between −2 and 2" in shown


def test_a_table_can_be_saved_as_csv(written: Path, inputs: dict[str, Path]) -> None:
    page = (written / "index.html").read_text()
    links = dict(re.findall(r'<a download="(\w+).csv" href="data:text/csv;base64,([^"]*)">', page))
    assert links.keys() == {
        *("systems", "ablations", "soundness", "findings", "subgroups", "guidance", "samplers"),
        *("training", "cohort"),
    }
    for name, content in links.items():
        saved = pd.read_csv(io.BytesIO(base64.b64decode(content)))
        rows = tables.read(inputs[name], name)
        assert list(saved.columns) == list(rows.columns)
        assert len(saved) == len(rows)


def test_the_edits_whose_result_is_known_are_on_the_page_where_they_were_made(
    written: Path, inputs: dict[str, Path], tmp_path: Path
) -> None:
    page = (written / "index.html").read_text()
    assert table_rows(page, "soundness")["reversal"] == ["20", "20.00", "20.00", "20.00"]
    assert report({k: v for k, v in inputs.items() if k != "soundness"}, tmp_path).exit_code == 0
    assert 'id="soundness"' not in (tmp_path / "index.html").read_text()


def test_the_pictures_missed_most_are_ranked_on_the_wrong_side() -> None:
    """Of four pairs with a new edema, the generated pictures are ranked the other way round."""
    triples = pd.DataFrame({"pair_id": list("abcde"), "prior_study_id": 1, "study_id": [2, 2, 2, 2, 1]})
    triples = triples.assign(prior_dicom_id="old", dicom_id="new", description="text")
    studies = pd.DataFrame({"study_id": [1, 2], "edema": [0, 1], "pneumothorax": [None, 0]})
    scores = pd.DataFrame({"pair_id": list("abcde") * 2, "system": [MAIN_SYSTEM] * 5 + [BOUND] * 5})
    scores["pathology_edema"] = [0.1, 0.2, 0.3, 0.5, 0.4, 0.9, 0.4, 0.3, 0.2, 0.1]
    scores["pathology_pneumothorax"] = scores["pathology_edema"].to_numpy()[::-1]
    found = examples.missed(triples, studies, scores, ["edema", "pneumothorax"], 3)
    assert [example.pair_id for example in found] == ["a", "b"], "c is ranked alike, d is right, e does not change"
    assert found[0].change == "new edema: generated 0 %, true follow-up 100 %"
    assert examples.missed(triples, studies, scores, ["edema"], 1) == found[:1]
    gone = triples[:4].assign(prior_study_id=2, study_id=1)
    found = examples.missed(gone, studies, scores, ["edema"], 3)
    assert [example.pair_id for example in found] == ["d"]
    assert found[0].change == "resolved edema: generated 100 %, true follow-up 25 %"
    assert examples.missed(triples, studies, scores[scores["system"] == MAIN_SYSTEM], ["edema"], 3) == []
