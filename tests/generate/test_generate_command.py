"""The real commands on a tiny problem."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from diffusers import DDIMScheduler, UNet2DConditionModel

from biomedjourney import config, pixels, tables
from biomedjourney.errors import UserError
from biomedjourney.examples import pad
from biomedjourney.generate.command import command
from biomedjourney.generate.draw import sweep_sample
from biomedjourney.generate.model import load
from biomedjourney.measures import GUIDING
from biomedjourney.train.command import command as train_command
from tests.helpers import tiny
from tests.helpers.fabricated import config_text

RUNS = {
    "biomedjourney": ("stage2", ("triples", "prior_latents", "texts", "first_stage")),
    "text-only": ("stage1", ("triples", "singles", "texts", "first_stage")),
    "no-registration": ("stage2-no-registration", ("triples", "latents", "texts", "first_stage")),
}


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The tables, and the folders of the runs, trained for a few steps; stage2.1 has another training seed."""
    folder = tmp_path_factory.mktemp("trained")
    paths = tiny.write(folder)
    needs = ("singles", "triples", "latents", "prior_latents", "texts")
    for name, start in (
        ("stage1", None), ("stage2", "stage1"), ("stage2.1", "stage1"), ("stage2-no-registration", "stage1"),
    ):  # fmt: skip
        run, _, seed = name.partition(".")
        own = {"train": {"runs": {"stage2-no-registration": {"start": "stage1"}}}}
        words = ["--config", config_text(**config.merge(tiny.OVERLAY, own)), "--run", run, *tiny.flags(paths, *needs)]
        words += ["--checkpoints", str(folder / "checkpoints"), "--training", str(folder / f"{name}.parquet")]
        words += ["--training-seed", seed] if seed else []
        words += ["--start", str(folder / start)] if start else []
        CliRunner().invoke(train_command, [*words, "--out", str(folder / name)], catch_exceptions=False)
        paths[name] = folder / name
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
    triples = tables.read(paths["triples"], "triples")
    return sorted(triples.loc[(triples["split"] == split) & triples["compared"], "pair_id"])


@pytest.mark.parametrize("system", RUNS)
def test_one_picture_per_seed_and_compared_test_pair(paths: dict[str, Path], tmp_path: Path, system: str) -> None:
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


def test_a_picture_depends_on_the_prior_and_the_text_of_its_own_pair_alone(
    paths: dict[str, Path], tmp_path: Path
) -> None:
    def pictures(**changed: Path) -> pd.Series:
        words = flags(paths | changed, "biomedjourney")
        out = generate("pictures", "biomedjourney", tmp_path / "out.parquet", words, generate={"seeds": [0]})
        return tables.read(out, "generated").set_index("pair_id")["png"]

    pair_id = expected(paths, "test")[1]
    latents = tables.read(paths["prior_latents"], "latents")
    latents.loc[latents["id"] == pair_id, "mean"] = np.full(tiny.SHAPE, 50.0, np.float16).tobytes()
    tables.write(tmp_path / "latents.parquet", "latents", latents)
    triples = tables.read(paths["triples"], "triples")
    text = triples.loc[triples["pair_id"] == pair_id, "description"].item()
    other_text = next(other for other in tiny.TEXTS if other != text)
    triples.loc[triples["pair_id"] == pair_id, "description"] = other_text
    tables.write(tmp_path / "triples.parquet", "triples", triples)
    before = pictures()
    for changed in ({"prior_latents": tmp_path / "latents.parquet"}, {"triples": tmp_path / "triples.parquet"}):
        after = pictures(**changed)
        assert list(before.index[before != after]) == [pair_id], changed


def test_every_training_seed_draws_every_picture_from_the_same_noise(paths: dict[str, Path], tmp_path: Path) -> None:
    words, second = flags(paths, "biomedjourney"), ["--model", str(paths["stage2.1"])]
    alone = tables.read(generate("pictures", "biomedjourney", tmp_path / "alone", words), "generated")
    assert set(alone["training_seed"]) == {0}
    drawn = tables.read(generate("pictures", "biomedjourney", tmp_path / "both", [*second, *words]), "generated")
    assert drawn["training_seed"].is_monotonic_increasing
    first, other = (drawn[drawn["training_seed"] == seed].reset_index(drop=True) for seed in (0, 1))
    pd.testing.assert_frame_equal(first, alone)
    pd.testing.assert_frame_equal(first[["seed", "pair_id"]], other[["seed", "pair_id"]])
    assert (first["png"] != other["png"]).all()
    swapped = tiny.copy_to_change(paths["stage2.1"], tmp_path / "swapped")  # the first model, as if of the second seed
    shutil.rmtree(swapped / "unet")
    shutil.copytree(paths["stage2"] / "unet", swapped / "unet")
    words += ["--model", str(swapped)]
    same = tables.read(generate("pictures", "biomedjourney", tmp_path / "same", words), "generated")
    assert same.groupby(["seed", "pair_id"])["png"].nunique().eq(1).all()


def test_same_seed_gives_the_same_file_contents(paths: dict[str, Path], tmp_path: Path) -> None:
    first, second = (
        tables.read(generate("pictures", "biomedjourney", tmp_path / name, flags(paths, "biomedjourney")), "generated")
        for name in ("a.parquet", "b.parquet")
    )
    pd.testing.assert_frame_equal(first, second)


def test_stored_pictures_are_those_of_the_tables(paths: dict[str, Path], tmp_path: Path) -> None:
    test_triples = tables.read(paths["triples"], "triples").set_index("pair_id").loc[expected(paths, "test")]
    registered = tables.read(paths["registered"], "registered").set_index("pair_id")["png"]
    stored = tables.read(paths["pixels"], "pixels").set_index("dicom_id")["png"]
    halves = []
    for i in range(2):  # two shards
        halves.append(tmp_path / f"{i}.parquet")
        tables.write(halves[-1], "pixels", tables.read(paths["pixels"], "pixels").iloc[i::2])
    shards = [word for half in halves for word in ("--stored", str(half))]
    for system, words in (("copy-prior", ["--stored", str(paths["registered"])]), ("real-follow-up", shards)):
        out = generate("copies", system, tmp_path / "out.parquet", [*tiny.flags(paths, "triples"), *words])
        drawn = tables.read(out, "generated")
        assert sorted(drawn["seed"].unique()) == [0, 1]
        for row in drawn.itertuples():
            own = (
                registered[row.pair_id] if system == "copy-prior" else stored[test_triples.loc[row.pair_id, "dicom_id"]]
            )
            assert row.png == own
        assert sorted(drawn.loc[drawn["seed"] == 0, "pair_id"]) == expected(paths, "test")
    with pytest.raises(UserError, match="pictures are missing: give every shard"):
        generate("copies", "real-follow-up", tmp_path / "no.parquet", [*tiny.flags(paths, "triples"), *shards[:2]])
    assert not (tmp_path / "no.parquet").exists()


def test_a_stored_picture_is_copied_for_each_pair_that_it_is_the_current_one_of(
    paths: dict[str, Path], tmp_path: Path
) -> None:
    """As `pair.priors: all` makes them: a study has a pair with every earlier one."""
    pair_ids = expected(paths, "test")
    triples = tables.read(paths["triples"], "triples").set_index("pair_id", drop=False)
    triples.loc[pair_ids[1], "dicom_id"] = triples.loc[pair_ids[0], "dicom_id"]
    tables.write(tmp_path / "triples.parquet", "triples", triples)
    words = ["--triples", str(tmp_path / "triples.parquet"), "--stored", str(paths["pixels"])]
    drawn = tables.read(generate("copies", "real-follow-up", tmp_path / "out.parquet", words), "generated")
    assert sorted(drawn.loc[drawn["seed"] == 0, "pair_id"]) == pair_ids
    pngs = drawn[drawn["seed"] == 0].set_index("pair_id")["png"]
    assert pngs[pair_ids[0]] == pngs[pair_ids[1]]


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


def test_each_sampler_draws_the_same_pairs_at_the_chosen_scales(paths: dict[str, Path], tmp_path: Path) -> None:
    words = flags(paths, "biomedjourney")
    table = ["--guidance", str(guidance(tmp_path, [("biomedjourney", 2.0, 1.5, True)]))]
    out = generate("samplers", "biomedjourney", tmp_path / "out", [*words, *table])
    drawn = tables.read(out, "sampled")
    pair_ids = expected(paths, "validation")
    pair_ids = [pair_ids[place] for place in sweep_sample(pair_ids, 3, 0)]
    samplers = drawn.groupby(["solver", "steps", "evaluations"], sort=False)["pair_id"].agg(list).to_dict()
    assert samplers == {("ddim", 2, 6): pair_ids, ("dpm-solver++", 4, 12): pair_ids}
    sweep = {"guidance": {"sweep": {"text_scales": [2.0], "image_scales": [1.5]}}}
    for sampler, rows in drawn.groupby(["solver", "steps"]):
        settings = dict(zip(("solver", "steps"), sampler, strict=True)) | sweep
        swept = tables.read(generate("sweep", "biomedjourney", tmp_path / "s", words, generate=settings), "sweeps")
        assert swept["png"].tolist() == rows["png"].tolist(), "what generate.solver and generate.steps draw"
    assert drawn["png"].nunique() == len(drawn)
    with pytest.raises(UserError, match=r"generate.samplers: null: name the samplers"):
        generate("samplers", "biomedjourney", tmp_path / "no", words, generate={"samplers": None})


def guidance(folder: Path, rows: list[tuple[str, float, float, bool]]) -> Path:
    frame = pd.DataFrame(rows, columns=["system", "text_scale", "image_scale", "chosen"]).assign(n=3)
    tables.write(
        folder / "guidance.parquet",
        "guidance",
        frame.assign(**dict.fromkeys([measure.name for measure in GUIDING], 0.5)),
    )
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
    pair_ids, settings = expected(paths, "test"), tiny.OVERLAY
    prior_latents = tables.read(paths["prior_latents"], "latents").set_index("id")["mean"]
    priors = np.stack([np.frombuffer(prior_latents[pair_id], np.float16) for pair_id in pair_ids])
    texts = tables.read(paths["triples"], "triples").set_index("pair_id")["description"]
    states = pad([tiny.states(texts[pair_id]) for pair_id in pair_ids], settings["text"]["max_tokens"])
    model = load(paths["stage2"], paths["first_stage"])
    arguments = {"prior_latents": priors.reshape(-1, *tiny.SHAPE).astype(np.float32), "states": states, "steps": 2}
    drawn = model.draw(pair_ids, 0, text_scale=2.0, image_scale=1.5, **arguments)
    swapped = model.draw(pair_ids, 0, text_scale=1.5, image_scale=2.0, **arguments)
    pictures = np.stack([pixels.decode_png(png) for png in found[1][: len(pair_ids)]])
    assert np.abs(pictures - drawn).max() <= 0.5 / 255 + 1e-3 < np.abs(swapped - drawn).max()


def test_export_is_whole_and_read_by_stock_diffusers(paths: dict[str, Path], tmp_path: Path) -> None:
    tower = tiny.text_tower(tmp_path / "tower")
    words = [*tiny.flags(paths, "first_stage"), "--model", str(paths["stage2"]), "--text-tower", str(tower)]
    words += ["--guidance", str(guidance(tmp_path, [("biomedjourney", 2.0, 1.25, True)]))]
    out = generate("export", "biomedjourney", tmp_path / "exported", words)
    described = json.loads((out / "model.json").read_text())
    assert (described["size"], described["max_tokens"], described["prior"]) == (16, tiny.TOKENS + 2, "registered")
    assert (described["text_scale"], described["image_scale"], described["steps"]) == (2.0, 1.25, 2)
    trained = described["trained"]
    assert (trained["run"], trained["images_seen"]) == ("stage2", 24)
    assert (trained["start"]["run"], trained["start"]["settings"]["run"]["data"]) == ("stage1", "singles")
    phantom = trained["settings"]["phantom"]
    assert phantom is not None
    assert trained["start"]["settings"]["phantom"] == phantom
    for path in (path for path in tower.rglob("*") if path.is_file()):
        assert (out / "text_tower" / path.relative_to(tower)).read_bytes() == path.read_bytes()
    assert (out / "vae" / "config.json").is_file()
    assert UNet2DConditionModel.from_pretrained(out / "unet").config.in_channels == 8
    assert DDIMScheduler.from_pretrained(out / "scheduler").config.prediction_type == "v_prediction"


@pytest.mark.parametrize(
    ("kind", "system"), [("pictures", "biomedjourney"), ("copies", "copy-prior"), ("sweep", "text-only")]
)
def test_shards_together_hold_what_one_job_draws(
    paths: dict[str, Path], tmp_path: Path, kind: str, system: str
) -> None:
    words = flags(paths, system) if kind != "copies" else tiny.flags(paths, "triples")
    words += ["--stored", str(paths["registered"])] if kind == "copies" else []
    table = {"sweep": "sweeps"}.get(kind, "generated")
    whole = tables.read(generate(kind, system, tmp_path / "whole", words), table)
    parts = [
        tables.read(
            generate(kind, system, tmp_path / f"{shard}", [*words, "--shard", str(shard)], generate={"shards": 2}),
            table,
        )
        for shard in range(2)
    ]
    assert all(len(part) for part in parts)
    key = [column for column in whole.columns if column != "png"]
    joined = pd.concat(parts).sort_values(key, ignore_index=True)
    whole = whole.sort_values(key, ignore_index=True)
    pd.testing.assert_frame_equal(joined[key], whole[key])
    first, second = (np.stack([pixels.decode_png(png) for png in rows["png"]]) for rows in (joined, whole))
    assert np.abs(first - second).max() <= 1 / 255 + 1e-6
    with pytest.raises(UserError, match="shard 2 of 2 has no pair"):
        generate(kind, system, tmp_path / "no", [*words, "--shard", "2"], generate={"shards": 2})


def test_another_writer_draws_the_same_pairs_and_an_empty_text_is_the_null_text(
    paths: dict[str, Path], tmp_path: Path
) -> None:
    """Its text need not be valid: which pairs are compared, the first writer has decided."""
    triples = tables.read(paths["triples"], "triples").assign(writer="impression", accepted=False, reason="not valid")
    first_pair = expected(paths, "test")[0]
    triples.loc[triples["pair_id"] == first_pair, "description"] = ""
    other = tmp_path / "impression.parquet"
    tables.write(other, "triples", triples)
    run = {"train": {"runs": {"stage2": {"writer": "impression"}}}}
    model = tiny.copy_to_change(paths["stage2"], tmp_path / "model")
    facts = json.loads((model / "run.json").read_text())
    facts["settings"]["run"]["writer"] = "impression"
    (model / "run.json").write_text(json.dumps(facts))
    words = flags(paths | {"triples": other, "stage2": model}, "biomedjourney")
    drawn = tables.read(generate("pictures", "biomedjourney", tmp_path / "out", words, **run), "generated")
    usual = tables.read(
        generate("pictures", "biomedjourney", tmp_path / "usual", flags(paths, "biomedjourney")), "generated"
    )
    assert drawn["pair_id"].tolist() == usual["pair_id"].tolist()
    assert (
        drawn.loc[drawn["pair_id"] == first_pair, "png"].tolist()
        != usual.loc[usual["pair_id"] == first_pair, "png"].tolist()
    )


def test_mistakes_are_named_in_one_line(paths: dict[str, Path], tmp_path: Path) -> None:
    def refused(kind: str, system: str, words: list[str], message: str) -> None:
        with pytest.raises(UserError, match=message) as caught:
            generate(kind, system, tmp_path / "no.parquet", words)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "no.parquet").exists()

    inputs, model = tiny.flags(paths, *RUNS["biomedjourney"][1]), ["--model", str(paths["stage2"])]
    refused("pictures", "nobody", [*inputs, *model], "no system 'nobody'.*biomedjourney")
    refused("pictures", "copy-prior", [*inputs, *model], "stored picture and has no model")
    refused("sweep", "copy-prior", [*inputs, *model], "stored picture and has no model")
    stored = [*tiny.flags(paths, "triples"), "--stored", str(paths["registered"])]
    refused("copies", "biomedjourney", stored, "biomedjourney is drawn by a model")
    refused(
        "pictures", "biomedjourney", [*inputs, "--model", str(paths["stage1"])], "stage1, expected that of run stage2"
    )
    refused("pictures", "biomedjourney", [*inputs, "--model", str(tmp_path)], "not the folder of a trained model")
    twice = [*inputs, *model, "--model", str(shutil.copytree(paths["stage2"], tmp_path / "copy"))]
    refused("pictures", "biomedjourney", twice, "--model: 2 models of 1 training seeds: give each seed's once")
    refused("pictures", "biomedjourney", [*inputs, *model, "--model", str(paths["stage1"])], "stage1, expected that of")
    refused("pictures", "biomedjourney", [*tiny.flags(paths, "first_stage"), *model], "--triples is missing")
    no_schedule = tiny.copy_to_change(Path(model[1]), tmp_path / "no-schedule")
    shutil.rmtree(no_schedule / "scheduler")
    words = [*inputs, "--model", str(no_schedule)]
    refused(
        "pictures", "biomedjourney", words, r"scheduler_config.json: the noise schedule cannot be read .*: run train"
    )
    fewer_texts = tmp_path / "texts.parquet"
    tables.write(fewer_texts, "texts", tables.read(paths["texts"], "texts").iloc[:1])
    words = flags(paths | {"texts": fewer_texts}, "biomedjourney")
    refused("pictures", "biomedjourney", words, "texts.parquet: 1 texts were not encoded")
    latents = tables.read(paths["prior_latents"], "latents")
    fewer = tmp_path / "priors.parquet"
    tables.write(fewer, "latents", latents[latents["id"] != expected(paths, "test")[0]])
    refused("pictures", "biomedjourney", flags(paths | {"prior_latents": fewer}, "biomedjourney"), "no latent of")
    small = latents.assign(mean=[b"\0" * 128] * len(latents), std=[b"\0" * 128] * len(latents))
    small["shape"] = [[4, 4, 4]] * len(latents)
    tables.write(fewer, "latents", small)
    words = flags(paths | {"prior_latents": fewer}, "biomedjourney")
    refused("pictures", "biomedjourney", words, rf"^{paths['stage2']}: .* latents \(4, 8, 8\), .* are \(4, 4, 4\): ")
    refused("sweep", "biomedjourney", words, r"latents \(4, 8, 8\)")
    wide = tables.read(paths["texts"], "texts")
    wide["states"] = [b"\0" * 40] * len(wide)
    wide["shape"] = [[1, 20]] * len(wide)
    tables.write(fewer_texts, "texts", wide)
    for system in ("biomedjourney", "text-only"):
        words = flags(paths | {"texts": fewer_texts}, system)
        refused("pictures", system, words, "a model of text states of width 16, but these have 20: encode")
    other_stage = tiny.first_stage(tmp_path / "stage")
    stage_config = json.loads((other_stage / "config.json").read_text()) | {"scaling_factor": 0.13025}
    (other_stage / "config.json").write_text(json.dumps(stage_config))
    words = flags(paths | {"first_stage": other_stage}, "biomedjourney")
    refused("pictures", "biomedjourney", words, rf"^{other_stage}: .* scaled by 0.13025, but .* scaled by 0.5: give")
    other_writer = tmp_path / "other.parquet"
    tables.write(other_writer, "triples", tables.read(paths["triples"], "triples").assign(writer="impression"))
    words = flags(paths | {"triples": other_writer}, "biomedjourney")
    refused("pictures", "biomedjourney", words, "those of the writer rules")
