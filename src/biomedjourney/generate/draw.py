"""Pictures that a model draws: of the test pairs, and of validation pairs with each guidance or sampler to compare."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from biomedjourney import examples, pixels, progress, sampling, tables
from biomedjourney.errors import UserError
from biomedjourney.examples import Inputs
from biomedjourney.generate import model as models
from biomedjourney.generate.systems import part_of, system_settings
from biomedjourney.train.run import run_facts

Rows = list[dict[str, Any]]
Scales = tuple[float, float]


@dataclass(frozen=True)
class Source:
    """What a system is drawn from: tables, and folders as far as it needs them.

    ``model``: of its run, or of a pipeline that is not in the configuration. ``registered``: for a pipeline.
    """

    inputs: Inputs
    model: Path | None = None
    first_stage: Path | None = None
    registered: Sequence[Path] = ()


@dataclass(frozen=True)
class Drawing:
    """A model and the pairs that it draws: ``pair_ids`` and their conditions, place by place.

    ``model`` and ``conditions``: `model.Model` with `examples.Conditions`, or those of `pipeline`.
    """

    model: Any
    conditions: Any
    pair_ids: list[str]
    steps: int
    batch_size: int

    def with_sampler(self, solver: str, steps: int) -> "Drawing":
        """The same pairs, drawn by another solver in so many steps."""
        return replace(self, model=self.model.with_solver(solver), steps=steps)

    def evaluations(self, scales: Scales) -> int:
        """How often the UNet is evaluated for one picture."""
        return self.steps * len(sampling.guidance_terms(*scales, self.model.knows_prior))

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
    system: str, settings: dict[str, Any], sources: Sequence[Source], guidance: Path | None, shard: int, out: Path
) -> None:
    """Writes the table `generated` of a system: one picture per seed and compared test pair of the shard.

    ``sources``: one for each training seed of its run. Each draws all of these pictures, at the same scales and from
    the same noise. Raises UserError for two models of one training seed.
    """
    source_of = {_training_seed(system, settings, source): source for source in sources}
    if len(source_of) < len(sources):
        raise UserError(f"--model: {len(sources)} models of {len(source_of)} training seeds: give each seed's once")
    scales = chosen_scales(system, settings, guidance)

    def rows() -> Iterator[Rows]:
        for training_seed, source in sorted(source_of.items()):
            test_examples = examples.drawn_examples(_reads(system, settings, source), source.inputs, "test")
            test_examples = part_of(test_examples, shard, settings["generate"]["shards"])
            drawing = _drawing(system, settings, source, test_examples)
            for seed in settings["generate"]["seeds"]:
                for batch in drawing.pictures(seed, scales):
                    yield [row | {"training_seed": training_seed, "seed": seed} for row in batch]

    click.echo(f"{out}: {tables.write_stream(out, 'generated', rows())} pictures", err=True)


def sweep(system: str, settings: dict[str, Any], source: Source, shard: int, out: Path) -> None:
    """Writes the table `sweeps` of a system: validation pairs drawn at each combination of guidance scales.

    The pairs are chosen by the seed, and the same noise serves all scales. A model without a prior has one image
    scale, 1.
    """
    sweep_settings = settings["generate"]["guidance"]["sweep"]
    drawing = _validation_drawing(system, settings, source, sweep_settings["pairs"], shard)
    image_scales = sweep_settings["image_scales"] if drawing.model.knows_prior else [1.0]

    def rows() -> Iterator[Rows]:
        for text_scale in sweep_settings["text_scales"]:
            for image_scale in image_scales:
                for batch in drawing.pictures(settings["generate"]["seeds"][0], (text_scale, image_scale)):
                    yield [row | {"text_scale": text_scale, "image_scale": image_scale} for row in batch]

    click.echo(f"{out}: {tables.write_stream(out, 'sweeps', rows())} pictures", err=True)


def samplers(
    system: str, settings: dict[str, Any], source: Source, guidance: Path | None, shard: int, out: Path
) -> None:
    """Writes the table `sampled` of a system: validation pairs drawn by each sampler at the system's guidance scales.

    The pairs are chosen by the seed, and the same noise serves all samplers. Raises UserError where none is configured.
    """
    if settings["generate"]["samplers"] is None:
        raise UserError("configuration, generate.samplers: null: name the samplers that are to be compared")
    pairs, compared = (settings["generate"]["samplers"][key] for key in ("pairs", "compared"))
    with_first = settings | {"generate": settings["generate"] | compared[0]}
    first = _validation_drawing(system, with_first, source, pairs, shard)
    scales = chosen_scales(system, settings, guidance)

    def rows() -> Iterator[Rows]:
        for sampler in compared:
            drawing = first.with_sampler(**sampler)
            facts = {**sampler, "evaluations": drawing.evaluations(scales)}
            for batch in drawing.pictures(settings["generate"]["seeds"][0], scales):
                yield [row | facts for row in batch]

    click.echo(f"{out}: {tables.write_stream(out, 'sampled', rows())} pictures", err=True)


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


def _reads(system: str, settings: dict[str, Any], source: Source) -> dict[str, Any]:
    """Which prior, text and writer a system is given, as a training run's settings have them."""
    own = system_settings(system, settings)
    if "pipeline" in own:
        return {"prior": own["prior"], "text": own["text"], "writer": own.get("writer")}
    reads: dict[str, Any] = _trained_settings(system, settings, source)["run"]
    return reads


def _trained_settings(system: str, settings: dict[str, Any], source: Source) -> dict[str, Any]:
    """The settings that a system's model was trained with. Raises UserError for a model of another run."""
    run: str | None = system_settings(system, settings).get("run")
    if run is None:
        raise UserError(f"--system: {system} is a stored picture and has no model: use generate copies")
    folder = _given(source.model, "model", system)
    facts = run_facts(folder)
    if facts["run"] != run:
        raise UserError(f"{folder}: the model of run {facts['run']}, expected that of run {run}: check --model")
    trained: dict[str, Any] = facts["settings"]
    return trained


def _training_seed(system: str, settings: dict[str, Any], source: Source) -> int:
    """That of a system's model; 0 for a pipeline, which was not trained here."""
    if "pipeline" in system_settings(system, settings):
        return 0
    _trained_settings(system, settings, source)
    assert source.model is not None
    training_seed: int = run_facts(source.model).get("training_seed", 0)
    return training_seed


def _given(folder: Path | None, name: str, system: str) -> Path:
    """The folder of an option. Raises UserError where it was not given."""
    if folder is None:
        raise UserError(f"--{name} is missing: {system} is drawn with it: give its folder")
    return folder


def _validation_drawing(system: str, settings: dict[str, Any], source: Source, count: int, shard: int) -> Drawing:
    """A system's model with at most ``count`` validation pairs, chosen by the seed, or a shard's part of them."""
    validation_examples = examples.drawn_examples(_reads(system, settings, source), source.inputs, "validation")
    places = sweep_sample(list(validation_examples["id"]), count, settings["seed"])
    validation_examples = part_of(validation_examples.iloc[places], shard, settings["generate"]["shards"])
    return _drawing(system, settings, source, validation_examples)


def _drawing(system: str, settings: dict[str, Any], source: Source, drawn_examples: Any) -> Drawing:
    own, how = system_settings(system, settings), settings["generate"]
    model: Any
    conditions: Any
    if "pipeline" in own:
        from biomedjourney.generate import pipeline

        folder = source.model or (Path(own["pipeline"]) if own["pipeline"] else None)
        model = pipeline.load(_given(folder, "model", system), own, settings["preprocess"]["size"])
        conditions = pipeline.conditions(drawn_examples, model, source.registered)
    else:
        trained = _trained_settings(system, settings, source)
        model = models.load(_given(source.model, "model", system), _given(source.first_stage, "first-stage", system))
        model = model.with_solver(how["solver"])
        max_tokens = trained["text"]["max_tokens"]
        conditions = examples.load_conditions(drawn_examples, trained["run"], source.inputs, max_tokens)
    return Drawing(model, conditions, list(drawn_examples["id"]), how["steps"], how["batch_size"])
