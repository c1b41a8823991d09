"""The chain of paper.yaml, by the real command: drawn raw files, and small networks in the published formats.

A file of the user's own is laid over it, as README says: paths, the model's address, and less of everything that takes
time, without the ablations. What the paper's configuration decides (256 pixels, 256 tokens, published parts, the writer
openai) stays.
"""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from diffusers import UNet2DConditionModel
from PIL import Image
from safetensors.torch import load_file

from biomedjourney import config, pixels, tables
from tests.helpers import model_server, published
from tests.helpers.report_page import table_rows
from tests.helpers.workflow_runs import PAPER, snakemake, without_ablations

pytestmark = [pytest.mark.workflow, pytest.mark.long]

SEED, PATIENTS, FILM_SIZE = 2, 26, 320  # with both classes of every finding among its validation and test pairs
SIDE, TOKENS, TEXT_WIDTH = 256, 256, 768
LATENT, SCALING_FACTOR = (4, 32, 32), 0.18215


def mine(folder: Path, url: str) -> dict[str, Any]:
    """The user's own file: paths and the model's address, and settings that save time."""
    weights = folder / "weights"
    judges = {kind: str(file) for kind, file in published.torchxrayvision(weights / "torchxrayvision").items()}
    second = weights / "torchxrayvision" / published.SECOND_PATHOLOGY
    shutil.copy(judges["pathology"], second)  # the same network, so that the second judges say the same
    few_steps: dict[str, Any] = {"steps": 3, "batch_size": 2}
    return {
        "data": {
            "images": str(folder / "raw" / "mimic-cxr-jpg"),
            "reports": str(folder / "raw" / "mimic-cxr" / "mimic-cxr-reports.zip"),
            "demographics": str(folder / "raw" / "mimic-iv" / "hosp"),
        },
        "rewrite": {
            "openai": {"base_url": url, "model": "fake", "requests_per_minute": 1e6, "tokens_per_minute": 1e9},
        },
        "pretrain": {
            "first_stage": {"weights": str(published.vae(weights / "vae", config=published.vae_of_levels(4)))},
            "text_tower": {"weights": str(published.biomedclip(weights / "biomedclip", TEXT_WIDTH, tokens=TOKENS))},
            "judges": {"weights": judges},
            "second_judges": {"weights": judges | {"pathology": str(second)}},
            "segmenter": {"weights": None},  # 12 CPU seconds a picture
        },
        "diffusion": {"unet": {"weights": str(published.unet(weights / "unet", published.FOUR_LEVELS))}},
        "systems": {
            "instruct-pix2pix": {"pipeline": str(published.pipeline(weights / "instruct-pix2pix", prior=True))},
            "stable-diffusion": {"pipeline": str(published.pipeline(weights / "stable-diffusion"))},
        },
        "preprocess": {"shards": 2},
        "register": {"shards": 1},
        "train": {"log_every": 1, "checkpoint_every": 2, "runs": {"stage1": few_steps, "stage2": few_steps}},
        "generate": {
            "steps": 2,
            "shards": 1,
            "guidance": {"sweep": {"text_scales": [7.5], "image_scales": [1.0, 1.5], "pairs": 6}},
            "soundness": {"pairs": 4},
            "samplers": {
                "compared": [{"solver": "ddim", "steps": 3}, {"solver": "dpm-solver++", "steps": 2}],
                "pairs": 6,
            },
        },
        "evaluate": {"bootstrap": 100},
        # two jobs side by side take less time than each of them with two threads
        "resources": {verb: {"threads": 1} for verb in ("pretrain", "encode", "train", "generate", "evaluate")},
    }


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The folder in which the whole chain has run, what Snakemake said, its arguments, and the model's requests."""
    folder = tmp_path_factory.mktemp("paper")
    phantom = f"{{seed: {SEED}, phantom: {{patients: {PATIENTS}, image_size: {FILM_SIZE}, organ_masks: 1}}}}"
    draw = ["biomedjourney", "phantom", "--config", phantom, "--out", "raw", "--truth", "truth.parquet"]
    draw += ["--organs", "organs.parquet"]
    subprocess.run(draw, cwd=folder, check=True, capture_output=True)
    words = ("--cores", "2", "--configfile", str(PAPER), "mine.yaml")
    with model_server.running(model_server.read_well) as server:
        (folder / "mine.yaml").write_text(yaml.safe_dump(config.merge(without_ablations(), mine(folder, server.url))))
        result = snakemake(folder, *words)
    assert result.returncode == 0, result.stdout[-6000:]
    return SimpleNamespace(folder=folder, said=result.stdout, words=words, requests=server.requests)


def parts(paper: SimpleNamespace, name: str, pattern: str) -> pd.DataFrame:
    """The rows of all files of a table below results/."""
    files = sorted((paper.folder / "results").glob(pattern))
    assert files, pattern
    return pd.concat([tables.read(file, name) for file in files], ignore_index=True)


def table(paper: SimpleNamespace, name: str) -> pd.DataFrame:
    return parts(paper, name, f"tables/{name}.parquet")


def test_every_rule_ran_and_a_second_run_has_nothing_to_do(paper: SimpleNamespace) -> None:
    listed = snakemake(paper.folder, "--list-rules", *paper.words[2:]).stdout.splitlines()
    rules = {found[1] for line in listed if (found := re.fullmatch(r"([a-z_]+)(?: \(.*\))?", line))}
    assert {"ingest_raw_files", "rewrite_reports", "encode_priors", "train_stage", "export_model"} <= rules
    assert "draw_phantom" not in rules
    on_request = {"list_images", "list_missing_images"}
    assert set(re.findall(r"^Job \d+: .*\((\w+)", paper.said, re.MULTILINE)) == rules - on_request
    again = snakemake(paper.folder, *paper.words)
    assert again.returncode == 0, again.stdout[-3000:]
    assert "Nothing to be done" in again.stdout


def test_every_picture_latent_and_text_has_the_size_of_the_paper(paper: SimpleNamespace) -> None:
    pairs, singles = table(paper, "pairs"), table(paper, "singles")
    images = {*pairs["prior_dicom_id"], *pairs["dicom_id"], *singles["dicom_id"]}
    films = parts(paper, "pixels", "pixels/*.parquet")
    assert set(films["dicom_id"]) == images
    assert films["png"].notna().all()
    drawn = [films, parts(paper, "registered", "registered/forward/*.parquet")]
    drawn += [parts(paper, "sweeps", "sweeps/*/*.parquet"), parts(paper, "generated", "generated/*/*.parquet")]
    assert {pixels.decode_png(png).shape for rows in drawn for png in rows["png"]} == {(SIDE, SIDE)}

    latents = parts(paper, "latents", "latents/**/*.parquet")
    assert set(latents["id"]) == images | set(pairs["pair_id"])
    assert {tuple(shape) for shape in latents["shape"]} == {LATENT}
    assert set(latents["scaling_factor"]) == {SCALING_FACTOR}
    lengths, widths = zip(*parts(paper, "texts", "texts/**/*.parquet")["shape"], strict=True)
    assert set(widths) == {TEXT_WIDTH}
    assert max(lengths) == TOKENS, "no report fills the text tower, so that this says nothing of a cut"


def test_the_splits_and_the_judges_have_something_to_tell_apart(paper: SimpleNamespace) -> None:
    triples = table(paper, "triples")
    usable = triples[triples["accepted"]]
    assert set(usable["split"]) == set(tables.SPLITS)
    folders = usable["subject_id"] // 1_000_000
    assert ((folders == 19) == (usable["split"] == "test")).all()
    systems = table(paper, "systems").set_index("system")
    assert systems.loc["real-follow-up", ["pathology_auc", "race_auc", "age_r"]].between(-1, 1).all()
    findings = table(paper, "findings")
    assert findings[findings["system"] == "biomedjourney"]["pathology_auc"].notna().all()


def test_the_language_model_wrote_the_descriptions(paper: SimpleNamespace) -> None:
    progressions, pairs = table(paper, "progressions"), table(paper, "pairs")
    assert set(progressions["pair_id"]) == set(pairs["pair_id"])
    assert set(progressions["writer"]) == {"openai"}
    by_rules = progressions["fallback_reason"].notna()
    assert by_rules.mean() <= 0.05
    assert set(progressions["model"][~by_rules]) == {"fake-2026-01-01"}
    assert {request.path for request in paper.requests} == {"/v1/chat/completions"}
    questions = {request.question for request in paper.requests}
    assert len(questions) <= len(pairs) < len(questions) + 10, "each distinct pair is asked for, and no other"
    assert not any("___" in question for question in questions)


def test_both_stages_train_the_published_unet_for_prior_and_text(paper: SimpleNamespace) -> None:
    course = table(paper, "training")
    assert course.groupby("run")["images_seen"].max().to_dict() == {"stage1": 6, "stage2": 6, "untrained": 0}
    assert np.isfinite(course["loss"].dropna()).all()
    published_weights = load_file(paper.folder / "weights" / "unet" / "diffusion_pytorch_model.safetensors")
    unets = {}
    for run in ("stage1", "stage2", "untrained"):
        folder = paper.folder / "results" / "models" / run
        unet = UNet2DConditionModel.from_pretrained(folder / "unet")
        read = unet.config
        assert (read.sample_size, read.in_channels, read.encoder_hid_dim) == (LATENT[1], 2 * LATENT[0], TEXT_WIDTH)
        schedule = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
        assert (schedule["prediction_type"], schedule["beta_schedule"]) == ("epsilon", "scaled_linear")
        unets[run] = unet.state_dict()
    name = "mid_block.resnets.0.conv1.weight"
    assert torch.equal(unets["untrained"][name], published_weights[name])
    assert torch.equal(unets["untrained"]["conv_in.weight"][:, :4], published_weights["conv_in.weight"])
    assert not unets["untrained"]["conv_in.weight"][:, 4:].any()
    assert len({unets[run][name].numpy().tobytes() for run in unets}) == 3
    assert not unets["stage1"]["conv_in.weight"][:, 4:].any(), "stage 1 has no prior, so these weights cannot learn"
    assert unets["stage2"]["conv_in.weight"][:, 4:].any()


def test_all_systems_are_scored_on_the_compared_test_pairs(paper: SimpleNamespace) -> None:
    triples, scores = table(paper, "triples"), table(paper, "scores")
    compared = triples[triples["compared"] & (triples["split"] == "test")]
    assert len(compared) > 5
    published_pipelines = {"instruct-pix2pix", "stable-diffusion"}
    trained = {"biomedjourney", "text-only", "untrained"}
    assert set(scores["system"]) == {*trained, *published_pipelines, "copy-prior", "real-follow-up"}
    assert (scores.groupby("system")["pair_id"].agg(set) == set(compared["pair_id"])).all()
    assert len(scores) == 7 * len(compared)
    guidance = table(paper, "guidance")
    scales = guidance.groupby("system")[["text_scale", "image_scale"]].apply(
        lambda rows: sorted(map(tuple, rows.values))
    )
    assert scales.to_dict() == {"biomedjourney": [(7.5, 1.0), (7.5, 1.5)], "text-only": [(7.5, 1.0)]}
    assert guidance.groupby("system")["chosen"].sum().eq(1).all()
    samplers = table(paper, "samplers")
    assert samplers["solver"].tolist() == ["ddim", "dpm-solver++"]
    assert samplers["within"].isna().tolist() == [True, False]


def test_the_second_judges_score_every_picture_by_the_file_of_their_own(paper: SimpleNamespace) -> None:
    folder = paper.folder / "results" / "models" / "second-judges" / "pathology"
    assert {path.name for path in folder.iterdir()} == {"judge.json", published.SECOND_PATHOLOGY}
    key = ["system", "pair_id"]
    again = parts(paper, "second_scores", "second-scores/*.parquet").set_index(key).sort_index()
    first = table(paper, "scores").set_index(key).sort_index()
    pd.testing.assert_series_equal(again["pathology_edema"], first["pathology_edema"], rtol=1e-4)
    assert set(table(paper, "judges")["system"]) == set(first.index.get_level_values("system"))


def test_the_report_holds_the_tables_and_nothing_of_a_patient(paper: SimpleNamespace) -> None:
    page = (paper.folder / "results" / "report" / "index.html").read_text()
    assert set(table_rows(page, "main")) == set(table(paper, "systems")["system"])
    assert "MIMIC-CXR" in page
    assert "left out of this report" in page
    assert "data:image/png" not in page
    texts = [*table(paper, "progressions")["description"], *table(paper, "singles")["text"]]
    assert len(texts) > 60
    told = [text for text in texts if len(text) > 25 and html.escape(text) in page]
    assert told == []
    ids = pd.concat([table(paper, name)[["subject_id", "study_id"]] for name in ("pairs", "singles")])
    assert not set(re.findall(r"\d{8}", page)) & set(map(str, np.unique(ids.to_numpy())))


def test_edit_draws_at_256_pixels_with_the_exported_model(paper: SimpleNamespace, tmp_path: Path) -> None:
    images = table(paper, "images")
    prior = paper.folder / "raw" / "mimic-cxr-jpg" / images.loc[images["view"] == "PA", "path"].iloc[0]
    with Image.open(prior) as film:
        assert SIDE not in film.size
        sizes = {"film.png": film.size, "square.png": (SIDE, SIDE)}
    for name, more in {"film.png": [], "square.png": ["--raw"]}.items():
        command = ["biomedjourney", "edit", str(prior), "new small left pleural effusion", *more]
        result = subprocess.run(
            [*command, "--out", str(tmp_path / name)], cwd=paper.folder, capture_output=True, text=True
        )
        assert result.returncode == 0, result.stderr
        with Image.open(tmp_path / name) as picture:
            assert picture.size == sizes[name]
            assert len(picture.getcolors() or []) > 8
