"""One run of the configuration, from tables to a model folder."""

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import click

from biomedjourney import arrays, config, examples, sampling, sums, tables
from biomedjourney.errors import UserError
from biomedjourney.examples import Inputs
from biomedjourney.train import batches, checkpoint, loop, model, ranks, validation, watch

STAGES = {"singles": 1, "triples": 2}
UNFINISHED = 75  # the exit status after a signal; sysexits.h calls it a failure for now, to be tried again


def train_run(
    name: str,
    settings: dict[str, Any],
    inputs: Inputs,
    start: Path | None,
    checkpoints: Path,
    out: Path,
    training: Path,
    first_stage: Path | None = None,
    training_seed: int = 0,
) -> None:
    """Trains the run ``name`` and writes the folder ``out`` and the table ``training``.

    ``out`` holds ``unet`` (the averaged weights) and ``scheduler`` as diffusers stores them, and ``run.json``: the
    settings, what the run was trained on and how much of it, and the same of the run that it started from. Only
    examples of the split train are learned from. ``first_stage`` serves to show how validation examples are drawn.
    ``training_seed`` decides initial weights, order, noise and dropout; the validation examples are always the same.
    """
    run = _run_settings(name, settings, start)
    title = config.training_name(name, training_seed)
    settings = settings | {"train": {k: v for k, v in settings["train"].items() if k not in ("runs", "seeds")}}
    decisive = {key: settings[key] for key in ("seed", "text", "diffusion", "train")} | {"run": run}
    drawn_by = seed_of_draws(settings["seed"], training_seed)
    this = ranks.start()
    places = this.share(run["batch_size"])
    all_examples = examples.training_examples(run, inputs)
    usable_examples = examples.with_latents(all_examples, run, inputs)
    with arrays.temporary_folder(checkpoints / f"{title}-examples") as shared:
        targets = examples.load_targets(usable_examples, inputs, shared)
        conditions = examples.load_conditions(usable_examples, run, inputs, settings["text"]["max_tokens"], shared)
        scheduler = sampling.scheduler(settings["diffusion"]["schedule"])
        unet = _start(name, run, settings, drawn_by, targets.latent_shape, conditions.text_width, start)
        unet = unet.to(this.device)
        start_facts = run_facts(start) if start is not None else None
        input_files = [path for paths in dataclasses.astuple(inputs) for path in paths]
        first = start or config.unet_of(run, settings["diffusion"]["unet"])["weights"]
        input_files += [Path(first)] if first is not None else []
        keyed_by = decisive | ({"training_seed": training_seed} if training_seed else {})
        folder = this.of_main(checkpoint.folder(checkpoints, title, keyed_by, input_files) if this.is_main else None)
        restored = checkpoint.load(folder, run["steps"])
        _check_that_all_see(folder, restored["step"] if restored else 0, this)
        watcher = None
        if this.is_main:
            if restored is None and (reason := checkpoint.unusable(folder, run["steps"])):
                click.echo(f"{title}: starts anew, not from the checkpoint in {reason}", err=True)
            click.echo(
                f"{title}: {len(usable_examples)} examples of {len(all_examples)}, {unet.num_parameters():,} "
                f"parameters, {run['steps']} steps of {run['batch_size']} on "
                + (f"{this.count} x " if this.count > 1 else "")
                + this.device.type
                + (f", from step {restored['step']}" if restored else ""),
                err=True,
            )
            scaling_factor = targets.scaling_factor
            watcher = _watch(name, training_seed, run, settings, inputs, first_stage, folder, restored, scaling_factor)
        next_batch = functools.partial(
            batches.batch,
            targets,
            conditions,
            settings=settings | {"seed": drawn_by},
            run=name,
            batch_size=run["batch_size"],
            timesteps=settings["diffusion"]["schedule"]["steps"],
            places=places,
        )
        save = functools.partial(checkpoint.save, folder)
        # compiling takes minutes, which the CPU does not win back
        how = settings["train"] | {"compile": settings["train"]["compile"] and this.device.type == "cuda"}
        try:
            rows = loop.train(unet, scheduler, next_batch, run["steps"], how, restored, save, title, watcher, this)
        except loop.Stopped as stop:
            if this.is_main:
                click.echo(
                    f"{title}: stopped by {stop.signal} after step {stop.step} of {run['steps']}, saved in {folder}: "
                    "the same command goes on from there",
                    err=True,
                )
            raise click.exceptions.Exit(UNFINISHED) from None
        finally:
            if watcher is not None:
                watcher.close()
    if not this.is_main:
        return
    facts = {
        "run": name,
        "training_seed": training_seed,
        "settings": decisive | {"phantom": settings["phantom"]},
        "examples": len(usable_examples),
        "examples_without_latent": len(all_examples) - len(usable_examples),
        "images_seen": rows[-1]["images_seen"],
        "parameters": unet.num_parameters(),
        "first_stage_scaling_factor": targets.scaling_factor,
        "final_loss": rows[-1]["loss"],
        "start": start_facts,
    }
    with sums.model_folder(out) as new_folder:
        unet.save_pretrained(new_folder / "unet")
        scheduler.save_pretrained(new_folder / "scheduler")
        (new_folder / "run.json").write_text(json.dumps(facts, indent=2) + "\n")
    tables.write(training, "training", watch.table(name, STAGES[run["data"]], rows, training_seed))


def seed_of_draws(seed: int, training_seed: int) -> int:
    """The seed of all that a training draws at random: the configuration's, or for a training seed above 0 another."""
    return seed if training_seed == 0 else int(sampling.keyed("training", seed, training_seed).integers(2**62))


def run_facts(folder: Path) -> dict[str, Any]:
    """The ``run.json`` of a trained model's folder. Raises UserError where there is none or it is damaged."""
    try:
        facts: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        facts["settings"]["run"]["prior"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        sums.verify(folder)
        raise UserError(
            f"{folder}: not the folder of a trained model, its run.json cannot be read ({error}): run train"
        ) from None
    return facts


def _check_that_all_see(folder: Path, step: int, this: ranks.Ranks) -> None:
    """Raises UserError where the processes do not find the same state: their nodes do not share the folder."""
    most, fewest = this.largest(step), -this.largest(-step)
    if most != fewest:
        raise UserError(
            f"{folder}: the checkpoint of step {most} is not seen by all {this.count} processes: give --checkpoints a "
            "folder that all nodes share"
        )


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


def _watch(
    name: str,
    training_seed: int,
    run: dict[str, Any],
    settings: dict[str, Any],
    inputs: Inputs,
    first_stage: Path | None,
    folder: Path,
    restored: dict[str, Any] | None,
    scaling_factor: float,
) -> watch.Watch:
    """What shows the run; it validates where a step is left to do."""
    step, rows = (restored["step"], restored["rows"]) if restored else (0, [])
    goes_on = step < run["steps"]
    shown = validation.load(run, settings, inputs, first_stage, scaling_factor) if goes_on else None
    tensorboard = goes_on and settings["train"]["tensorboard"]
    watcher = watch.Watch(folder, name, STAGES[run["data"]], rows, shown, tensorboard, training_seed)
    if goes_on:
        click.echo(f"{config.training_name(name, training_seed)}: {watcher.in_words()}", err=True)
    return watcher


def _start(
    name: str,
    run: dict[str, Any],
    settings: dict[str, Any],
    seed: int,
    latent_shape: tuple[int, int, int],
    text_width: int,
    start: Path | None,
) -> Any:
    """The UNet that the run begins with; a new one depends on the seed alone, not on the run."""
    if start is None:
        weights = int(sampling.keyed("weights", seed).integers(2**62))
        return model.build(config.unet_of(run, settings["diffusion"]["unet"]), latent_shape, text_width, weights)
    sums.verify(start)
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
