import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def films() -> Path:
    """The folder of real longitudinal films, which the project does not ship."""
    folder = os.environ.get("BIOMEDJOURNEY_FILMS")
    if not folder or not (Path(folder) / "images.csv").is_file():
        pytest.skip("needs a folder: BIOMEDJOURNEY_FILMS does not point to the real films")
    return Path(folder)
