"""What the sub-commands of `generate` do."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from biomedjourney import tables
from biomedjourney.errors import UserError
from biomedjourney.generate import systems
from biomedjourney.train import data
from biomedjourney.train.examples import accepted_pairs, examples
from biomedjourney.train.inputs import Inputs

Scales = tuple[float, float]


def pictures(
    system: str,
    settings: dict[str, Any],
    inputs: Inputs,
    folder: Path | None,
    guidance: Path | None,
    registered: tuple[Path, ...],
    pixel_files: tuple[Path, ...],
    out: Path,
) -> None:
    """Writes the table `generated` of a system: one picture a seed and test pair, for every accepted test pair."""
    own = _system(system, settings)
    drawing: systems.System
    if "run" in own:
        drawing = _diffusion(settings, own["run"], inputs, folder, "test")
        drawing = _at(drawing, chosen_scales(system, settings, guidance))
    elif own["picture"] == "prior":
        drawing = systems.prior_pictures(accepted_pairs(inputs, "test"), _given(registered, "registered", system))
    else:
        drawing = systems.current_pictures(accepted_pairs(inputs, "test"), _given(pixel_files, "pixels", system))

    def rows() -> Iterator[systems.Rows]:
        for seed in settings["generate"]["seeds"]:
            for batch in drawing.pictures(seed):
                yield [row | {"seed": seed} for row in batch]

    click.echo(f"{out}: {tables.write_stream(out, 'generated', rows())} pictures", err=True)


def sweep(system: str, settings: dict[str, Any], inputs: Inputs, folder: Path, out: Path) -> None:
    """Writes the table `sweeps` of a system: validation pairs drawn with each pair of guidance scales.

    The pairs are chosen by the seed, and the same noise serves all scales. A model without a prior has one image
    scale, 1.
    """
    own = _system(system, settings)
    if "run" not in own:
        raise UserError(f"--system: {system} is a stored picture and has no guidance scales to choose")
    asked = settings["generate"]["guidance"]["sweep"]
    drawing = _diffusion(settings, own["run"], inputs, folder, "validation", asked["pairs"])
    image_scales = asked["image_scales"] if drawing.model.knows_prior else [1.0]

    def rows() -> Iterator[systems.Rows]:
        for text_scale in asked["text_scales"]:
            for image_scale in image_scales:
                for batch in _at(drawing, (text_scale, image_scale)).pictures(settings["generate"]["seeds"][0]):
                    yield [row | {"text_scale": text_scale, "image_scale": image_scale} for row in batch]

    click.echo(f"{out}: {tables.write_stream(out, 'sweeps', rows())} pictures", err=True)


def chosen_scales(system: str, settings: dict[str, Any], guidance: Path | None) -> Scales:
    """Text and image scale: the row of the table `guidance` that is chosen for the system, or else the default."""
    default = settings["generate"]["guidance"]
    scales = (default["text_scale"], default["image_scale"])
    if guidance is not None:
        rows = tables.read(guidance, "guidance")
        rows = rows[(rows["system"] == system) & rows["chosen"]]
        if len(rows) > 1:
            raise UserError(f"{guidance}: {len(rows)} rows are chosen for {system}, expected 1: run evaluate guidance")
        if len(rows) == 1:
            scales = (float(rows["text_scale"].iloc[0]), float(rows["image_scale"].iloc[0]))
    return scales


def sweep_sample(pair_ids: list[str], count: int, seed: int) -> list[int]:
    """The places of at most ``count`` of the ids, sorted; which ones, the seed and each id alone decide."""
    from biomedjourney import sampling

    drawn = sorted(range(len(pair_ids)), key=lambda place: sampling.keyed("sweep", seed, pair_ids[place]).random())
    return sorted(drawn[:count])


def _system(system: str, settings: dict[str, Any]) -> dict[str, Any]:
    if system not in settings["systems"]:
        raise UserError(f"--system: there is no system {system!r}: known: {', '.join(settings['systems'])}")
    own: dict[str, Any] = settings["systems"][system]
    return own


def _given(files: tuple[Path, ...], option: str, system: str) -> tuple[Path, ...]:
    if not files:
        raise UserError(f"--{option} is missing: {system} copies its pictures from the table {option}")
    return files


def _diffusion(
    settings: dict[str, Any], run: str, inputs: Inputs, folder: Path | None, split: str, count: int | None = None
) -> systems.Diffusion:
    """The model of a run on the pairs of a split (``count`` of them), with the configured scales."""
    from biomedjourney.generate import model

    if folder is None:
        raise UserError(f"--model is missing: give the folder of run {run}")
    facts = model.facts(folder)
    if facts["run"] != run:
        raise UserError(f"{folder}: the model of run {facts['run']}, expected that of run {run}: check --model")
    trained, asked = facts["settings"], settings["generate"]
    chosen = examples(trained["run"], inputs, split, data="pairs")
    if count is not None:
        chosen = chosen.iloc[sweep_sample(list(chosen["id"]), count, settings["seed"])]
    return systems.Diffusion(
        model.load(folder, inputs.need("first_stage", "generate")),
        data.load_conditions(chosen, trained["run"], inputs, trained["text"]["max_tokens"]),
        list(chosen["id"]),
        asked["guidance"]["text_scale"],
        asked["guidance"]["image_scale"],
        asked["steps"],
        asked["batch_size"],
    )


def _at(drawing: systems.Diffusion, scales: Scales) -> systems.Diffusion:
    return dataclasses.replace(drawing, text_scale=scales[0], image_scale=scales[1])
