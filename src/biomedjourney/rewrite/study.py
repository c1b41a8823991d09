"""What a writer knows of a study."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Study:
    """Labels (1 present, 0 absent, -1 uncertain, None not mentioned) by CheXpert name, and the report's sections."""

    labels: dict[str, int | None] = field(default_factory=dict)
    findings: str = ""
    impression: str = ""
