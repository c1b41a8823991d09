"""Systems of somebody else's weights: whole folders in the published formats, drawn by the real commands."""

from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pandas as pd
import pytest
import torch
import transformers
from click.testing import CliRunner

from biomedjourney import config, pixels, tables
from biomedjourney.errors import UserError
from biomedjourney.generate import pipeline as pipelines
from biomedjourney.generate.command import command
from tests.helpers import published, tiny
from tests.helpers.fabricated import config_text

SIDE, NATIVE = 32, 64
SYSTEMS = {
    "stable-diffusion": {"prior": "none", "text": "description"},
    "instruct-pix2pix": {"prior": "registered", "text": "description"},
    "roentgen": {"prior": "none", "text": "report"},
}
LONG = "Moderate cardiomegaly; new small left-sided pleural effusion, 3.5 cm. " * 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders of the systems by their names. RoentGen's here has an encoder that reads 256 tokens."""
    folder = tmp_path_factory.mktemp("pipelines")
    published.pipeline(folder / "stable-diffusion")
    published.pipeline(folder / "instruct-pix2pix", prior=True)
    published.pipeline(folder / "roentgen", tokens=256, scheduler="DDIMScheduler")
    return folder


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return tiny.write(tmp_path_factory.mktemp("tables"))


def generate(kind: str, system: str, folder: Path, paths: dict[str, Path], out: Path, **overlay: Any) -> pd.DataFrame:
    systems = {name: own | {"pipeline": str(folder / name)} for name, own in SYSTEMS.items()}
    base = config.merge(tiny.OVERLAY, {"systems": systems, "preprocess": {"size": SIDE}})
    settings = config_text(**config.merge(base, overlay))
    words = [kind, "--config", settings, "--system", system, *tiny.flags(paths, "triples", "singles", "registered")]
    CliRunner().invoke(command, [*words, "--out", str(out)], catch_exceptions=False)
    return tables.read(out, {"pictures": "generated", "sweep": "sweeps"}[kind])


def load(folder: Path, system: str, side: int = NATIVE) -> pipelines.Pipeline:
    return pipelines.load(folder / system, SYSTEMS[system], side)


def pictures(rows: pd.DataFrame) -> np.ndarray:
    return np.stack([pixels.decode_png(png) for png in rows["png"]])


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_picture_depends_on_seed_and_pair_and_not_on_the_batch(
    folder: Path, paths: dict[str, Path], tmp_path: Path, system: str
) -> None:
    """InstructPix2Pix's sampler adds noise at every step, which must be keyed too."""
    drawn = generate("pictures", system, folder, paths, tmp_path / "a")
    triples = tables.read(paths["triples"], "triples")
    expected = sorted(triples.loc[(triples["split"] == "test") & triples["compared"], "pair_id"])
    assert [list(rows["pair_id"]) for _, rows in drawn.groupby("seed")] == [expected, expected]
    assert pictures(drawn).shape[1:] == (SIDE, SIDE)
    assert len(set(drawn["png"])) == len(drawn) > 4
    again = generate("pictures", system, folder, paths, tmp_path / "b", generate={"batch_size": 2})
    assert np.abs(pictures(again) - pictures(drawn)).max() <= 1 / 255 + 1e-6


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_own_prior_and_the_own_text_matter_and_no_others(
    folder: Path, paths: dict[str, Path], tmp_path: Path, system: str
) -> None:
    registered = tables.read(paths["registered"], "registered")
    triples = tables.read(paths["triples"], "triples")
    singles = tables.read(paths["singles"], "singles")
    pair_id = triples.loc[(triples["split"] == "test") & triples["compared"], "pair_id"].iloc[1]
    registered = registered.set_index("pair_id", drop=False)
    registered.at[pair_id, "png"] = pixels.encode_png(np.eye(16))
    triples.loc[triples["pair_id"] == pair_id, "description"] = "a large new opacity"
    dicom_id = triples.loc[triples["pair_id"] == pair_id, "dicom_id"].item()
    singles.loc[singles["dicom_id"] == dicom_id, "text"] = "a large new opacity"
    changed = {"registered": registered, "triples": triples, "singles": singles}
    for name, rows in changed.items():
        tables.write(tmp_path / name, name, rows)
    few = {"generate": {"seeds": [0], "guidance": {"text_scale": 7.5, "image_scale": 1.5}}}
    before = generate("pictures", system, folder, paths, tmp_path / "before", **few).set_index("pair_id")["png"]
    reads = {"registered": SYSTEMS[system]["prior"] == "registered"}
    reads |= {
        name: SYSTEMS[system]["text"] == text for name, text in (("triples", "description"), ("singles", "report"))
    }
    for name, is_read in reads.items():
        others = paths | {name: tmp_path / name}
        after = generate("pictures", system, folder, others, tmp_path / "after", **few).set_index("pair_id")["png"]
        assert list(before.index[before != after]) == ([pair_id] if is_read else []), name


@pytest.mark.parametrize(("system", "tokens"), [("stable-diffusion", 77), ("roentgen", 256), ("instruct-pix2pix", 77)])
def test_the_network_is_given_the_encoded_text_and_the_encoded_empty_one(
    folder: Path, system: str, tokens: int
) -> None:
    """By hand: CLIP's own word pieces, cut as CLIP cuts them, with the end's token in place of padding."""
    pipeline = load(folder, system)
    assert pipeline.facts.tokens == tokens
    assert pipeline.cut([LONG, "no change"]) == 1
    given = []
    pipeline.pipeline.unet.register_forward_pre_hook(
        lambda module, words, named: given.append(named["encoder_hidden_states"]), with_kwargs=True
    )
    priors = np.full((2, NATIVE, NATIVE), 0.5, np.float32)
    pipeline.draw(["a", "b"], 0, priors, ["No change", LONG], 2.0, 1.5, 1)
    reference = open_clip.tokenizer.SimpleTokenizer()
    end = reference.eot_token_id
    encoder = transformers.CLIPTextModel.from_pretrained(folder / system / "text_encoder")

    def states(text: str) -> torch.Tensor:
        ids = reference([text], tokens)
        ids[0, int((ids[0] == end).nonzero()[0]) :] = end
        return encoder(ids).last_hidden_state[0]

    text = [states("No change"), states(LONG)]
    null = [states("")] * 2
    expected = [*text, *null, *null] if SYSTEMS[system]["prior"] == "registered" else [*null, *text]
    torch.testing.assert_close(given[0], torch.stack(expected), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(given[0][0], given[0][-1])


def test_the_prior_comes_at_the_pipeline_s_size_as_colours_and_the_picture_at_ours(folder: Path) -> None:
    pipeline = load(folder, "instruct-pix2pix", SIDE)
    seen = []
    encode = pipeline.pipeline.vae.encode
    pipeline.pipeline.vae.encode = lambda x: seen.append(x) or encode(x)
    prior = np.linspace(0, 1, 32 * 32, dtype=np.float32).reshape(1, 32, 32)
    arguments = (["a"], 0, prior, ["new"], 2.0, 1.5, 2)
    drawn = pipeline.draw(*arguments)
    [image] = seen
    assert image.shape == (1, 3, NATIVE, NATIVE)
    assert (image.min(), image.max()) == (-1, 1)
    assert torch.equal(image[:, 0], image[:, 2])
    native = load(folder, "instruct-pix2pix").draw(*arguments)
    assert native.shape == (1, NATIVE, NATIVE)
    assert drawn.shape == (1, SIDE, SIDE)
    means = native.reshape(SIDE, NATIVE // SIDE, SIDE, NATIVE // SIDE).mean(axis=(1, 3))
    assert np.corrcoef(means.ravel(), drawn.ravel())[0, 1] > 0.95
    assert abs(means.mean() - drawn.mean()) < 0.01


def test_a_size_of_the_system_s_own_is_drawn(folder: Path) -> None:
    own = SYSTEMS["stable-diffusion"] | {"size": 32}
    assert pipelines.load(folder / "stable-diffusion", own, SIDE).latent_shape == (4, 8, 8)
    with pytest.raises(UserError, match="pictures of 34 pixels: set the system's size to a multiple of 4"):
        pipelines.load(folder / "stable-diffusion", own | {"size": 34}, SIDE)


def test_both_scales_guide_also_where_diffusers_would_switch_them_off(folder: Path) -> None:
    pipeline = load(folder, "instruct-pix2pix")
    prior = np.full((1, NATIVE, NATIVE), 0.25, np.float32)

    def draw(text_scale: float, image_scale: float) -> np.ndarray:
        return pipeline.draw(["a"], 0, prior, ["large new effusion"], text_scale, image_scale, 3)

    assert np.abs(draw(1, 3) - draw(1, 1)).max() > 1e-3
    assert np.abs(draw(1, 3) - draw(1.001, 3)).max() < 1e-3
    assert np.abs(draw(5, 1) - draw(1, 1)).max() > 1e-3
    for scales in ((0.5, 1.5), (2, 0.5)):
        with pytest.raises(UserError, match="diffusers guides by scales of 1 and more"):
            draw(*scales)


@pytest.mark.parametrize(("system", "image_scales"), [("instruct-pix2pix", {1.0, 1.5}), ("roentgen", {1.0})])
def test_sweep(folder: Path, paths: dict[str, Path], tmp_path: Path, system: str, image_scales: set[float]) -> None:
    drawn = generate("sweep", system, folder, paths, tmp_path / "s")
    assert (set(drawn["text_scale"]), set(drawn["image_scale"])) == ({1.0, 2.0}, image_scales)
    assert set(drawn.groupby(["text_scale", "image_scale"]).size()) == {3}
    assert len(set(drawn["png"])) == len(drawn)


def test_how_many_texts_are_cut_is_said_and_not_what_they_say(
    folder: Path, paths: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    triples = tables.read(paths["triples"], "triples").assign(description=f"SECRET {LONG} SECRET")
    tables.write(tmp_path / "triples", "triples", triples)
    few = {"generate": {"seeds": [0]}}
    settings = paths | {"triples": tmp_path / "triples"}
    systems = {name: own | {"pipeline": str(folder / name)} for name, own in SYSTEMS.items()}
    overlay = config.merge(tiny.OVERLAY, {"systems": systems, "preprocess": {"size": SIDE}})
    words = ["pictures", "--config", config_text(**config.merge(overlay, few)), "--system", "stable-diffusion"]
    words += [*tiny.flags(settings, "triples"), "--out", str(tmp_path / "out")]
    said = CliRunner().invoke(command, words, catch_exceptions=False).output
    count = len(tables.read(tmp_path / "out", "generated"))
    assert f"{count} of {count} texts have more than 77 tokens and are cut" in said
    out, err = capfd.readouterr()
    assert "SECRET" not in said + out + err


def test_what_is_missing_is_named(folder: Path, paths: dict[str, Path], tmp_path: Path) -> None:
    pipeline = load(folder, "instruct-pix2pix")
    with pytest.raises(UserError, match="--registered is missing"):
        pipelines.conditions(pd.DataFrame({"text": ["a"], "prior": ["1-2"]}), pipeline, ())
    registered = tables.read(paths["registered"], "registered").iloc[:-1]
    registered = registered[registered["pair_id"] != "6-7"]
    tables.write(tmp_path / "r", "registered", registered)
    triples = tables.read(paths["triples"], "triples")
    triples.loc[triples["pair_id"] == "6-7", "compared"] = True
    tables.write(tmp_path / "t", "triples", triples)
    with pytest.raises(UserError, match="1 of 5 pictures are missing: give every shard of the table registered"):
        generate(
            "pictures",
            "instruct-pix2pix",
            folder,
            paths | {"registered": tmp_path / "r", "triples": tmp_path / "t"},
            tmp_path / "out",
        )
    with pytest.raises(UserError, match="but the system has prior none: set its prior to registered"):
        pipelines.load(folder / "instruct-pix2pix", SYSTEMS["stable-diffusion"], SIDE)
