"""Configurations and plans for the tests of `plan`."""

from pathlib import Path
from typing import Any

from biomedjourney import config
from biomedjourney.plan import asking
from biomedjourney.plan.counts import MIMIC, Counts
from biomedjourney.plan.jobs import Jobs
from biomedjourney.plan.steps import Step, steps
from tests.helpers import REPOSITORY


def settings_of(*overlays: Path | dict[str, Any]) -> dict[str, Any]:
    """The default configuration with files or settings laid over it, checked."""
    settings: dict[str, Any] = {}
    for overlay in (REPOSITORY / "config.yaml", *overlays):
        settings = config.merge(settings, overlay if isinstance(overlay, dict) else config.read(overlay))
    settings = config.without_left_out(settings)
    config.check(settings)
    return settings


def plan_of(settings: dict[str, Any], counts: Counts = MIMIC) -> dict[str, Step]:
    """The steps of a configuration by name, as in the table."""
    directions = Jobs(settings).directions_of("openai") if "openai" in settings["rewrite"]["writers"] else []
    requests = {direction: asking.requests_of(settings, counts, direction)[0] for direction in directions}
    return {f"{step.rule} {step.name}".rstrip(): step for step in steps(settings, counts, requests)}
