"""What several tests and benchmarks share. Fixtures lie in a conftest.py instead."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
