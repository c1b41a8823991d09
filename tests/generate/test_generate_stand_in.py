"""The miniature of somebody else's weights: drawn shapes, and a folder in the published form that draws our pairs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from biomedjourney import config, pixels, tables
from biomedjourney.errors import UserError
from biomedjourney.generate import pipeline, shapes, stand_in
from biomedjourney.generate.command import command
from biomedjourney.train import loop
from tests.helpers import tiny
from tests.helpers.fabricated import config_text

SIDE = 32
SYSTEMS = {
    "stable-diffusion": {"pipeline": None, "prior": "none", "text": "report"},
    "instruct-pix2pix": {"pipeline": None, "prior": "registered", "text": "description"},
}
OVERLAY = config.merge(
    tiny.OVERLAY,
    {
        "systems": SYSTEMS,
        "preprocess": {"size": SIDE},
        "pretrain": {"first_stage": {"steps": 2}, "stand_in": {"pictures": 12, "steps": 3, "batch_size": 4}},
    },
)


def settings(name: str, **overlay: Any) -> dict[str, Any]:
    return config.load([config_text(**config.merge(OVERLAY, overlay))], name)


def run(*words: str, **overlay: Any) -> None:
    text = config_text(**config.merge(OVERLAY, overlay))
    CliRunner().invoke(command, [words[0], "--config", text, *words[1:]], catch_exceptions=False)


def test_pictures_are_what_captions_and_edits_say() -> None:
    examples = [shapes.example(0, place, 64) for place in range(60)]
    assert np.array_equal(shapes.example(0, 7, 64).after, examples[7].after)
    assert not np.array_equal(shapes.example(1, 7, 64).after, examples[7].after)
    background = examples[0].after.min()
    kinds = set()
    for example in examples:
        kinds.add(example.edit.split()[0])
        before, after = (picture.astype(float).sum() for picture in (example.before, example.after))
        quarters = {"top": example.after[:32], "bottom": example.after[32:]}
        for half, rows in quarters.items():
            assert (rows > background).any() == (half in example.caption), example.caption
        if example.edit == "no change":
            assert np.array_equal(example.before, example.after)
        elif example.edit.startswith("add") or example.edit.endswith(("larger", "brighter")):
            assert after > before, example.edit
        else:
            assert after < before, example.edit
        assert set(f"{example.caption} {example.edit}".split()) <= set(shapes.words())
    assert kinds == {"add", "remove", "make", "no"}


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_folder_draws_as_a_published_one_and_comes_the_same_again(system: str, tmp_path: Path) -> None:
    paths = tiny.write(tmp_path)
    folder = tmp_path / "models" / system
    run("stand-in", "--system", system, "--out", str(folder))
    run("stand-in", "--system", system, "--out", str(tmp_path / "again"))
    unet = "unet/diffusion_pytorch_model.safetensors"
    assert (folder / unet).read_bytes() == (tmp_path / "again" / unet).read_bytes()
    config_of_unet = json.loads((folder / "unet" / "config.json").read_text())
    assert config_of_unet["in_channels"] == (8 if SYSTEMS[system]["prior"] == "registered" else 4)
    assert config_of_unet["encoder_hid_dim"] is None
    words = [*tiny.flags(paths, "triples", "singles", "registered"), "--model", str(folder)]
    run("pictures", "--system", system, *words, "--out", str(tmp_path / "out"))
    drawn = tables.read(tmp_path / "out", "generated")
    assert len(set(drawn["png"])) == len(drawn) > 4
    assert {pixels.decode_png(png).shape for png in drawn["png"]} == {(SIDE, SIDE)}
    with pytest.raises(UserError, match=f"--model is missing: {system} is drawn with it"):
        run("pictures", "--system", system, *words[:-2], "--out", str(tmp_path / "out"))


def test_its_word_pieces_know_the_captions_and_can_spell_all_else(tmp_path: Path) -> None:
    run("stand-in", "--system", "stable-diffusion", "--out", str(tmp_path / "m"))
    loaded = pipeline.load(tmp_path / "m", SYSTEMS["stable-diffusion"], SIDE).pipeline
    tokenizer = loaded.tokenizer
    caption = shapes.example(0, 3, 16).caption
    assert tokenizer.tokenize(" ".join(shapes.words())) == [f"{word}</w>" for word in shapes.words()]
    text = "Cardiomegaly, 3.5 cm; naïve"
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True).replace(" ", "") == (
        text.lower().replace(" ", "")
    )
    ids = tokenizer([caption, text], padding="max_length", return_tensors="pt").input_ids
    assert ids.shape == (2, stand_in.TOKENS)
    states = loaded.text_encoder(ids)[0]
    assert (states[0] - states[1]).abs().mean() > 0.1


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_dropped_text_is_the_encoded_empty_one(system: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the pipeline's null text, so that guidance means the same in training and in drawing."""
    seen: list[Any] = []

    def look(unet: Any, scheduler: Any, next_batch: Any, *more: Any, **named: Any) -> Any:
        seen.extend(next_batch(step) for step in range(6))
        return [{"loss": 0.0}]

    monkeypatch.setattr(loop, "train", look)
    dropped = {"text": 0.3, "image": 0.3, "both": 0.0}
    stand_in.train(system, settings("generate stand-in", train={"dropout": dropped}), tmp_path / "m")
    loaded = pipeline.load(tmp_path / "m", SYSTEMS[system], SIDE).pipeline
    ids = loaded.tokenizer("", padding="max_length", return_tensors="pt").input_ids
    null = loaded.text_encoder(ids)[0][0].detach().half()
    states = torch.cat([batch.states for batch in seen])
    is_null = [torch.equal(row, null) for row in states]
    assert 0 < sum(is_null) < len(is_null)
    priors = torch.cat([batch.prior for batch in seen])
    assert priors.shape[1] == (4 if SYSTEMS[system]["prior"] == "registered" else 0)
    assert not (states == 0).all(dim=(1, 2)).any()


def test_a_system_with_weights_needs_no_stand_in(tmp_path: Path) -> None:
    own = {"systems": {"stable-diffusion": {"pipeline": str(tmp_path)}}}
    for system, overlay in (("stable-diffusion", own), ("biomedjourney", {})):
        with pytest.raises(UserError, match=f"{system} is no system whose pipeline is null, so it needs no stand-in"):
            run("stand-in", "--system", system, "--out", str(tmp_path / "m"), **overlay)
