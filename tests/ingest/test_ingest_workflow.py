"""The workflow on raw files in other formats than those of the phantom."""

import gzip
from pathlib import Path

import pytest
import yaml

from biomedjourney import tables
from biomedjourney.ingest.ingest import ingest
from tests.helpers.raw_files import raw_files, write_csv, write_dicom, write_tar
from tests.helpers.workflow_runs import snakemake


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
    ingest_settings = raw.settings()["ingest"] | {"test_set_labels": True, "image_format": "dcm"}
    for path in ingest({"data": data, "ingest": ingest_settings})["images"]["path"]:
        write_dicom(dicoms / path)
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(yaml.safe_dump({"phantom": None, "data": data, "ingest": ingest_settings}))
    result = snakemake(tmp_path, "pair_studies", "--cores", "2", "--configfile", str(overlay))
    assert result.returncode == 0, result.stdout
    images = tables.read(tmp_path / "results/tables/images.parquet", "images")
    assert images["path"].str.endswith(".dcm").all()
    assert len(tables.read(tmp_path / "results/tables/pairs.parquet", "pairs")) == 3
