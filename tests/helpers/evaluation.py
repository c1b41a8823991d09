"""The two steps of `evaluate` on fabricated tables: the scores of each system, then the measures of all."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import biomedjourney.pretrain
from biomedjourney import config
from biomedjourney.cli import commands
from tests.helpers import fabricated

OUTPUTS = ("scores", "systems", "ablations", "findings", "subgroups", "beyond")
# The default configuration has neither this system nor its run.
SETTINGS = {
    "evaluate": {"bootstrap": 100},
    "report": {"examples": 2},  # each row of pictures takes half a second to draw
    "systems": {"no-registration": {"run": "no-registration", "ablation_of": "biomedjourney"}},
}


def score(system: str, tables_in: dict[str, Path], generated: list[Path], scores: Path, **overlay: Any) -> Result:
    """Runs `evaluate scores`, which writes the table ``scores`` of one system, with the fabricated judges."""
    words = ["evaluate", "scores", "--config", fabricated.config_text(**overlay), "--system", system]
    words += ["--judges", "judges", "--triples", str(tables_in["triples"]), "--scores", str(scores)]
    words += ["--registered", str(tables_in["registered"]), "--pixels", str(tables_in["pixels"])]
    words += ["--real", str(tables_in["real"])]
    for path in generated:
        words += ["--generated", str(path)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(biomedjourney.pretrain, "load_judges", lambda folder: fabricated.Judges())
        return CliRunner().invoke(commands, words)


def score_all(tables_in: dict[str, Path], folder: Path) -> list[Path]:
    """The tables of scores of every system in ``tables_in``, written to a folder; fails where one cannot be made."""
    scores = []
    for name, path in tables_in.items():
        table, _, system = name.partition("/")
        if table == "generated":
            scores.append(folder / f"{system}.parquet")
            result = score(system, tables_in, [path], scores[-1])
            assert result.exit_code == 0, result.exception
    return scores


def measure(tables_in: dict[str, Path], scores: list[Path], folder: Path, *more: str, **overlay: Any) -> Result:
    """Runs `evaluate systems`, which writes the tables `OUTPUTS` to a folder."""
    text = fabricated.config_text(**config.merge(SETTINGS, overlay))
    words = ["evaluate", "systems", "--config", text, "--all-scores", str(folder / "scores.parquet")]
    for name in ("triples", "studies", "patients", "images", "real"):
        words += [f"--{name}", str(tables_in[name])]
    for path in scores:
        words += ["--scores", str(path)]
    for name in OUTPUTS[1:]:
        words += [f"--{name}", str(folder / f"{name}.parquet")]
    return CliRunner().invoke(commands, [*words, *more])
