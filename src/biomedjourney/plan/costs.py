"""What each job takes: time of the processor, time by the clock, memory, disk, and requests to a language model."""

from dataclasses import dataclass, replace
from typing import Any

from biomedjourney import sampling
from biomedjourney.plan.counts import Counts
from biomedjourney.plan.jobs import Job
from biomedjourney.plan.rates import RATES
from biomedjourney.rewrite.model_writer import Requests

GB = 1e9
MIMIC_IMAGES = 377_110
DRAWN_TRIALS = 4  # pictures that `generate soundness` draws of a pair
LEVELS = 64**2  # pixels at which the networks in miniature were measured

# GiB of one job: of the default run, and at full size. With tables and films it grows with the images; with networks it
# is the larger one where they are of published size. Measured (bench/RESULTS.md), but for 3 GiB and more: assumed.
MEMORY = {
    **{"draw_phantom": (0.6, 0.6), "ingest_raw_files": (0.2, 1.1), "check_images": (0.4, 0.4)},
    **{"pair_studies": (0.2, 1.1), "rewrite_reports": (0.2, 0.8), "preprocess_images": (0.5, 0.5)},
    **{"register_priors": (0.3, 0.5), "gather_triples": (0.2, 0.5), "gather_cohort": (0.2, 0.5)},
    **{"gather_parts": (0.2, 0.5), "copy_pictures": (0.2, 0.5), "write_report": (0.3, 1.0)},
    **{"evaluate_systems": (0.3, 1.0), "evaluate_judges": (0.3, 1.0)},
}
MEMORY_OF_NETWORKS = {
    **{"pretrain": (1.0, 3.0), "encode": (1.0, 3.0), "train": (1.2, 32.0), "generate": (1.1, 8.0)},
    "evaluate": (1.0, 4.0),
}

# Bytes: of a pixel of stored and of drawn pictures, of a latent for each pixel, of the token states of a text
FILM_BYTES, DRAWN_BYTES = (0.7, 0.48), 0.8
LATENT_BYTES, TEXT_BYTES = (0.6, 0.25), (5e3, 50 * 768 * 2)
FILE_BYTES = 30e3  # of a film of 256 pixels that the phantom draws
# Bytes of models: frozen parts, a run's model, its last checkpoint, the exported model
PART_BYTES, MODEL_BYTES, STATE_BYTES, EXPORT_BYTES = (1e6, 0.5e9), (11e6, 3.4e9), (44e6, 13.8e9), (13e6, 4.6e9)


@dataclass(frozen=True)
class Cost:
    """``core_seconds`` of the processor, ``seconds`` by the clock, ``gib`` of memory, ``disk`` in GB that stay.

    ``pairs``, ``images``: how many the job works on, in the mean of the shards; training counts an image each time.
    ``requests``: to a language model. ``rates``: their names.
    """

    core_seconds: float
    seconds: float
    gib: float
    disk: float = 0.0
    pairs: float = 0
    images: float = 0
    requests: Requests | None = None
    rates: frozenset[str] = frozenset()


class Costs:
    """The costs of the jobs of a whole configuration. Each method is the work of one rule, and is called like it."""

    def __init__(self, settings: dict[str, Any], counts: Counts, requests: dict[str, Requests]) -> None:
        """``requests``: to the language model, by direction."""
        self.settings, self.counts, self.requests = settings, counts, requests
        self.size: int = settings["preprocess"]["size"]
        self.pixels: int = self.size**2
        self.is_phantom = settings["phantom"] is not None
        self.used: set[str] = set()

    def of(self, job: Job) -> Cost:
        """The cost of one job."""
        self.used = set()
        cost: Cost = getattr(self, job.rule)(job)
        return replace(cost, rates=frozenset(self.used))

    def _rate(self, name: str) -> float:
        self.used.add(name)
        return RATES[name].value

    def _threads(self, job: Job) -> int:
        one = job.verb == "gather" or job.rule in ("copy_pictures", "evaluate_systems", "evaluate_judges")
        return 1 if one else int(self.settings["resources"][job.verb]["threads"])

    def _memory(self, job: Job, is_published: bool = False) -> float:
        if job.rule not in MEMORY:
            return MEMORY_OF_NETWORKS[job.verb][is_published]
        small, large = MEMORY[job.rule]
        return small + (large - small) * self.counts.images / MIMIC_IMAGES

    def _plain(self, job: Job, core_seconds: float, waiting: float = 0.0, **more: Any) -> Cost:
        """A job without networks: a start, what its threads share, and ``waiting`` for disks or servers."""
        start = self._rate("start")
        seconds = start + core_seconds / self._threads(job) + waiting
        return Cost(start + core_seconds, seconds, self._memory(job), **more)

    def _network(self, job: Job, work: tuple[float, float, bool], waiting: float = 0.0, **more: Any) -> Cost:
        """A job with networks. ``work``: seconds of one core in miniature, TFLOP at full size, and which of the two.

        On a GPU the miniature is taken to need as long as on a core: no rate was measured there.
        """
        core_seconds, operations, is_published = work
        memory = self._memory(job, is_published)
        if not is_published:
            start = self._rate("import")
            seconds = start + core_seconds / self._threads(job) + waiting
            return Cost(start + core_seconds, seconds, memory, **more)
        start = self._rate("published start")
        if job.gpus:
            seconds = start + waiting + (operations / self._rate("GPU") / job.gpus if operations else 0)
            return Cost(seconds, seconds, memory, **more)
        core_seconds = operations / self._rate("core") if operations else 0
        return Cost(start + core_seconds, start + core_seconds / self._threads(job) + waiting, memory, **more)

    # the data

    def draw_phantom(self, job: Job) -> Cost:
        share = (self.settings["phantom"]["image_size"] / 256) ** 2
        images = self.counts.images
        seconds = images * self._rate("drawn film") * share
        return self._plain(job, seconds, images=images, disk=images * FILE_BYTES * share / GB)

    def ingest_raw_files(self, job: Job) -> Cost:
        studies = self.counts.studies
        return self._plain(job, studies * self._rate("report"), images=self.counts.images, disk=studies * 900 / GB)

    def check_images(self, job: Job) -> Cost:
        images = self.counts.images
        if self.is_phantom:
            return self._plain(job, 0, images * self._rate("local file"), images=images)
        waiting = images * self._rate("opened file") / self._threads(job)
        if self.settings["ingest"]["checksums"]:
            waiting = images * self._rate("film's file") / self._rate("reading")
        return self._plain(job, 0, waiting, images=images)

    def pair_studies(self, job: Job) -> Cost:
        counts = self.counts
        seconds, disk = counts.studies * self._rate("study"), counts.singles * 1e3 / GB
        return self._plain(job, seconds, pairs=counts.all_pairs, images=counts.singles, disk=disk)

    def rewrite_reports(self, job: Job) -> Cost:
        pairs = self.counts.in_direction(job.of["direction"])
        if job.of["writer"] != "openai":
            seconds = pairs * self._rate("description") if job.of["writer"] == "rules" else 0
            return self._plain(job, seconds, pairs=pairs, disk=pairs * 100 / GB)
        requests, openai = self.requests[job.of["direction"]], self.settings["rewrite"]["openai"]
        waiting = 60 * requests.minutes(openai)
        seconds = pairs * self._rate("answer")
        return self._plain(job, seconds, waiting, pairs=pairs, disk=pairs * 4e3 / GB, requests=requests)

    def _films(self, job: Job, films: float, name: str) -> tuple[float, float]:
        """Seconds of the processor for so many films, or pairs of which one film is read, and of reading."""
        if self.is_phantom:
            share = (self.settings["phantom"]["image_size"] / 256) ** 2 if name == "film" else 1
            return films * self._rate(f"phantom's {name}") * share, 0.0
        return films * self._rate(name), films * self._rate("film's file") / self._rate("reading")

    def preprocess_images(self, job: Job) -> Cost:
        films = self._share(self.counts.singles, "preprocess")
        disk = films * self.pixels * FILM_BYTES[not self.is_phantom] / GB
        return self._plain(job, *self._films(job, films, "film"), images=films, disk=disk)

    def register_priors(self, job: Job) -> Cost:
        pairs = self._share(self.counts.in_direction(job.of["direction"]), "register")
        disk = pairs * self.pixels * FILM_BYTES[not self.is_phantom] / GB
        return self._plain(job, *self._films(job, pairs, "pair"), pairs=pairs, disk=disk)

    def gather_triples(self, job: Job) -> Cost:
        pairs = self.counts.in_direction(job.of["direction"])
        return self._plain(job, pairs * self._rate("gathered row"), pairs=pairs)

    def gather_cohort(self, job: Job) -> Cost:
        return self._plain(job, self.counts.images * self._rate("gathered row"))

    def gather_parts(self, job: Job) -> Cost:
        return self._plain(job, self.counts.all_pairs * self._rate("gathered row"))

    # the frozen parts

    def _frozen(self, job: Job, part: str, rate: str, size: float = 1.0) -> Cost:
        own = self.settings["pretrain"][part]
        is_published = own["weights"] is not None
        disk = PART_BYTES[is_published] / GB
        if is_published:
            return self._network(job, (0, 0, True), disk=disk)
        trained = self.settings["pretrain"]["judges"] if part == "second_judges" else own
        seen = trained["steps"] * trained["batch_size"]
        return self._network(job, (seen * self._rate(rate) * size, 0, False), images=seen, disk=disk)

    def pretrain_first_stage(self, job: Job) -> Cost:
        return self._frozen(job, "first_stage", "first stage", self.pixels / LEVELS)

    def pretrain_text_tower(self, job: Job) -> Cost:
        own = self.settings["pretrain"]["text_tower"]
        return self._frozen(job, "text_tower", "text tower", own["layers"] / 2 * own["width"] / 96)

    def pretrain_judges(self, job: Job) -> Cost:
        return self._frozen(job, "judges", "judges", self.pixels / LEVELS)

    def pretrain_second_judges(self, job: Job) -> Cost:
        return self._frozen(job, "second_judges", "judges", self.pixels / LEVELS)

    def pretrain_segmenter(self, job: Job) -> Cost:
        return self._frozen(job, "segmenter", "segmenter", self.pixels / LEVELS)

    def _is_given(self, part: str) -> bool:
        return (self.settings["pretrain"][part] or {"weights": None})["weights"] is not None

    # latents and token states

    def _encoded(self, job: Job, pictures: float, **more: Any) -> Cost:
        is_given = self._is_given("first_stage")
        operations = pictures * self._rate("encoder") * self.pixels / 256**2 if is_given else 0.0
        seconds = 0.0 if is_given else pictures * self._rate("picture encoded") * self.pixels / LEVELS
        disk = pictures * self.pixels * LATENT_BYTES[is_given] / GB
        return self._network(job, (seconds, operations, is_given), disk=disk, **more)

    def encode_images(self, job: Job) -> Cost:
        images = self._share(self.counts.singles, "preprocess")
        return self._encoded(job, images, images=images)

    def encode_priors(self, job: Job) -> Cost:
        pairs = self._share(self.counts.in_direction(job.of["direction"]), "register")
        return self._encoded(job, pairs, pairs=pairs)

    def _texts(self, job: Job, texts: int, **more: Any) -> Cost:
        is_given = self._is_given("text_tower")
        operations = texts * self._rate("published text tower") if is_given else 0.0
        seconds = 0.0 if is_given else texts * self._rate("text encoded")
        return self._network(job, (seconds, operations, is_given), disk=texts * TEXT_BYTES[is_given] / GB, **more)

    def encode_reports(self, job: Job) -> Cost:
        return self._texts(job, self.counts.singles, images=self.counts.singles)

    def encode_descriptions(self, job: Job) -> Cost:
        pairs = self.counts.in_direction(job.of["direction"])
        return self._texts(job, pairs, pairs=pairs)

    # training

    def _is_published_unet(self, run: str) -> bool:
        own = self.settings["train"]["runs"][run]
        if own.get("weights") is not None:
            return True
        if own["start"] is not None:
            return self._is_published_unet(own["start"])
        return self.settings["diffusion"]["unet"]["weights"] is not None

    def _miniature(self) -> float:
        """The size of the UNet in miniature: its work for one picture, in that of the default configuration."""
        unet = self.settings["diffusion"]["unet"]
        widths = unet.get("block_out_channels") or [32, 64, 96]
        work = sum(width**2 / 4**level for level, width in enumerate(widths)) * unet.get("layers_per_block", 1)
        return float(work / (32**2 + 64**2 / 4 + 96**2 / 16) * self.pixels / LEVELS)

    def train_stage(self, job: Job) -> Cost:
        run = self.settings["train"]["runs"][job.of["run"]]
        seen, is_published = run["steps"] * run["batch_size"], self._is_published_unet(job.of["run"])
        disk = (MODEL_BYTES[is_published] + (STATE_BYTES[is_published] if seen else 0)) / GB
        examples = sum(self.counts.pairs["train"] for _ in run["directions"]) if run["data"] == "triples" else 0
        more: dict[str, Any] = {"pairs": examples, "images": seen, "disk": disk}
        if is_published and job.gpus:
            speed = self._rate("trained on a GPU") * 256**2 / self.pixels * job.gpus
            speed *= self._rate("several GPUs") if job.gpus > 1 else 1
            # its examples are read and its code compiled first
            return self._network(job, (0, 0, True), 4 * self._rate("published start") + seen / speed, **more)
        rate = self._rate("trained on a core") * self.pixels / 256**2 if is_published else 0.0
        rate = rate or self._rate("example") * self._miniature()
        cost = self._network(job, (seen * rate, 0, False), **more)
        return replace(cost, gib=self._memory(job, is_published))

    def train_stand_in(self, job: Job) -> Cost:
        own, stage = self.settings["pretrain"]["stand_in"], self.settings["pretrain"]["first_stage"]
        seconds = own["steps"] * own["batch_size"] * self._rate("example") * self._miniature()
        if not self._is_given("first_stage"):
            seconds += stage["steps"] * stage["batch_size"] * self._rate("first stage") * self.pixels / LEVELS
        return self._network(job, (seconds, 0, False), images=own["pictures"], disk=MODEL_BYTES[0] / GB)

    # pictures

    def _evaluations(self, system: str, scales: tuple[float, float] | None) -> int:
        """How often the UNet is evaluated in a step; ``scales`` None: as often as guidance can need."""
        own = self.settings["systems"][system]
        prior = self.settings["train"]["runs"][own["run"]]["prior"] if "run" in own else own["prior"]
        return len(sampling.guidance_terms(*(scales or (3.0, 2.0)), prior != "none"))

    def _scales(self, system: str) -> tuple[float, float] | None:
        """The scales of a system; None where a sweep chooses them."""
        guidance = self.settings["generate"]["guidance"]
        swept = system in guidance["sweep"]["systems"]
        return None if swept else (guidance["text_scale"], guidance["image_scale"])

    def _drawn(self, job: Job, system: str, pictures: float, steps: int, **more: Any) -> Cost:
        """So many pictures in so many steps each; ``more``: of the cost."""
        own = self.settings["systems"][system]
        scales = None if job.rule == "generate_sweep" else self._scales(system)
        evaluations = pictures * steps * self._evaluations(system, scales)
        disk = pictures * self.pixels * DRAWN_BYTES / GB
        if own.get("pipeline") is not None:  # at 512 pixels, and always guided
            terms = 2 if own["prior"] == "none" else 3
            each = terms * steps * self._rate("large UNet") + self._rate("large decoder")
            each += 0 if own["prior"] == "none" else self._rate("large encoder")
            return self._network(job, (0, pictures * each, True), disk=disk, **more)
        if "run" in own and self._is_published_unet(own["run"]):
            size = self.pixels / 256**2
            operations = (evaluations * self._rate("UNet") + pictures * self._rate("decoder")) * size
            return self._network(job, (0, operations, True), disk=disk, **more)
        seconds = evaluations * self._rate("evaluation") * self._miniature()
        return self._network(job, (seconds, 0, False), disk=disk, **more)

    def _sweep_pictures(self, system: str) -> int:
        sweep, prior = self.settings["generate"]["guidance"]["sweep"], self._evaluations(system, None) == 3
        scales = len(sweep["text_scales"]) * (len(sweep["image_scales"]) if prior else 1)
        return scales * min(sweep["pairs"], self.counts.pairs["validation"])

    def _test_pictures(self, system: str) -> int:
        """Of all seeds. Only our own runs are trained with several seeds."""
        seeds = len(self.settings["generate"]["seeds"])
        own = self.settings["systems"][system]
        return self.counts.pairs["test"] * seeds * (self.settings["train"]["seeds"] if "run" in own else 1)

    def generate_sweep(self, job: Job) -> Cost:
        pictures = self._share(self._sweep_pictures(job.of["system"]), "generate")
        return self._drawn(job, job.of["system"], pictures, self.settings["generate"]["steps"], images=pictures)

    def generate_samplers(self, job: Job) -> Cost:
        compared = self.settings["generate"]["samplers"]
        pictures = self._share(self._sampled_pictures(), "generate")
        steps = sum(sampler["steps"] for sampler in compared["compared"]) / len(compared["compared"])
        return self._drawn(job, job.of["system"], pictures, steps, images=pictures)

    def _sampled_pictures(self) -> int:
        compared = self.settings["generate"]["samplers"]
        return len(compared["compared"]) * min(compared["pairs"], self.counts.pairs["validation"])

    def generate_pictures(self, job: Job) -> Cost:
        pictures = self._share(self._test_pictures(job.of["system"]), "generate")
        pairs = self._share(self.counts.pairs["test"], "generate")
        steps = self.settings["generate"]["steps"]
        return self._drawn(job, job.of["system"], pictures, steps, images=pictures, pairs=pairs)

    def copy_pictures(self, job: Job) -> Cost:
        pictures = self._share(self._test_pictures(job.of["system"]), "generate")
        seconds, disk = pictures * self._rate("gathered row"), pictures * self.pixels * FILM_BYTES[0] / GB
        return self._plain(job, seconds, images=pictures, pairs=pictures, disk=disk)

    def generate_soundness(self, job: Job) -> Cost:
        pairs = min(self.settings["generate"]["soundness"]["pairs"], self.counts.pairs["test"])
        pictures = DRAWN_TRIALS * pairs
        return self._drawn(
            job, "biomedjourney", pictures, self.settings["generate"]["steps"], pairs=pairs, images=pictures
        )

    def export_model(self, job: Job) -> Cost:
        is_published = self._is_published_unet(self.settings["systems"]["biomedjourney"]["run"])
        return self._network(job, (0, 0, is_published), disk=EXPORT_BYTES[is_published] / GB)

    # scores

    def _scored(self, job: Job, pictures: int, judges: str = "judges", **more: Any) -> Cost:
        is_given = self._is_given(judges)
        seconds = 0.0 if is_given else pictures * self._rate("scored") * self.pixels / LEVELS
        waiting = pictures / self._rate("looked at") if is_given else 0.0
        operations = 0.0
        if job.rule == "evaluate_scores" and self._is_given("segmenter"):
            operations = 3 * pictures * self._rate("published segmenter")  # the picture, the prior, the real follow-up
        return self._network(job, (seconds, operations, is_given), waiting, images=pictures, **more)

    def evaluate_guidance(self, job: Job) -> Cost:
        return self._scored(job, self._sweep_pictures(job.of["system"]))

    def evaluate_samplers(self, job: Job) -> Cost:
        return self._scored(job, self._sampled_pictures())

    def evaluate_real(self, job: Job) -> Cost:
        pictures = self.counts.singles - self.counts.test_singles + self.counts.pairs["test"]
        if self._is_given("judges"):
            operations = 2 * pictures * self._rate("pathology judge")
            return self._network(job, (0, operations, True), pictures / self._rate("prepared"), images=pictures)
        seconds = pictures * self._rate("real film scored") * self.pixels / LEVELS
        return self._network(job, (seconds, 0, False), images=pictures)

    def evaluate_scores(self, job: Job) -> Cost:
        return self._scored(job, self._test_pictures(job.of["system"]), pairs=self.counts.pairs["test"])

    def evaluate_second_scores(self, job: Job) -> Cost:
        pictures = self._test_pictures(job.of["system"])
        return self._scored(job, pictures, "second_judges", pairs=self.counts.pairs["test"])

    def evaluate_soundness(self, job: Job) -> Cost:
        return self._scored(job, DRAWN_TRIALS * self.settings["generate"]["soundness"]["pairs"])

    def evaluate_systems(self, job: Job) -> Cost:
        pictures = sum(map(self._test_pictures, self.settings["systems"]))
        replicates = pictures * self.settings["evaluate"]["bootstrap"]
        return self._plain(job, replicates * self._rate("summary"), pairs=self.counts.pairs["test"], images=pictures)

    def evaluate_judges(self, job: Job) -> Cost:
        return self._plain(job, 8 * self._rate("start"), pairs=self.counts.pairs["test"])

    def write_report(self, job: Job) -> Cost:
        return self._plain(job, 8 * self._rate("start"))

    def _share(self, whole: float, verb: str) -> float:
        """What a shard has of so many rows, in the mean."""
        return float(whole / self.settings[verb]["shards"])
