"""The jobs that the workflow makes of a configuration, and the files that each of them writes.

The rules in ``workflow/rules`` decide; a test compares these jobs with those that Snakemake plans.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from biomedjourney import config, systems
from biomedjourney.pair.directions import DIRECTIONS


@dataclass(frozen=True)
class Job:
    """One job of a rule. ``verb``: whose ``resources`` it has. ``benchmark``: its file, below ``benchmarks/``.

    ``outputs``: the files and folders that are there once it is done. ``of``: what it is for, by wildcard. ``gpus``:
    how many it asks for.
    """

    rule: str
    verb: str
    benchmark: str
    outputs: tuple[str, ...]
    of: dict[str, str]
    gpus: int = 0


class Jobs:
    """All jobs of a whole configuration, in the order of the workflow."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.runs: dict[str, dict[str, Any]] = settings["train"]["runs"]
        self.systems: dict[str, dict[str, Any]] = settings["systems"]
        self.writers: list[str] = settings["rewrite"]["writers"]
        self.swept: list[str] = settings["generate"]["guidance"]["sweep"]["systems"]
        self.sampled: list[str] = (settings["generate"]["samplers"] or {"systems": []})["systems"]
        self.has_segmenter = bool(settings["phantom"] or settings["pretrain"]["segmenter"]["weights"])
        self.has_second_judges = settings["pretrain"]["second_judges"] is not None
        self.has_soundness = self.runs[self.systems[systems.MAIN]["run"]]["prior"] == "registered"
        self.models = [name for name, own in self.systems.items() if {"run", "pipeline"} & own.keys()]

    def __iter__(self) -> Iterator[Job]:
        yield from self._data()
        yield from self._frozen_parts()
        yield from self._encoded()
        yield from self._trained()
        yield from self._drawn()
        yield from self._judged()

    def directions_of(self, writer: str) -> list[str]:
        """The directions in which training reads the triples of a writer; forward always."""
        read = {direction for run in self.runs.values() if run["writer"] == writer for direction in run["directions"]}
        return [direction for direction in DIRECTIONS if direction in read or direction == "forward"]

    def _job(self, rule: str, benchmark: str, outputs: Iterable[str], *, on_gpu: bool = False, **of: str) -> Job:
        verb = benchmark.partition("/")[0]
        gpus = self.settings["resources"].get(verb, {}).get("gpus", 0) if on_gpu else 0
        return Job(rule, verb, benchmark, tuple(f"results/{path}" for path in outputs), of, gpus)

    def _data(self) -> Iterator[Job]:
        described = [(writer, direction) for writer in self.writers for direction in self.directions_of(writer)]
        directions = [d for d in DIRECTIONS if d in {direction for _, direction in described}]
        if self.settings["phantom"]:
            yield self._job("draw_phantom", "phantom", ("tables/truth.parquet", "organs.parquet"))
        outputs = _parquet("tables/patients", "tables/studies", "tables/images", "ingest/cohort", "ingest/exclusions")
        yield self._job("ingest_raw_files", "ingest/tables", outputs)
        yield self._job("check_images", "ingest/check", ("ingest/image-files.parquet",))
        outputs = _parquet("tables/pairs", "tables/singles", "pair/cohort", "pair/exclusions")
        yield self._job("pair_studies", "pair/tables", outputs)
        for writer, direction in described:
            place = f"{writer}/{direction}"
            outputs = _parquet(f"progressions/{place}")
            yield self._job("rewrite_reports", f"rewrite/{place}", outputs, writer=writer, direction=direction)
        for shard in self._shards("preprocess"):
            yield self._job("preprocess_images", f"preprocess/{shard}", _parquet(f"pixels/{shard}"))
        for direction in directions:
            for shard in self._shards("register"):
                place = f"{direction}/{shard}"
                outputs = _parquet(f"registered/{place}", f"registrations/{place}")
                yield self._job("register_priors", f"register/{place}", outputs, direction=direction)
        for writer, direction in described:
            place = f"triples/{writer}/{direction}"
            yield self._job("gather_triples", f"gather/{place}", _parquet(place), direction=direction)
        yield self._job("gather_cohort", "gather/cohort", _parquet("tables/cohort", "tables/exclusions"))
        parts = ["registrations", "progressions", "triples", "training", "guidance"]
        for table in [*parts, *(["samplers"] if self.sampled else [])]:
            yield self._job("gather_parts", f"gather/{table}", _parquet(f"tables/{table}"))

    def _frozen_parts(self) -> Iterator[Job]:
        yield self._job("pretrain_first_stage", "pretrain/first-stage", ("models/first-stage",))
        parts = ["text-tower", "judges", *(["second-judges"] if self.has_second_judges else [])]
        for part in parts:
            rule = f"pretrain_{part.replace('-', '_')}"
            yield self._job(rule, f"pretrain/{part}", (f"models/{part}",), on_gpu=True)
        if self.has_segmenter:
            yield self._job("pretrain_segmenter", "pretrain/segmenter", ("models/segmenter",))

    def _encoded(self) -> Iterator[Job]:
        read: list[tuple[dict[str, Any], list[str]]] = [(run, run["directions"]) for run in self.runs.values()]
        read += [(self.runs[own["run"]], ["forward"]) for own in self.systems.values() if "run" in own]
        for shard in self._shards("preprocess"):
            place = f"images/{shard}"
            yield self._job("encode_images", f"encode/{place}", _parquet(f"latents/{place}"), on_gpu=True)
        with_prior = {d for run, directions in read if run["prior"] == "registered" for d in directions}
        for direction in [d for d in DIRECTIONS if d in with_prior]:
            for shard in self._shards("register"):
                place = f"priors/{direction}/{shard}"
                outputs = _parquet(f"latents/{place}")
                yield self._job("encode_priors", f"encode/{place}", outputs, on_gpu=True, direction=direction)
        if any(run["text"] == "report" for run, _ in read):
            yield self._job("encode_reports", "encode/reports", ("texts/reports.parquet",), on_gpu=True)
        described = {
            (str(run["writer"]), direction)
            for run, directions in read
            if run["text"] == "description"
            for direction in directions
        }
        for writer, direction in sorted(described, key=lambda pair: (pair[0], DIRECTIONS.index(pair[1]))):
            place = f"{writer}/{direction}"
            outputs = _parquet(f"texts/{place}")
            yield self._job("encode_descriptions", f"encode/{place}", outputs, on_gpu=True, direction=direction)

    def _trained(self) -> Iterator[Job]:
        for run in self.runs:
            for seed in range(self.settings["train"]["seeds"]):
                name = config.training_name(run, seed)
                outputs = (f"models/{name}", f"training/{name}.parquet")
                yield self._job("train_stage", f"train/{name}", outputs, on_gpu=True, run=run)
        for name, own in self.systems.items():
            if systems.is_stand_in(own):
                place = f"generate/stand-ins/{name}"
                yield self._job("train_stand_in", place, (f"models/{name}",), on_gpu=True, system=name)

    def _drawn(self) -> Iterator[Job]:
        kinds = (
            ("generate_sweep", self.swept, "generate/sweeps", "sweeps"),
            ("generate_samplers", self.sampled, "generate/samplers", "sampled"),
            ("generate_pictures", self.models, "generate", "generated"),
            ("copy_pictures", [name for name in self.systems if name not in self.models], "generate", "generated"),
        )
        for rule, names, benchmark, folder in kinds:
            for name in names:
                for shard in self._shards("generate"):
                    outputs = _parquet(f"{folder}/{name}/{shard}")
                    on_gpu = rule != "copy_pictures"
                    yield self._job(rule, f"{benchmark}/{name}/{shard}", outputs, on_gpu=on_gpu, system=name)
        if self.has_soundness:
            yield self._job("generate_soundness", "generate/soundness", ("trials.parquet",), on_gpu=True)
        yield self._job("export_model", "generate/export", ("models/biomedjourney",))

    def _judged(self) -> Iterator[Job]:
        kinds = [
            ("evaluate_guidance", self.swept, "guidance"),
            ("evaluate_samplers", self.sampled, "samplers"),
            ("evaluate_scores", list(self.systems), "scores"),
            ("evaluate_second_scores", list(self.systems) if self.has_second_judges else [], "second-scores"),
        ]
        yield self._job("evaluate_real", "evaluate/real", ("real.parquet",), on_gpu=True)
        for rule, names, folder in kinds:
            for name in names:
                outputs = _parquet(f"{folder}/{name}")
                yield self._job(rule, f"evaluate/{folder}/{name}", outputs, on_gpu=True, system=name)
        if self.has_soundness:
            yield self._job("evaluate_soundness", "evaluate/soundness", _parquet("tables/soundness"), on_gpu=True)
        tables = ("scores", "systems", "ablations", "findings", "subgroups", "beyond")
        yield self._job("evaluate_systems", "evaluate/systems", _parquet(*(f"tables/{table}" for table in tables)))
        if self.has_second_judges:
            yield self._job("evaluate_judges", "evaluate/judges", _parquet("tables/judges"))
        files = ("index.html", "main-table.txt", "grid.png", "curves.png")
        yield self._job("write_report", "report", tuple(f"report/{name}" for name in files))

    def _shards(self, verb: str) -> range:
        return range(self.settings[verb]["shards"])


def _parquet(*names: str) -> tuple[str, ...]:
    return tuple(f"{name}.parquet" for name in names)
