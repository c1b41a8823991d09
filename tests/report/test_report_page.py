import base64
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import fabricated
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import biomedjourney.pretrain
from biomedjourney import tables
from biomedjourney.cli import commands
from biomedjourney.errors import UserError

EVALUATED = ("scores", "systems", "ablations", "findings", "subgroups")
BEFORE = ("training", "guidance", "cohort", "pairs", "studies", "progressions", "registrations", "pixels", "registered")
SECTIONS = ("main", "claims", "grid", "ablations", "findings", "subgroups", "guidance", "training", "registration")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("tables")
    paths = fabricated.write(folder, patients=48)
    words = ["evaluate", "systems", "--config", fabricated.config_text(evaluate={"bootstrap": 100}), "--judges", "j"]
    for name in ("pairs", "studies", "patients"):
        words += [f"--{name}", str(paths[name])]
    for name in EVALUATED:
        paths[name] = folder / f"{name}.parquet"
        words += [f"--{name}", str(paths[name])]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(biomedjourney.pretrain, "load_judges", lambda where: fabricated.Judges(), raising=False)
        result = CliRunner().invoke(commands, words + generated(paths))
    assert result.exit_code == 0, result.output
    return paths


def generated(paths: dict[str, Path]) -> list[str]:
    return [
        word for name, path in paths.items() if name.startswith("generated/") for word in ("--generated", str(path))
    ]


def report(paths: dict[str, Path], out: Path, **overlay: Any) -> Result:
    words = ["report", "--config", fabricated.config_text(**overlay), "--out", str(out)]
    for name in (*EVALUATED, *BEFORE):
        words += [f"--{name}", str(paths[name])] if name in paths else []
    return CliRunner().invoke(commands, words + generated(paths))


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
    for section in SECTIONS:
        assert f'<section id="{section}">' in page
    sources = re.findall(r'src="([^"]*)"', page)
    assert len(sources) == 6
    for source in sources:
        kind, content = re.fullmatch(r"data:image/(svg\+xml|png);base64,(.+)", source).groups()  # type: ignore[union-attr]
        assert base64.b64decode(content, validate=True).startswith(b"\x89PNG" if kind == "png" else b"<?xml")
    assert "<link" not in page
    assert "<script" not in page


def test_every_figure_of_the_main_table_is_on_the_page(written: Path, inputs: dict[str, Path]) -> None:
    page, text = (written / "index.html").read_text(), (written / "main-table.txt").read_text()
    systems = tables.read(inputs["systems"], "systems")
    for measure in tables.MEASURES:
        for value in systems[measure]:
            assert f"<b>{100 * value:.2f}</b>" in page
            assert f"{100 * value:.2f}" in text
    for figure in ("80.54", "97.22", "79.38", "83.23", "84.11"):
        assert figure in page
        assert figure in text
    assert [line.split()[0] for line in text.splitlines() if line and line.split()[0] in fabricated.SYSTEMS] == list(
        systems["system"]
    )


def test_the_grid_is_a_picture_of_as_many_rows_as_asked_for(
    written: Path, inputs: dict[str, Path], tmp_path: Path
) -> None:
    assert report(inputs, tmp_path, report={"examples": 2}).exit_code == 0
    with Image.open(written / "grid.png") as eight, Image.open(tmp_path / "grid.png") as two:
        assert eight.width == two.width
        assert eight.height > 3 * two.height
        assert np.asarray(two.convert("L")).std() > 20


def test_the_same_inputs_give_the_same_files(written: Path, inputs: dict[str, Path], tmp_path: Path) -> None:
    assert report(inputs, tmp_path).exit_code == 0
    for name in ("index.html", "main-table.txt", "grid.png"):
        assert (tmp_path / name).read_bytes() == (written / name).read_bytes(), name


def test_real_patients_are_not_shown(inputs: dict[str, Path], tmp_path: Path) -> None:
    assert report(inputs, tmp_path, report={"show_patients": False}).exit_code == 0
    page = (tmp_path / "index.html").read_text()
    assert "are left out of this report" in page
    assert "data:image/png" not in page
    for description in tables.read(inputs["progressions"], "progressions")["description"]:
        assert description not in page
    with Image.open(tmp_path / "grid.png") as notice:
        assert notice.height < 200


def test_texts_are_escaped(inputs: dict[str, Path], tmp_path: Path) -> None:
    rows = tables.read(inputs["progressions"], "progressions").assign(description="<script>alert(1)</script>")
    tables.write(tmp_path / "progressions.parquet", "progressions", rows)
    assert report(inputs | {"progressions": tmp_path / "progressions.parquet"}, tmp_path).exit_code == 0
    assert "<script" not in (tmp_path / "index.html").read_text()


def test_a_run_with_undefined_measures_and_no_sweep_has_a_report(inputs: dict[str, Path], tmp_path: Path) -> None:
    paths = dict(inputs)
    del paths["guidance"]
    for name in ("systems", "ablations", "findings", "subgroups"):
        rows = tables.read(inputs[name], name)
        empty = [c for c in rows if c.startswith(tables.MEASURES)]
        paths[name] = tmp_path / f"{name}.parquet"
        tables.write(paths[name], name, rows.assign(**dict.fromkeys(empty, np.nan)))
    paths["training"] = tmp_path / "training.parquet"
    tables.write(paths["training"], "training", tables.read(inputs["training"], "training").iloc[:0])
    result = report(paths, tmp_path / "report")
    assert result.exit_code == 0, result.output
    page = (tmp_path / "report" / "index.html").read_text()
    assert "undefined" in page
    assert "No scales were swept" in page


def test_a_missing_table_is_named_and_the_old_report_stays(inputs: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("old")
    result = report(inputs | {"cohort": tmp_path / "none.parquet"}, tmp_path)
    assert isinstance(result.exception, UserError)
    assert "none.parquet: the table 'cohort' is not there" in str(result.exception)
    assert (tmp_path / "index.html").read_text() == "old"


@pytest.mark.system
def test_a_browser_shows_all_pictures_and_tables(written: Path, tmp_path: Path) -> None:
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("needs a system package: chromium")
    probe = tmp_path / "index.html"
    script = (
        "<script>addEventListener('load', () => { const all = [...document.images];"
        "document.body.dataset.seen = `pictures ${all.filter(i => i.complete && i.naturalWidth > 50).length}"
        " of ${all.length}, tables ${[...document.querySelectorAll('table')].filter(t => t.rows.length > 1"
        " && t.offsetWidth > 100).length}, wider ${document.documentElement.scrollWidth > innerWidth}`; });</script>"
    )
    probe.write_text((written / "index.html").read_text().replace("</body>", f"{script}</body>"))
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--window-size=1200,3000", "--dump-dom", probe.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert 'data-seen="pictures 6 of 6, tables 9, wider false"' in shown


def test_fabricated_tables_do_not_depend_on_anything_but_the_seed(tmp_path: Path) -> None:
    first = fabricated.write(tmp_path / "a", patients=8, systems=("biomedjourney",))
    second = fabricated.write(tmp_path / "b", patients=8, systems=("biomedjourney",))
    for name, path in first.items():
        assert path.read_bytes() == second[name].read_bytes(), name
    assert isinstance(tables.read(first["pairs"], "pairs"), pd.DataFrame)
