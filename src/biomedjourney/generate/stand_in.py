"""The miniature of somebody else's weights: a model of our size that learned from drawn shapes, as a published folder.

It goes through the very code that draws with published pipelines. Text encoder and word pieces are of CLIP's kind and
are not trained; first stage and UNet are those of the miniature.
"""

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from biomedjourney import pipelines, sampling, sums
from biomedjourney.encode.latents import latents
from biomedjourney.errors import UserError
from biomedjourney.examples import Conditions, Targets
from biomedjourney.generate import pipeline, shapes
from biomedjourney.generate.systems import system_settings
from biomedjourney.pretrain import first_stage
from biomedjourney.systems import is_stand_in
from biomedjourney.train import batches, loop, model

TOKENS = 77  # of CLIP
START, END, WORD_END = "<|startoftext|>", "<|endoftext|>", "</w>"


def train(system: str, settings: dict[str, Any], out: Path) -> str:
    """Writes the folder of a stand-in for the system's pipeline; returns a line on what it learned from.

    With a prior it learns edits of drawn shapes, without one their captions. Raises UserError for a system that is no
    pipeline or whose weights are given.
    """
    own = system_settings(system, settings)
    if not is_stand_in(own):
        raise UserError(f"--system: {system} is no system whose pipeline is null, so it needs no stand-in")
    how, seed, side = settings["pretrain"]["stand_in"], settings["seed"], settings["preprocess"]["size"]
    takes_prior = own["prior"] != "none"
    examples = [shapes.example(seed, place, side) for place in range(how["pictures"])]
    after = np.stack([example.after for example in examples])
    stage = first_stage.train(after, settings["pretrain"]["first_stage"], seed)
    means, stds = latents(stage, after.astype(np.float32) / 255)
    priors = np.stack([example.before for example in examples]).astype(np.float32) / 255
    texts = [example.edit if takes_prior else example.caption for example in examples]
    with sums.model_folder(out) as folder:
        encoder, tokenizer = _texts(folder, settings["diffusion"]["unet"], seed)
        *states, null = _states(encoder, tokenizer, [*texts, ""])
        places = np.arange(len(examples))
        targets = Targets(means, stds, places, stage.config.scaling_factor)
        prior_means = latents(stage, priors)[0] if takes_prior else None
        conditions = Conditions(prior_means, places, states, places, TOKENS)
        unet = _unet(settings["diffusion"]["unet"], targets.latent_shape, takes_prior, encoder.config.hidden_size, seed)
        scheduler = sampling.scheduler(settings["diffusion"]["schedule"])

        def next_batch(step: int) -> batches.Batch:
            batch = batches.batch(
                targets,
                conditions,
                step,
                settings=settings,
                run=system,
                batch_size=how["batch_size"],
                timesteps=scheduler.config.num_train_timesteps,
            )
            dropped = (batch.states == 0).all(dim=(1, 2))
            batch.states[dropped] = torch.from_numpy(null)
            prior = batch.prior if takes_prior else batch.prior[:, :0]
            return batches.Batch(batch.target, prior, batch.states, batch.noise, batch.timesteps)

        unet.to("cuda" if torch.cuda.is_available() else "cpu")
        rows = loop.train(unet, scheduler, next_batch, how["steps"], settings["train"], title=system)
        class_name = next(name for name, takes in pipelines.TAKES_PRIOR.items() if takes == takes_prior)
        whole = pipeline.assembled(class_name, unet.to("cpu"), stage, encoder, tokenizer, scheduler)
        for part in ("unet", "vae", "scheduler"):
            getattr(whole, part).save_pretrained(folder / part)
        whole.save_config(folder)
    return f"{system}: a stand-in that learned from {len(examples)} drawn shapes, loss {rows[-1]['loss']:.3f}"


def _unet(
    unet_settings: dict[str, Any], latent_shape: tuple[int, int, int], takes_prior: bool, width: int, seed: int
) -> Any:
    """A UNet of the size of ours, in the form of a published one: no projection of texts, no channels without use."""
    ours = model.build(unet_settings | {"weights": None}, latent_shape, width, seed).config
    channels = latent_shape[0] * (2 if takes_prior else 1)
    form = {"in_channels": channels, "encoder_hid_dim": None, "encoder_hid_dim_type": None}
    # the private entry would make diffusers ignore what is set here
    return model.UNet2DConditionModel.from_config(
        {name: value for name, value in ours.items() if not name.startswith("_")} | form
    )


def _texts(folder: Path, unet_settings: dict[str, Any], seed: int) -> tuple[Any, Any]:
    """Writes an untrained text encoder of CLIP's kind and its tokenizer, and returns them as published ones are read.

    Its states tell words and their order apart, which is all that a UNet needs to learn from captions.
    """
    from transformers import CLIPTextConfig, CLIPTextModel

    pieces = _write_tokenizer(folder / "tokenizer")
    width = unet_settings["cross_attention_dim"]
    torch.manual_seed(seed)
    CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(pieces),
            hidden_size=width,
            intermediate_size=2 * width,
            num_hidden_layers=2,
            num_attention_heads=unet_settings["heads"],
            max_position_embeddings=TOKENS,
            bos_token_id=pieces.index(START),
            eos_token_id=pieces.index(END),
            pad_token_id=pieces.index(END),
        )
    ).save_pretrained(folder / "text_encoder")
    index = pipelines.Index("", "CLIPTextModel", "CLIPTokenizer", "")
    return pipelines.texts(folder, index)


def _write_tokenizer(folder: Path) -> list[str]:
    """Byte-level word pieces in CLIP's format: each letter, and each word of the captions as one piece."""
    from tokenizers.pre_tokenizers import ByteLevel

    letters = sorted(ByteLevel.alphabet())
    merges = _merges(shapes.words())
    pieces = [*letters, *(letter + WORD_END for letter in letters), *map("".join, merges), START, END]
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps({piece: place for place, piece in enumerate(pieces)}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *(" ".join(merge) for merge in merges)]) + "\n")
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    described = special | {"tokenizer_class": "CLIPTokenizer", "model_max_length": TOKENS, "do_lower_case": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(described))
    return pieces


def _merges(words: list[str]) -> list[tuple[str, str]]:
    """The pairs of pieces to join, in this order, until each word is one piece."""
    split = [[*word[:-1], word[-1] + WORD_END] for word in words]
    merges = []
    while unfinished := [pieces for pieces in split if len(pieces) > 1]:
        left, right = unfinished[0][:2]
        merges.append((left, right))
        for pieces in unfinished:
            for place in reversed(range(len(pieces) - 1)):
                if pieces[place : place + 2] == [left, right]:
                    pieces[place : place + 2] = [left + right]
    return merges


@torch.no_grad()
def _states(encoder: Any, tokenizer: Any, texts: list[str]) -> list[np.ndarray]:
    """The states of each text, float16 (TOKENS, width), padded as the pipeline pads them."""

    @functools.cache
    def states(text: str) -> np.ndarray:
        ids = tokenizer(text, padding="max_length", max_length=TOKENS, truncation=True, return_tensors="pt").input_ids
        result: np.ndarray = encoder(ids)[0][0].half().numpy()
        return result

    return [states(text) for text in texts]
