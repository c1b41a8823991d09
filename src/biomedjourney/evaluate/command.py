"""`biomedjourney evaluate`: scores of the generated pictures, and the measures made of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from biomedjourney import config

FILE = config.PATH
TRIPLES = click.option(
    "--triples", type=FILE, required=True, help="Input: triples table of the first writer, read forward."
)
SYSTEM = click.option("--system", required=True, metavar="NAME", help="The system, by its name in systems.")
JUDGES = click.option("--judges", type=FILE, required=True, help="Input: folder of the judging classifiers.")
REAL = click.option("--real", type=FILE, required=True, help="Input: real table.")
GENERATED, REGISTERED, PIXELS = (
    click.option(
        f"--{name}", type=FILE, required=True, multiple=True, help=f"Input: {name} table; repeat it for each shard."
    )
    for name in ("generated", "registered", "pixels")
)
THREADS = click.option("--threads", type=click.IntRange(1), default=1, show_default=True)


def _cohort(function: Callable[..., Any]) -> Callable[..., Any]:
    """The tables that tell what the pictures should show."""
    for name, meaning in (
        ("patients", "Input: patients table."),
        ("studies", "Input: studies table."),
        ("triples", "Input: triples table of the first writer, read forward."),
    ):
        function = click.option(f"--{name}", type=FILE, required=True, help=meaning)(function)
    return function


@click.group()
def command() -> None:
    """Score the counterfactuals, and measure every system.

    Example: biomedjourney evaluate systems --help
    """


@command.command()
@config.option("evaluate guidance")
@SYSTEM
@JUDGES
@_cohort
@click.option(
    "--sweeps", type=FILE, required=True, multiple=True, help="Input: sweeps table; repeat it for each shard."
)
@click.option("--guidance", type=FILE, required=True, help="Output: guidance table of the system.")
@THREADS
def guidance(
    settings: dict[str, Any],
    system: str,
    judges: Path,
    triples: Path,
    studies: Path,
    patients: Path,
    sweeps: tuple[Path, ...],
    guidance: Path,
    threads: int,
) -> None:
    """Choose the guidance scales of a system on validation patients: the highest change AUC that keeps race and age.

    \b
    Example: biomedjourney evaluate guidance --system biomedjourney --sweeps results/sweeps/biomedjourney/0.parquet \\
      --judges results/models/judges --triples results/triples/rules/forward.parquet \\
      --studies results/tables/studies.parquet --patients results/tables/patients.parquet \\
      --guidance results/guidance/biomedjourney.parquet
    """
    from biomedjourney import workers

    workers.limit_threads(threads)
    from biomedjourney import tables
    from biomedjourney.evaluate.guidance import sweep
    from biomedjourney.pretrain import load_judges

    measured = sweep(system, sweeps, load_judges(judges), _validation_rows(triples, studies, patients), settings)
    tables.write(guidance, "guidance", measured)
    for row in measured.query("chosen").itertuples():
        scales = f"text {row.text_scale:g}, image {row.image_scale:g}"
        click.echo(f"{row.system}: {scales} (change AUC {row.change_auc:.4f}, n {row.n})")


@command.command()
@config.option("evaluate samplers")
@SYSTEM
@JUDGES
@_cohort
@click.option(
    "--sampled", type=FILE, required=True, multiple=True, help="Input: sampled table; repeat it for each shard."
)
@click.option("--samplers", type=FILE, required=True, help="Output: samplers table of the system.")
@THREADS
def samplers(
    settings: dict[str, Any],
    system: str,
    judges: Path,
    triples: Path,
    studies: Path,
    patients: Path,
    sampled: tuple[Path, ...],
    samplers: Path,
    threads: int,
) -> None:
    """Compare samplers on validation patients: each one's measures less those of the one with most evaluations.

    \b
    Example: biomedjourney evaluate samplers --system biomedjourney --sampled results/sampled/biomedjourney/0.parquet \\
      --judges results/models/judges --triples results/triples/rules/forward.parquet \\
      --studies results/tables/studies.parquet --patients results/tables/patients.parquet \\
      --samplers results/samplers/biomedjourney.parquet
    """
    from biomedjourney import workers

    workers.limit_threads(threads)
    from biomedjourney import tables
    from biomedjourney.evaluate.samplers import compare
    from biomedjourney.pretrain import load_judges

    compared = compare(system, sampled, load_judges(judges), _validation_rows(triples, studies, patients), settings)
    tables.write(samplers, "samplers", compared)
    for row in compared.to_dict("records"):
        says = "the reference" if row["within"] is None else "within" if row["within"] else "not within"
        click.echo(f"{system}: {row['solver']}, {row['steps']} steps, {row['evaluations']} evaluations: {says}")


def _validation_rows(triples: Path, studies: Path, patients: Path) -> Any:
    """The compared validation pairs with what their pictures should show."""
    from biomedjourney import tables
    from biomedjourney.evaluate import labels
    from biomedjourney.examples import Inputs, compared_triples

    validation_triples = compared_triples(Inputs(triples=[triples]), "validation")
    return labels.attributes(validation_triples, tables.read(studies, "studies"), tables.read(patients, "patients"))


@command.command()
@config.option("evaluate real")
@JUDGES
@click.option("--singles", type=FILE, required=True, help="Input: singles table.")
@TRIPLES
@PIXELS
@click.option("--real", type=FILE, required=True, help="Output: real table.")
@THREADS
def real(
    settings: dict[str, Any],
    judges: Path,
    singles: Path,
    triples: Path,
    pixels: tuple[Path, ...],
    real: Path,
    threads: int,
) -> None:
    """Judge the real pictures that generated ones are compared with.

    \b
    Example: biomedjourney evaluate real --judges results/models/judges --singles results/tables/singles.parquet \\
      --triples results/triples/rules/forward.parquet --pixels results/pixels/0.parquet --real results/real.parquet
    """
    from biomedjourney import workers

    workers.limit_threads(threads)
    from biomedjourney import tables
    from biomedjourney.evaluate.real import judge_pictures
    from biomedjourney.examples import Inputs, compared_triples
    from biomedjourney.pretrain import load_judges

    test_triples = compared_triples(Inputs(triples=[triples]), "test")
    kept = tables.read(singles, "singles", ["dicom_id", "study_id", "split"])
    batch_size = settings["evaluate"]["batch_size"]
    tables.write(real, "real", judge_pictures(kept, test_triples, pixels, load_judges(judges), batch_size))


@command.command()
@config.option("evaluate scores")
@SYSTEM
@JUDGES
@TRIPLES
@GENERATED
@REGISTERED
@PIXELS
@REAL
@click.option(
    "--segmenter", type=FILE, help="Input: folder of the segmenter; without it no overlap of organs is measured."
)
@click.option("--scores", type=FILE, required=True, help="Output: scores table of the system.")
@THREADS
def scores(
    settings: dict[str, Any],
    system: str,
    judges: Path,
    triples: Path,
    generated: tuple[Path, ...],
    registered: tuple[Path, ...],
    pixels: tuple[Path, ...],
    real: Path,
    segmenter: Path | None,
    scores: Path,
    threads: int,
) -> None:
    """Score the pictures of one system with the judging classifiers, and compare them with the real ones.

    \b
    Example: biomedjourney evaluate scores --system biomedjourney --judges results/models/judges \\
      --triples results/triples/rules/forward.parquet --generated results/generated/biomedjourney/0.parquet \\
      --registered results/registered/forward/0.parquet --pixels results/pixels/0.parquet --real results/real.parquet \\
      --segmenter results/models/segmenter --scores results/scores/biomedjourney.parquet
    """
    from biomedjourney import workers

    workers.limit_threads(threads)
    from biomedjourney import tables
    from biomedjourney.evaluate.comparisons import comparisons
    from biomedjourney.evaluate.pictures import RealPictures
    from biomedjourney.evaluate.real import stacked
    from biomedjourney.evaluate.scoring import score_system
    from biomedjourney.examples import Inputs, compared_triples
    from biomedjourney.pretrain import load_judges, load_segmenter

    test_triples = compared_triples(Inputs(triples=[triples]), "test")
    batch_size, loaded_judges = settings["evaluate"]["batch_size"], load_judges(judges)
    pictures = RealPictures(test_triples, registered, pixels)
    judged = tables.read(real, "real", ["split", "features"])
    training_features = stacked(judged.loc[judged["split"] == "train", "features"])
    loaded_segmenter = None if segmenter is None else load_segmenter(segmenter)
    compare = comparisons(loaded_judges, loaded_segmenter, pictures.grey_levels(batch_size), training_features)
    scored = score_system(system, generated, loaded_judges, test_triples, batch_size, pictures, compare)
    tables.write(scores, "scores", scored)


@command.command("second-scores")
@config.option("evaluate second-scores")
@SYSTEM
@JUDGES
@TRIPLES
@GENERATED
@click.option("--scores", type=FILE, required=True, help="Output: second_scores table of the system.")
@THREADS
def second_scores(
    settings: dict[str, Any],
    system: str,
    judges: Path,
    triples: Path,
    generated: tuple[Path, ...],
    scores: Path,
    threads: int,
) -> None:
    """Score the pictures of one system with a second set of judging classifiers, and compare them with no others.

    \b
    Example: biomedjourney evaluate second-scores --system biomedjourney --judges results/models/second-judges \\
      --triples results/triples/rules/forward.parquet --generated results/generated/biomedjourney/0.parquet \\
      --scores results/second-scores/biomedjourney.parquet
    """
    from biomedjourney import workers

    workers.limit_threads(threads)
    from biomedjourney import tables
    from biomedjourney.evaluate.scoring import score_system
    from biomedjourney.examples import Inputs, compared_triples
    from biomedjourney.pretrain import load_judges

    test_triples = compared_triples(Inputs(triples=[triples]), "test")
    scored = score_system(system, generated, load_judges(judges), test_triples, settings["evaluate"]["batch_size"])
    tables.write(scores, "second_scores", scored)


@command.command()
@config.option("evaluate soundness")
@SYSTEM
@JUDGES
@TRIPLES
@click.option("--trials", type=FILE, required=True, help="Input: trials table.")
@REGISTERED
@PIXELS
@click.option("--soundness", type=FILE, required=True, help="Output: soundness table.")
@THREADS
def soundness(
    settings: dict[str, Any],
    system: str,
    judges: Path,
    triples: Path,
    trials: Path,
    registered: tuple[Path, ...],
    pixels: tuple[Path, ...],
    soundness: Path,
    threads: int,
) -> None:
    """Measure how far edits whose result is known without a real picture are from the prior.

    \b
    Example: biomedjourney evaluate soundness --system biomedjourney --judges results/models/judges \\
      --triples results/triples/rules/forward.parquet --trials results/trials.parquet \\
      --registered results/registered/forward/0.parquet --pixels results/pixels/0.parquet \\
      --soundness results/tables/soundness.parquet
    """
    from biomedjourney import workers

    workers.limit_threads(threads)
    from biomedjourney import tables
    from biomedjourney.evaluate.pictures import RealPictures
    from biomedjourney.evaluate.soundness import measure
    from biomedjourney.examples import Inputs, compared_triples
    from biomedjourney.pretrain import load_judges

    test_triples = compared_triples(Inputs(triples=[triples]), "test")
    real = RealPictures(test_triples, registered, pixels)
    measured = measure(system, trials, load_judges(judges), test_triples, real, settings)
    tables.write(soundness, "soundness", measured)


@command.command()
@config.option("evaluate systems")
@_cohort
@click.option("--images", type=FILE, required=True, help="Input: images table, for the views.")
@click.option(
    "--scores", type=FILE, required=True, multiple=True, help="Input: scores table of a system; repeat it for each."
)
@REAL
@click.option("--truth", type=FILE, help="Input: truth table of the phantom, to measure on true labels too.")
@click.option("--all-scores", type=FILE, required=True, help="Output: scores table of all systems.")
@click.option("--systems", type=FILE, required=True, help="Output: systems table.")
@click.option("--ablations", type=FILE, required=True, help="Output: ablations table.")
@click.option("--findings", type=FILE, required=True, help="Output: findings table.")
@click.option("--subgroups", type=FILE, required=True, help="Output: subgroups table.")
@click.option("--beyond", type=FILE, required=True, help="Output: beyond table.")
def systems(
    settings: dict[str, Any],
    triples: Path,
    studies: Path,
    patients: Path,
    images: Path,
    scores: tuple[Path, ...],
    real: Path,
    truth: Path | None,
    all_scores: Path,
    **outputs: Path,
) -> None:
    """Measure every system on the same test pairs, with 95 % intervals by bootstrap over patients.

    \b
    Example: biomedjourney evaluate systems --scores results/scores/biomedjourney.parquet \\
      --scores results/scores/copy-prior.parquet --triples results/triples/rules/forward.parquet \\
      --studies results/tables/studies.parquet --patients results/tables/patients.parquet \\
      --images results/tables/images.parquet --real results/real.parquet --all-scores results/tables/scores.parquet \\
      --systems results/tables/systems.parquet --ablations results/tables/ablations.parquet \\
      --findings results/tables/findings.parquet --subgroups results/tables/subgroups.parquet \\
      --beyond results/tables/beyond.parquet
    """
    from biomedjourney import workers

    workers.limit_threads(1)
    from biomedjourney import tables
    from biomedjourney.evaluate import labels
    from biomedjourney.evaluate.real import of_pairs
    from biomedjourney.evaluate.scoring import join
    from biomedjourney.evaluate.summary import summarise
    from biomedjourney.examples import Inputs, compared_triples

    test_triples = compared_triples(Inputs(triples=[triples]), "test")
    all_studies, findings = tables.read(studies, "studies"), settings["labels"]["findings"]
    rows = labels.attributes(test_triples, all_studies, tables.read(patients, "patients"))
    rows["view"] = labels.views(rows["dicom_id"], tables.read(images, "images", ["dicom_id", "view"]))
    joined = join(scores, settings["systems"], test_triples, findings)
    true_rows = None if truth is None else tables.read(truth, "truth")
    study_labels = labels.by_study(all_studies, settings["labels"])
    more_targets = labels.changes(rows, true_rows, settings["labels"])
    more_targets |= of_pairs(tables.read(real, "real"), rows["dicom_id"], findings, study_labels)
    summary = summarise(joined, rows, true_rows, more_targets, settings)
    tables.write(all_scores, "scores", joined.assign(features=None, prior_features=None))
    for name, content in summary.items():
        tables.write(outputs[name], name, content)


@command.command()
@config.option("evaluate judges")
@_cohort
@click.option("--systems", type=FILE, required=True, help="Input: systems table, by the first set of judges.")
@click.option(
    "--scores", type=FILE, required=True, multiple=True, help="Input: second_scores table of a system; repeat it."
)
@click.option("--truth", type=FILE, help="Input: truth table of the phantom, to measure on true labels too.")
@click.option("--judges", type=FILE, required=True, help="Output: judges table.")
def judges(
    settings: dict[str, Any],
    triples: Path,
    studies: Path,
    patients: Path,
    systems: Path,
    scores: tuple[Path, ...],
    truth: Path | None,
    judges: Path,
) -> None:
    """Measure every system by a second set of judges, and tell how far both sets agree on the order of the systems.

    \b
    Example: biomedjourney evaluate judges --systems results/tables/systems.parquet \\
      --scores results/second-scores/biomedjourney.parquet --scores results/second-scores/copy-prior.parquet \\
      --triples results/triples/rules/forward.parquet --studies results/tables/studies.parquet \\
      --patients results/tables/patients.parquet --judges results/tables/judges.parquet
    """
    from biomedjourney import workers

    workers.limit_threads(1)
    from biomedjourney import tables
    from biomedjourney.evaluate import labels
    from biomedjourney.evaluate.agreement import by_both_judges
    from biomedjourney.evaluate.scoring import join
    from biomedjourney.examples import Inputs, compared_triples

    test_triples = compared_triples(Inputs(triples=[triples]), "test")
    rows = labels.attributes(test_triples, tables.read(studies, "studies"), tables.read(patients, "patients"))
    joined = join(scores, settings["systems"], test_triples, settings["labels"]["findings"], "second_scores")
    true_rows = None if truth is None else tables.read(truth, "truth")
    by_both = by_both_judges(tables.read(systems, "systems"), joined, rows, true_rows, settings)
    tables.write(judges, "judges", by_both)
