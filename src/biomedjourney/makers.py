"""Which rule of the workflow makes a file of the results, for messages about files that are damaged."""

import os
from fnmatch import fnmatchcase
from pathlib import Path

# The first pattern that fits counts, below the folder of the results. A bare name of a table may not stand here: every
# step reaches this code, and would count as one that depends on the columns of that table (`versions`).
RULES = {
    "tables/truth.parquet": "draw_phantom",
    "organs.parquet": "draw_phantom",
    "tables/patients.parquet": "ingest_raw_files",
    "tables/studies.parquet": "ingest_raw_files",
    "tables/images.parquet": "ingest_raw_files",
    "ingest/image-files.parquet": "check_images",
    "ingest/*.parquet": "ingest_raw_files",
    "tables/pairs.parquet": "pair_studies",
    "tables/singles.parquet": "pair_studies",
    "pair/*.parquet": "pair_studies",
    "images-needed.txt": "list_images",
    "images-missing.txt": "list_missing_images",
    "progressions/*.parquet": "rewrite_reports",
    "pixels/*.parquet": "preprocess_images",
    "registered/*.parquet": "register_priors",
    "registrations/*.parquet": "register_priors",
    "triples/*.parquet": "gather_triples",
    "tables/cohort.parquet": "gather_cohort",
    "tables/exclusions.parquet": "gather_cohort",
    "models/first-stage*": "pretrain_first_stage",
    "models/text-tower*": "pretrain_text_tower",
    "models/judges*": "pretrain_judges",
    "models/second-judges*": "pretrain_second_judges",
    "models/segmenter*": "pretrain_segmenter",
    "models/biomedjourney*": "export_model",
    "models/*": "train_stage or train_stand_in",
    "latents/images/*.parquet": "encode_images",
    "latents/priors/*.parquet": "encode_priors",
    "texts/reports.parquet": "encode_reports",
    "texts/*.parquet": "encode_descriptions",
    "training/*.parquet": "train_stage",
    "sweeps/*.parquet": "generate_sweep",
    "sampled/*.parquet": "generate_samplers",
    "generated/*.parquet": "generate_pictures or copy_pictures",
    "trials.parquet": "generate_soundness",
    "guidance/*.parquet": "evaluate_guidance",
    "samplers/*.parquet": "evaluate_samplers",
    "real.parquet": "evaluate_real",
    "scores/*.parquet": "evaluate_scores",
    "second-scores/*.parquet": "evaluate_second_scores",
    "tables/soundness.parquet": "evaluate_soundness",
    "tables/judges.parquet": "evaluate_judges",
    "tables/scores.parquet": "evaluate_systems",
    "tables/systems.parquet": "evaluate_systems",
    "tables/ablations.parquet": "evaluate_systems",
    "tables/findings.parquet": "evaluate_systems",
    "tables/subgroups.parquet": "evaluate_systems",
    "tables/beyond.parquet": "evaluate_systems",
    "tables/*.parquet": "gather_parts",
    "report/*": "write_report",
}
RESULTS = "results"  # the folder, by the name that the workflow gives it


def rule_of(path: str | os.PathLike[str]) -> str | None:
    """The rule that makes a file of the results, or a folder of a model; None for what lies elsewhere."""
    inner = _below_results(path)
    if inner is None:
        return None
    return next((rule for pattern, rule in RULES.items() if fnmatchcase("/".join(inner), pattern)), None)


def again(path: str | os.PathLike[str]) -> str:
    """What to do about a damaged file, for the end of a message: of a model its whole folder is made again."""
    rule, inner = rule_of(path), _below_results(path)
    if rule is None or inner is None:
        return "make it again with the command that wrote it, or copy it again"
    whole = Path(*Path(path).parts[: 2 - len(inner)]) if inner[0] == "models" and len(inner) > 2 else Path(path)
    what = "it" if whole == Path(path) else whole
    return f"delete {what} and run Snakemake as before: its rule {rule} makes it again"


def _below_results(path: str | os.PathLike[str]) -> tuple[str, ...] | None:
    parts = Path(path).absolute().parts
    if RESULTS not in parts[:-1]:
        return None
    place = len(parts) - parts[::-1].index(RESULTS)
    return parts[place:]
