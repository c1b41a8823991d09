"""One run of the configuration, from tables to a model folder."""

import dataclasses
import functools
import json
import shutil
from pathlib import Path
from typing import Any

import click
import pandas as pd
import torch

from biomedjourney import config, sampling, tables
from biomedjourney.errors import UserError
from biomedjourney.train import batches, checkpoint, data, loop, model
from biomedjourney.train.examples import examples
from biomedjourney.train.inputs import Inputs


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
    chosen = examples(run, inputs, "train")
    known = data.with_latents(chosen, run, inputs)
    targets = data.load_targets(known, inputs)
    conditions = data.load_conditions(known, run, inputs, settings["text"]["max_tokens"])
    scheduler = sampling.scheduler(settings["diffusion"]["schedule"])
    unet = _start(name, settings, targets.latent_shape, conditions.text_width, start).to(device)
    read = [path for path in (*dataclasses.astuple(inputs), start) if path is not None]
    version = {"code": config.code_version("train"), "torch": torch.__version__}
    kept = checkpoint.folder(checkpoints, name, settings | {"run": run, "version": version}, read)
    restored = checkpoint.load(kept, device)
    click.echo(
        f"{name}: {len(known)} examples of {len(chosen)}, {unet.num_parameters():,} parameters, {run['steps']} steps "
        f"of {run['batch_size']} on {device.type}" + (f", from step {restored['step']}" if restored else ""),
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
    save = functools.partial(checkpoint.save, kept)
    rows = loop.train(unet, scheduler, next_batch, run["steps"], settings["train"], restored, save, title=name)
    facts = {
        "run": name,
        "settings": {key: settings[key] for key in ("seed", "text", "diffusion", "train")} | {"run": run},
        "examples": len(known),
        "examples_without_latent": len(chosen) - len(known),
        "images_seen": rows[-1]["images_seen"],
        "parameters": unet.num_parameters(),
        "first_stage_scaling_factor": targets.scaling_factor,
        "final_loss": rows[-1]["loss"],
    }
    with tables.atomic_folder(out) as folder:
        unet.save_pretrained(folder / "unet")
        scheduler.save_pretrained(folder / "scheduler")
        (folder / "run.json").write_text(json.dumps(facts, indent=2) + "\n")
    table = pd.DataFrame(rows).assign(run=name, stage={"singles": 1, "pairs": 2}[run["data"]])
    tables.write(training, "training", table)
    shutil.rmtree(kept, ignore_errors=True)


def _run_settings(name: str, settings: dict[str, Any], start: Path | None) -> dict[str, Any]:
    runs = settings["train"]["runs"]
    if name not in runs:
        raise UserError(f"--run: there is no run {name!r} in train.runs: known: {', '.join(runs)}")
    run: dict[str, Any] = runs[name]
    if run["data"] == "singles" and (run["prior"], run["text"]) != ("none", "report"):
        raise UserError(
            f"configuration, train.runs.{name}: singles have no prior and no description: set prior: none, text: report"
        )
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
    unet = model.load(start / "unet")
    found, wanted = (unet.config.in_channels, unet.config.encoder_hid_dim), (2 * latent_shape[0], text_width)
    if found != wanted:
        raise UserError(
            f"{start}: a UNet for {found[0]} channels and text states of width {found[1]}, but the latents and texts "
            f"ask for {wanted[0]} and {wanted[1]}: train run {name} and the one before it on the same tables"
        )
    return unet
