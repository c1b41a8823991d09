"""The list of images to download, before any is there, and of those that are still missing after it."""

import shlex
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from biomedjourney import tables
from biomedjourney.cli import commands
from biomedjourney.errors import UserError
from biomedjourney.ingest.files import check
from biomedjourney.ingest.ingest import ingest
from biomedjourney.pair.needed import urls
from tests.helpers import REPOSITORY
from tests.helpers.raw_files import RawFiles, raw_files, write_dicom, write_jpeg
from tests.helpers.workflow_runs import snakemake

ADDRESS = {
    "jpg": "https://physionet.org/files/mimic-cxr-jpg/2.1.0/",
    "dcm": "https://physionet.org/files/mimic-cxr/2.1.0/",
}
PAIR = yaml.safe_load((REPOSITORY / "config.yaml").read_text())["pair"]


def ingested(folder: Path, image_format: str = "jpg") -> RawFiles:
    """The raw files of three patients with their tables, and no image."""
    raw = raw_files(folder)
    raw.write()
    settings = raw.settings()
    settings["ingest"]["image_format"] = image_format
    for name, rows in ingest(settings).items():
        tables.write(folder / f"{name}.parquet", name, rows)
    return raw


def run(command: str, raw: RawFiles, *words: str, **pair_settings: object) -> str:
    settings = {"seed": 0, "phantom": None, "data": raw.settings()["data"], "pair": PAIR | pair_settings}
    flags = ["--config", str(yaml.safe_dump(settings, default_flow_style=True, width=10**9)), *words]
    flags += ["--studies", str(raw.folder / "studies.parquet"), "--images", str(raw.folder / "images.parquet")]
    result = CliRunner().invoke(commands, ["pair", command, *flags], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def list_images(raw: RawFiles, *words: str, **pair_settings: object) -> tuple[list[str], str]:
    """The addresses in the list, and what the command says."""
    out = raw.folder / "list.txt"
    said = run("images", raw, "--out", str(out), *words, **pair_settings)
    return out.read_text().splitlines(), said


def make_pairs(raw: RawFiles, **pair_settings: object) -> str:
    """Writes the tables singles and pairs; returns what the command says."""
    folder = raw.folder
    words = [f"--{name}={folder / name}.parquet" for name in ("pairs", "singles")]
    words += [f"--ingest-{name}={folder / name}.parquet" for name in ("cohort", "exclusions")]
    words += [f"--{name}={folder / 'all' / name}.parquet" for name in ("cohort", "exclusions")]
    return run("tables", raw, "--image-files", str(folder / "files.parquet"), *words, **pair_settings)


@pytest.mark.parametrize("image_format", ["jpg", "dcm"])
@pytest.mark.parametrize("pair_settings", [{}, {"views": ["PA", "AP"], "same_view": False}])
def test_the_list_is_what_a_run_with_all_images_uses(
    tmp_path: Path, image_format: str, pair_settings: dict[str, object]
) -> None:
    raw = ingested(tmp_path, image_format)
    listed, said = list_images(raw, **pair_settings)
    images = tables.read(tmp_path / "images.parquet", "images").set_index("dicom_id")
    for path in images["path"]:
        (write_jpeg if image_format == "jpg" else write_dicom)(raw.jpg / path)
    check(raw.jpg, tmp_path / "images.parquet", tmp_path / "files.parquet", False, 1)
    assert "going on without" not in make_pairs(raw, **pair_settings)
    singles = tables.read(tmp_path / "singles.parquet", "singles")
    expected = sorted(ADDRESS[image_format] + images.loc[dicom_id, "path"] for dicom_id in singles["dicom_id"])
    assert listed == expected
    assert len(listed) == (6 if not pair_settings else 7)
    pairs = tables.read(tmp_path / "pairs.parquet", "pairs")
    assert {*pairs["dicom_id"], *pairs["prior_dicom_id"]} <= set(singles["dicom_id"])
    megabytes = len(listed) * {"jpg": 1.511, "dcm": 12.46}[image_format]
    assert f"{len(listed)} of 10 images are needed: about {megabytes / 1000:,.1f} GB, estimated" in said


def test_what_is_missing_is_named_and_the_run_goes_on(tmp_path: Path) -> None:
    raw = ingested(tmp_path)
    listed, _ = list_images(raw)
    paths = [address.removeprefix(ADDRESS["jpg"]) for address in listed]
    for path in paths[1:]:
        write_jpeg(raw.jpg / path)
    (raw.jpg / paths[2]).write_bytes(b"")
    check(raw.jpg, tmp_path / "images.parquet", tmp_path / "files.parquet", False, 1)
    said = make_pairs(raw)
    assert f"of 6 that this configuration needs 2 are not whole (1 missing, 1 empty; the first {paths[0]})" in said
    used = set(tables.read(tmp_path / "singles.parquet", "singles")["dicom_id"])
    assert used == {Path(path).stem for path in (paths[1], *paths[3:])}
    missing, said = list_images(raw, "--image-files", str(tmp_path / "files.parquet"))
    assert missing == [listed[0], listed[2]]
    assert "6 of 10 images are needed, 2 of them are not whole (1 missing, 1 empty)" in said
    for path in (paths[0], paths[2]):
        write_jpeg(raw.jpg / path)
    check(raw.jpg, tmp_path / "images.parquet", tmp_path / "files.parquet", False, 1)
    assert list_images(raw, "--image-files", str(tmp_path / "files.parquet"))[0] == []


def test_the_embedded_cohort_has_nothing_to_download(tmp_path: Path) -> None:
    words = ["--config", str(REPOSITORY / "config.yaml"), "--out", str(tmp_path / "list.txt")]
    words += ["--studies", "studies.parquet", "--images", "images.parquet"]
    error = CliRunner().invoke(commands, ["pair", "images", *words]).exception
    assert isinstance(error, UserError)
    assert "needs no download" in str(error)
    assert not (tmp_path / "list.txt").exists()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def test_wget_puts_the_files_where_the_check_looks_for_them(tmp_path: Path) -> None:
    """The command that is printed, with another server in place of PhysioNet's."""
    raw = ingested(tmp_path / "it's raw")
    raw.jpg.joinpath("files").mkdir()
    listed, said = list_images(raw)
    for address in listed:
        write_jpeg(tmp_path / "served" / address.removeprefix("https://physionet.org/"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "served")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        here = f"http://127.0.0.1:{server.server_port}"
        out = raw.folder / "list.txt"
        out.write_text(out.read_text().replace("https://physionet.org", here))
        command = shlex.split(said.partition("fetch them with: ")[2].replace("--ask-password", ""))
        subprocess.run([*command, "--no-verbose", "--no-proxy"], check=True, capture_output=True, timeout=60)
    finally:
        server.shutdown()
        server.server_close()
    problems = check(raw.jpg, raw.folder / "images.parquet", raw.folder / "files.parquet", False, 1)
    assert set(problems[""]) == {Path(address).stem for address in listed}


def test_addresses_are_those_of_the_two_releases() -> None:
    images = tables.pd.Series(["files/p10/p10000032/s50414267/a.jpg", "files/p10/p10000032/s50414267/a.dcm"])
    assert urls(images) == [ADDRESS["jpg"] + images[0], ADDRESS["dcm"] + images[1]]


@pytest.mark.workflow
def test_the_workflow_lists_images_before_images_weights_and_model_are_there(tmp_path: Path) -> None:
    raw = raw_files(tmp_path / "raw")
    raw.write()
    overlay = tmp_path / "mine.yaml"
    overlay.write_text(yaml.safe_dump({"data": raw.settings()["data"]}))
    configs = ["--configfile", str(REPOSITORY / "workflow/configs/paper.yaml"), str(overlay)]
    result = snakemake(tmp_path, "results/images-needed.txt", "--cores", "1", *configs)
    assert result.returncode == 0, result.stdout
    listed = (tmp_path / "results/images-needed.txt").read_text().splitlines()
    assert len(listed) == 6
    assert all(address.startswith(ADDRESS["jpg"] + "files/p1") for address in listed)
    for address in listed[1:]:
        write_jpeg(raw.jpg / address.removeprefix(ADDRESS["jpg"]))
    result = snakemake(tmp_path, "results/images-missing.txt", "--cores", "1", *configs)
    assert result.returncode == 0, result.stdout
    assert "6 of 10 images are needed, 1 of them are not whole (1 missing)" in result.stdout
    assert (tmp_path / "results/images-missing.txt").read_text().splitlines() == listed[:1]
    result = snakemake(tmp_path, "pair_studies", "--cores", "1", *configs)
    assert result.returncode != 0
    assert "does not exist" in result.stdout
