import os
from pathlib import Path

import pytest

# Files that begin first, so that none of them is alone on one core at the end.
LONGEST = ("test_workflow_slurm.py", "test_workflow_paper.py", "test_train_ranks.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture(scope="session")
def films() -> Path:
    """The folder of real longitudinal films, which the project does not ship."""
    folder = os.environ.get("BIOMEDJOURNEY_FILMS")
    if not folder or not (Path(folder) / "images.csv").is_file():
        pytest.skip("needs a folder: BIOMEDJOURNEY_FILMS does not point to the real films")
    return Path(folder)
