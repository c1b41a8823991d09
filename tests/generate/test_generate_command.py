"""The real commands on a tiny problem."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tiny
from click.testing import CliRunner
from diffusers import DDIMScheduler, UNet2DConditionModel
from fabricated import config_text

from biomedjourney import config, pixels, tables
from biomedjourney.errors import UserError
from biomedjourney.generate.command import command
from biomedjourney.generate.draw import sweep_sample
from biomedjourney.train.command import command as train_command

CHOICE = ("pairs", "registrations", "progressions")
RUNS = {
    "biomedjourney": ("stage2", (*CHOICE, "prior_latents", "texts", "first_stage")),
    "text-only": ("stage1", (*CHOICE, "singles", "texts", "first_stage")),
    "no-registration": ("stage2-no-registration", (*CHOICE, "latents", "texts", "first_stage")),
}


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The tables, and the folders of the three runs, trained for a few steps."""
    folder = tmp_path_factory.mktemp("trained")
    paths = tiny.write(folder)
    needs = ("singles", *CHOICE, "latents", "prior_latents", "texts", "first_stage")
    for run, start in (("stage1", None), ("stage2", "stage1"), ("stage2-no-registration", "stage1")):
        own = {"train": {"runs": {"stage2-no-registration": {"start": "stage1"}}}}
        words = ["--config", config_text(**config.merge(tiny.OVERLAY, own)), "--run", run, *tiny.flags(paths, *needs)]
        words += ["--checkpoints", str(folder / "checkpoints"), "--training", str(folder / f"{run}.parquet")]
        words += ["--start", str(folder / start)] if start else []
        CliRunner().invoke(train_command, [*words, "--out", str(folder / run)], catch_exceptions=False)
        paths[run] = folder / run
    return paths


def generate(kind: str, system: str, out: Path, words: list[str], **overlay: Any) -> Any:
    settings = config_text(**config.merge(tiny.OVERLAY, overlay))
    words = [kind, "--config", settings, "--system", system, *words, "--out", str(out)]
    CliRunner().invoke(command, words, catch_exceptions=False)
    return out


def flags(paths: dict[str, Path], system: str) -> list[str]:
    run, names = RUNS[system]
    return [*tiny.flags(paths, *names), "--model", str(paths[run])]


def expected(paths: dict[str, Path], split: str) -> list[str]:
    pairs = tables.read(paths["pairs"], "pairs").set_index("pair_id")
    accepted = tables.read(paths["registrations"], "registrations").set_index("pair_id")["accepted"]
    valid = tables.read(paths["progressions"], "progressions").set_index("pair_id")["valid"]
    return sorted(pairs.index[(pairs["split"] == split) & accepted & valid])


@pytest.mark.parametrize("system", RUNS)
def test_one_picture_a_seed_and_accepted_test_pair(paths: dict[str, Path], tmp_path: Path, system: str) -> None:
    out = generate("pictures", system, tmp_path / "out.parquet", flags(paths, system))
    drawn = tables.read(out, "generated")
    for seed in (0, 1):
        assert drawn.loc[drawn["seed"] == seed, "pair_id"].tolist() == expected(paths, "test")
    pictures = np.stack([pixels.decode_png(png) for png in drawn["png"]])
    assert pictures.shape[1:] == (16, 16)
    assert pictures.std() > 0
    first, second = (drawn.loc[drawn["seed"] == seed, "png"].tolist() for seed in (0, 1))
    assert first != second
    again = generate("pictures", system, tmp_path / "again.parquet", flags(paths, system), generate={"batch_size": 2})
    other = np.stack([pixels.decode_png(png) for png in tables.read(again, "generated")["png"]])
    assert np.abs(other - pictures).max() <= 1 / 255 + 1e-6, "the batch size is no part of the picture"


def test_same_seed_gives_the_same_file_contents(paths: dict[str, Path], tmp_path: Path) -> None:
    first, second = (
        tables.read(generate("pictures", "biomedjourney", tmp_path / name, flags(paths, "biomedjourney")), "generated")
        for name in ("a.parquet", "b.parquet")
    )
    pd.testing.assert_frame_equal(first, second)


def test_stored_pictures_are_those_of_the_tables(paths: dict[str, Path], tmp_path: Path) -> None:
    chosen = tables.read(paths["pairs"], "pairs").set_index("pair_id").loc[expected(paths, "test")]
    registered = tables.read(paths["registered"], "registered").set_index("pair_id")["png"]
    stored = tables.read(paths["pixels"], "pixels").set_index("dicom_id")["png"]
    halves = []
    for i in range(2):  # two shards
        halves.append(tmp_path / f"{i}.parquet")
        tables.write(halves[-1], "pixels", tables.read(paths["pixels"], "pixels").iloc[i::2])
    shards = [word for half in halves for word in ("--pixels", str(half))]
    for system, words in (("copy-prior", tiny.flags(paths, "registered")), ("real-follow-up", shards)):
        out = generate("pictures", system, tmp_path / "out.parquet", [*tiny.flags(paths, *CHOICE), *words])
        drawn = tables.read(out, "generated")
        assert sorted(drawn["seed"].unique()) == [0, 1]
        for row in drawn.itertuples():
            own = registered[row.pair_id] if system == "copy-prior" else stored[chosen.loc[row.pair_id, "dicom_id"]]
            assert row.png == own
        assert sorted(drawn.loc[drawn["seed"] == 0, "pair_id"]) == expected(paths, "test")
    with pytest.raises(UserError, match="pictures are missing: give every shard"):
        generate("pictures", "real-follow-up", tmp_path / "no.parquet", [*tiny.flags(paths, *CHOICE), *shards[:2]])
    assert not (tmp_path / "no.parquet").exists()


def test_sweep_draws_the_same_validation_pairs_at_every_pair_of_scales(paths: dict[str, Path], tmp_path: Path) -> None:
    drawn = tables.read(generate("sweep", "biomedjourney", tmp_path / "s", flags(paths, "biomedjourney")), "sweeps")
    by_scales = drawn.groupby(["text_scale", "image_scale"])["pair_id"].agg(list)
    assert list(by_scales.index) == [(1.0, 1.0), (1.0, 1.5), (2.0, 1.0), (2.0, 1.5)]
    assert len(by_scales.iloc[0]) == 3
    assert all(own == by_scales.iloc[0] for own in by_scales)
    assert set(by_scales.iloc[0]) <= set(expected(paths, "validation"))
    assert drawn["png"].nunique() == len(drawn)


def test_sweep_of_a_model_without_prior_has_one_image_scale(paths: dict[str, Path], tmp_path: Path) -> None:
    drawn = tables.read(generate("sweep", "text-only", tmp_path / "s", flags(paths, "text-only")), "sweeps")
    assert set(drawn["image_scale"]) == {1.0}
    assert set(drawn["text_scale"]) == {1.0, 2.0}


def test_swept_pairs_hardly_depend_on_the_others() -> None:
    ids = [f"pair{i}" for i in range(50)]
    chosen = {ids[place] for place in sweep_sample(ids, 10, 0)}
    fewer = [name for name in ids if name != "pair7"]
    assert len(chosen) == 10
    assert len(chosen & {fewer[place] for place in sweep_sample(fewer, 10, 0)}) >= 9
    assert chosen != {ids[place] for place in sweep_sample(ids, 10, 1)}
    assert sweep_sample(ids, 100, 0) == list(range(50))


def guidance(folder: Path, rows: list[tuple[str, float, float, bool]]) -> Path:
    frame = pd.DataFrame(rows, columns=["system", "text_scale", "image_scale", "chosen"]).assign(n=3)
    tables.write(folder / "guidance.parquet", "guidance", frame.assign(**dict.fromkeys(tables.MEASURES, 0.5)))
    return folder / "guidance.parquet"


def test_chosen_scales_are_used(paths: dict[str, Path], tmp_path: Path) -> None:
    rows = [("biomedjourney", 2.0, 1.5, True), ("biomedjourney", 3.0, 1.0, False), ("text-only", 9.0, 1.0, True)]
    words = flags(paths, "biomedjourney")
    table = ["--guidance", str(guidance(tmp_path, rows))]
    default = generate("pictures", "biomedjourney", tmp_path / "default.parquet", words)
    chosen = generate("pictures", "biomedjourney", tmp_path / "chosen.parquet", [*words, *table])
    asked = {"guidance": {"text_scale": 2.0, "image_scale": 1.5}}
    same = generate("pictures", "biomedjourney", tmp_path / "same.parquet", words, generate=asked)
    found = [tables.read(path, "generated")["png"].tolist() for path in (default, chosen, same)]
    assert found[1] == found[2] != found[0]


def test_export_is_whole_and_read_by_stock_diffusers(paths: dict[str, Path], tmp_path: Path) -> None:
    tower = tmp_path / "tower"
    tower.mkdir()
    (tower / "weights").write_bytes(b"1")
    words = [*tiny.flags(paths, "first_stage"), "--model", str(paths["stage2"]), "--text-tower", str(tower)]
    words += ["--guidance", str(guidance(tmp_path, [("biomedjourney", 2.0, 1.25, True)]))]
    out = generate("export", "biomedjourney", tmp_path / "exported", words)
    described = json.loads((out / "model.json").read_text())
    assert (described["size"], described["max_tokens"], described["prior"]) == (16, tiny.TOKENS + 2, "registered")
    assert (described["text_scale"], described["image_scale"], described["steps"]) == (2.0, 1.25, 2)
    assert described["trained"]["images_seen"] == 24
    assert (out / "text_tower" / "weights").read_bytes() == b"1"
    assert (out / "first_stage" / "config.json").is_file()
    assert UNet2DConditionModel.from_pretrained(out / "unet").config.in_channels == 8
    assert DDIMScheduler.from_pretrained(out / "scheduler").config.prediction_type == "v_prediction"


def test_mistakes_are_named_in_one_line(paths: dict[str, Path], tmp_path: Path) -> None:
    def refused(system: str, words: list[str], message: str) -> None:
        with pytest.raises(UserError, match=message) as caught:
            generate("pictures", system, tmp_path / "no.parquet", words)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "no.parquet").exists()

    refused("nobody", [], "no system 'nobody'.*biomedjourney")
    refused("copy-prior", tiny.flags(paths, *CHOICE), "--registered is missing")
    refused("biomedjourney", tiny.flags(paths, *RUNS["biomedjourney"][1]), "--model is missing.*stage2")
    wrong = [*tiny.flags(paths, *RUNS["biomedjourney"][1]), "--model", str(paths["stage1"])]
    refused("biomedjourney", wrong, "model of run stage1, expected that of run stage2")
    wrong[-1] = str(tmp_path)
    refused("biomedjourney", wrong, "not the folder of a trained model")
    unread = tmp_path / "texts.parquet"
    tables.write(unread, "texts", tables.read(paths["texts"], "texts").iloc[:1])
    refused(
        "biomedjourney", flags(paths | {"texts": unread}, "biomedjourney"), "texts.parquet: 1 texts were not encoded"
    )
    latents = tables.read(paths["prior_latents"], "latents")
    fewer = tmp_path / "priors.parquet"
    tables.write(fewer, "latents", latents[latents["id"] != expected(paths, "test")[0]])
    refused("biomedjourney", flags(paths | {"prior_latents": fewer}, "biomedjourney"), "priors.parquet: no latent of")
    with pytest.raises(UserError, match="stored picture and has no guidance"):
        generate("sweep", "copy-prior", tmp_path / "no.parquet", ["--model", str(tmp_path)])
