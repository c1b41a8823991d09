"""The workflow's rules on raw files that are not shipped as the phantom writes them."""

import gzip
import subprocess
from pathlib import Path

import pytest
import yaml
from raw_files import raw_files, write_csv, write_tar
from test_ingest_files import write_dicom

from biomedjourney import tables
from biomedjourney.ingest.ingest import ingest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.workflow
def test_plain_tables_a_tar_of_reports_radiologists_labels_and_dicom(tmp_path: Path) -> None:
    raw = raw_files(tmp_path / "raw")
    raw.write()
    for path in [*raw.jpg.glob("*.gz"), *(raw.folder / "hosp").glob("*.gz")]:
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    first = {**raw.chexpert[0], "study_id": 59000001}
    first["Airspace Opacity"] = first.pop("Lung Opacity")
    write_csv(raw.jpg / "mimic-cxr-2.1.0-test-set-labeled.csv", [first])
    write_tar(raw.folder / "reports.tar.gz", raw.reports)
    dicoms = raw.folder / "mimic-cxr"
    data = {"images": str(dicoms), "tables": str(raw.jpg), "reports": str(raw.folder / "reports.tar.gz")}
    data["demographics"] = str(raw.folder / "hosp")
    chosen = {"labels": "chexpert", "test_set_labels": True, "image_format": "dcm", "checksums": False}
    for path in ingest({"data": data, "ingest": chosen})["images"]["path"]:
        write_dicom(dicoms / path)
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(yaml.safe_dump({"phantom": None, "data": data, "ingest": chosen}))
    command = ["snakemake", "pair_studies", "--snakefile", str(REPOSITORY / "Snakefile"), "--directory", str(tmp_path)]
    command += ["--cores", "2", "--configfile", str(overlay)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    images = tables.read(tmp_path / "results/tables/images.parquet", "images")
    assert images["path"].str.endswith(".dcm").all()
    assert len(tables.read(tmp_path / "results/tables/pairs.parquet", "pairs")) == 3
