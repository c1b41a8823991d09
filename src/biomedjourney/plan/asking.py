"""What the language model will be asked: from the reports where they are read already, else from a measured size."""

from typing import Any

from biomedjourney import tables
from biomedjourney.pair.directions import in_direction
from biomedjourney.plan import counts as counting
from biomedjourney.plan.counts import Counts
from biomedjourney.plan.rates import RATES
from biomedjourney.rewrite import writers
from biomedjourney.rewrite.model_writer import Requests, requests

SAMPLE = 500  # pairs whose prompts are counted; all of MIMIC-CXR's would take 20 s
PAIR_COLUMNS = ["pair_id", "prior_study_id", "study_id", "split"]


def requests_of(settings: dict[str, Any], counts: Counts, direction: str) -> tuple[Requests, str]:
    """What is asked for the pairs of a direction, and where that is from. Nothing is sent."""
    pairs = counts.in_direction(direction)
    studies, pair_rows = counting.TABLES / "studies.parquet", counting.TABLES / "pairs.parquet"
    if not (studies.is_file() and pair_rows.is_file()):
        name = "tokens of a pair" if settings["phantom"] is None else "tokens of a phantom's pair"
        each = RATES[name].value + (RATES["tokens backward"].value if direction == "backward" else 0)
        return Requests(pairs, pairs, pairs, round(pairs * each)), f"{each:g} tokens a pair, {RATES[name].source}"
    rows = in_direction(tables.read(pair_rows, "pairs", PAIR_COLUMNS), direction)
    sample = rows.sample(min(SAMPLE, len(rows)), random_state=0)
    read = writers.studies_by_id(studies, {*sample["prior_study_id"], *sample["study_id"]})
    texts = writers.pairs_of(sample, read)
    found = requests(texts, settings["rewrite"], seed=settings["seed"], direction=direction)
    times = len(rows) / max(len(sample), 1)
    whole = Requests(*(round(value * times) for value in (found.pairs, found.distinct, found.count, found.tokens_read)))
    return whole, f"{counting.TABLES}, " + (f"{len(sample):,} of its pairs" if times > 1 else "all of its pairs")
