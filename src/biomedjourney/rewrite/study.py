"""What a writer knows of a study."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Study:
    """Labels (1 present, 0 absent, -1 uncertain, None not mentioned) by CheXpert name, and the report's sections."""

    labels: dict[str, int | None] = field(default_factory=dict)
    findings: str = ""
    impression: str = ""


def in_order_of_time(prior: Study, current: Study, direction: str) -> tuple[Study, Study]:
    """The earlier and the later study of a pair that is read from ``prior`` to ``current``, forward or backward."""
    return (prior, current) if direction == "forward" else (current, prior)
