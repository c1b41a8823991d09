"""Pictures that a trained model draws: of the test pairs, and of validation pairs at each pair of guidance scales."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from biomedjourney import examples, pixels, progress, sampling, tables
from biomedjourney.errors import UserError
from biomedjourney.examples import Conditions, Inputs
from biomedjourney.generate import model as models
from biomedjourney.generate.systems import part_of, system_settings
from biomedjourney.train.run import run_facts

Rows = list[dict[str, Any]]
Scales = tuple[float, float]


@dataclass(frozen=True)
class Drawing:
    """A trained model and the pairs that it draws: ``pair_ids`` and their conditions, place by place."""

    model: models.Model
    conditions: Conditions
    pair_ids: list[str]
    steps: int
    batch_size: int

    def pictures(self, seed: int, scales: Scales) -> Iterator[Rows]:
        """Batches of rows with pair_id and png, drawn with a text scale and an image scale."""
        title = f"draw, text {scales[0]:g}, image {scales[1]:g}"
        with progress.bar(len(self.pair_ids), title, unit="picture") as bar:
            for first in range(0, len(self.pair_ids), self.batch_size):
                pair_ids = self.pair_ids[first : first + self.batch_size]
                places = list(range(first, first + len(pair_ids)))
                priors, states = self.conditions.priors(places), self.conditions.states(places)
                pictures = self.model.draw(pair_ids, seed, priors, states, *scales, self.steps)
                drawn = zip(pair_ids, pictures, strict=True)
                yield [{"pair_id": pair_id, "png": pixels.encode_png(picture)} for pair_id, picture in drawn]
                bar.update(len(pair_ids))


def pictures(
    system: str,
    settings: dict[str, Any],
    inputs: Inputs,
    folders: Sequence[Path],
    first_stage: Path,
    guidance: Path | None,
    shard: int,
    out: Path,
) -> None:
    """Writes the table `generated` of a system: one picture per seed and compared test pair of the shard.

    ``folders``: the models of its run, one for each training seed. Each draws all of these pictures, at the same scales
    and from the same noise. Raises UserError for two models of one training seed.
    """
    run = _run_of(system, settings)
    trained = {folder: _trained_settings(folder, run) for folder in folders}
    folder_of = {run_facts(folder).get("training_seed", 0): folder for folder in folders}
    if len(folder_of) < len(folders):
        raise UserError(f"--model: {len(folders)} models of {len(folder_of)} training seeds: give each seed's once")
    scales = chosen_scales(system, settings, guidance)

    def rows() -> Iterator[Rows]:
        for training_seed, folder in sorted(folder_of.items()):
            test_examples = examples.drawn_examples(trained[folder]["run"], inputs, "test")
            test_examples = part_of(test_examples, shard, settings["generate"]["shards"])
            drawing = _drawing(settings, trained[folder], test_examples, inputs, folder, first_stage)
            for seed in settings["generate"]["seeds"]:
                for batch in drawing.pictures(seed, scales):
                    yield [row | {"training_seed": training_seed, "seed": seed} for row in batch]

    click.echo(f"{out}: {tables.write_stream(out, 'generated', rows())} pictures", err=True)


def sweep(
    system: str, settings: dict[str, Any], inputs: Inputs, folder: Path, first_stage: Path, shard: int, out: Path
) -> None:
    """Writes the table `sweeps` of a system: validation pairs drawn at each combination of guidance scales.

    The pairs are chosen by the seed, and the same noise serves all scales. A model without a prior has one image
    scale, 1.
    """
    run = _run_of(system, settings)
    run_settings = _trained_settings(folder, run)
    sweep_settings = settings["generate"]["guidance"]["sweep"]
    validation_examples = examples.drawn_examples(run_settings["run"], inputs, "validation")
    places = sweep_sample(list(validation_examples["id"]), sweep_settings["pairs"], settings["seed"])
    validation_examples = part_of(validation_examples.iloc[places], shard, settings["generate"]["shards"])
    drawing = _drawing(settings, run_settings, validation_examples, inputs, folder, first_stage)
    image_scales = sweep_settings["image_scales"] if drawing.model.knows_prior else [1.0]

    def rows() -> Iterator[Rows]:
        for text_scale in sweep_settings["text_scales"]:
            for image_scale in image_scales:
                for batch in drawing.pictures(settings["generate"]["seeds"][0], (text_scale, image_scale)):
                    yield [row | {"text_scale": text_scale, "image_scale": image_scale} for row in batch]

    click.echo(f"{out}: {tables.write_stream(out, 'sweeps', rows())} pictures", err=True)


def chosen_scales(system: str, settings: dict[str, Any], guidance: Path | None) -> Scales:
    """Text and image scale: the row of the table `guidance` that is chosen for the system, or else the default."""
    default = settings["generate"]["guidance"]
    if guidance is not None:
        rows = tables.read(guidance, "guidance")
        rows = rows[(rows["system"] == system) & rows["chosen"]]
        if len(rows) > 1:
            raise UserError(f"{guidance}: {len(rows)} rows are chosen for {system}, expected 1: run evaluate guidance")
        if len(rows) == 1:
            return float(rows["text_scale"].iloc[0]), float(rows["image_scale"].iloc[0])
    return default["text_scale"], default["image_scale"]


def sweep_sample(pair_ids: list[str], count: int, seed: int) -> list[int]:
    """The places of at most ``count`` of the ids, sorted; which ones, the seed and each id alone decide."""
    drawn = sorted(range(len(pair_ids)), key=lambda place: sampling.keyed("sweep", seed, pair_ids[place]).random())
    return sorted(drawn[:count])


def _run_of(system: str, settings: dict[str, Any]) -> str:
    run: str | None = system_settings(system, settings).get("run")
    if run is None:
        raise UserError(f"--system: {system} is a stored picture and has no model: use generate copies")
    return run


def _trained_settings(folder: Path, run: str) -> dict[str, Any]:
    """The settings that the model in the folder was trained with. Raises UserError for a model of another run."""
    facts = run_facts(folder)
    if facts["run"] != run:
        raise UserError(f"{folder}: the model of run {facts['run']}, expected that of run {run}: check --model")
    settings: dict[str, Any] = facts["settings"]
    return settings


def _drawing(
    settings: dict[str, Any],
    run_settings: dict[str, Any],
    drawn_examples: Any,
    inputs: Inputs,
    folder: Path,
    first_stage: Path,
) -> Drawing:
    max_tokens = run_settings["text"]["max_tokens"]
    return Drawing(
        models.load(folder, first_stage),
        examples.load_conditions(drawn_examples, run_settings["run"], inputs, max_tokens),
        list(drawn_examples["id"]),
        settings["generate"]["steps"],
        settings["generate"]["batch_size"],
    )
