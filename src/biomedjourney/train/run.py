"""One run of the configuration, from tables to a model folder."""

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import click
import pandas as pd
import torch

from biomedjourney import arrays, config, examples, sampling, tables
from biomedjourney.errors import UserError
from biomedjourney.examples import Inputs
from biomedjourney.train import batches, checkpoint, loop, model


def train_run(
    name: str,
    settings: dict[str, Any],
    inputs: Inputs,
    start: Path | None,
    checkpoints: Path,
    out: Path,
    training: Path,
) -> None:
    """Trains the run ``name`` and writes the folder ``out`` and the table ``training``.

    ``out`` holds ``unet`` (the averaged weights) and ``scheduler`` as diffusers stores them, and ``run.json``: the
    settings, what the run was trained on and how much of it. Only examples of the split train are read.
    """
    run = _run_settings(name, settings, start)
    settings = settings | {"train": {k: v for k, v in settings["train"].items() if k != "runs"}}
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    all_examples = examples.training_examples(run, inputs)
    usable_examples = examples.with_latents(all_examples, run, inputs)
    with arrays.temporary_folder(checkpoints / f"{name}-examples") as shared:
        targets = examples.load_targets(usable_examples, inputs, shared)
        conditions = examples.load_conditions(usable_examples, run, inputs, settings["text"]["max_tokens"], shared)
        scheduler = sampling.scheduler(settings["diffusion"]["schedule"])
        unet = _start(name, settings, targets.latent_shape, conditions.text_width, start).to(device)
        input_files = [path for paths in dataclasses.astuple(inputs) for path in paths]
        input_files += [start] if start is not None else []
        folder = checkpoint.folder(checkpoints, name, settings | {"run": run}, input_files)
        restored = checkpoint.load(folder, device, run["steps"])
        click.echo(
            f"{name}: {len(usable_examples)} examples of {len(all_examples)}, {unet.num_parameters():,} parameters, "
            f"{run['steps']} steps of {run['batch_size']} on {device.type}"
            + (f", from step {restored['step']}" if restored else ""),
            err=True,
        )
        next_batch = functools.partial(
            batches.batch,
            targets,
            conditions,
            settings=settings,
            run=name,
            batch_size=run["batch_size"],
            timesteps=settings["diffusion"]["schedule"]["steps"],
        )
        save = functools.partial(checkpoint.save, folder)
        rows = loop.train(unet, scheduler, next_batch, run["steps"], settings["train"], restored, save, title=name)
    facts = {
        "run": name,
        "settings": {key: settings[key] for key in ("seed", "text", "diffusion", "train")} | {"run": run},
        "examples": len(usable_examples),
        "examples_without_latent": len(all_examples) - len(usable_examples),
        "images_seen": rows[-1]["images_seen"],
        "parameters": unet.num_parameters(),
        "first_stage_scaling_factor": targets.scaling_factor,
        "final_loss": rows[-1]["loss"],
    }
    with tables.atomic_folder(out) as new_folder:
        unet.save_pretrained(new_folder / "unet")
        scheduler.save_pretrained(new_folder / "scheduler")
        (new_folder / "run.json").write_text(json.dumps(facts, indent=2) + "\n")
    table = pd.DataFrame(rows).assign(run=name, stage={"singles": 1, "triples": 2}[run["data"]])
    tables.write(training, "training", table)


def _run_settings(name: str, settings: dict[str, Any], start: Path | None) -> dict[str, Any]:
    runs = settings["train"]["runs"]
    if name not in runs:
        raise UserError(f"--run: there is no run {name!r} in train.runs: known: {', '.join(runs)}")
    run: dict[str, Any] = runs[name]
    config.check_run(name, run)
    if run["start"] and start is None:
        raise UserError(f"--start is missing: run {name} goes on from the model of run {run['start']}: give its folder")
    if start is not None and not run["start"]:
        raise UserError(f"--start: the settings of run {name} say that it starts anew: leave the option out")
    return run


def _start(
    name: str, settings: dict[str, Any], latent_shape: tuple[int, int, int], text_width: int, start: Path | None
) -> Any:
    """The UNet that the run begins with; a fresh one depends on the seed alone, not on the run."""
    if start is None:
        seed = int(sampling.keyed("weights", settings["seed"]).integers(2**62))
        return model.build(settings["diffusion"]["unet"], latent_shape, text_width, seed)
    unet = sampling.load_unet(start / "unet")
    offered = unet.config.in_channels, unet.config.sample_size, unet.config.encoder_hid_dim
    expected = 2 * latent_shape[0], latent_shape[1], text_width
    if offered != expected:
        raise UserError(
            f"{start}: a UNet for {offered[0]} channels, latents of side {offered[1]} and text states of width "
            f"{offered[2]}, but the latents and texts have {expected[0]}, {expected[1]} and {expected[2]}: "
            f"train run {name} and the one before it on the same tables"
        )
    return unet
