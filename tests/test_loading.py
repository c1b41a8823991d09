"""No file that is read may run code, and no loader reaches the hub. Ruff's rules S see more (pyproject.toml)."""

import ast

from tests.helpers import REPOSITORY

# The check itself, whose unpickler knows the layers of networks and nothing else.
CHECKED = {"torch.load(weights, map_location='meta', weights_only=False, pickle_module=checked)"}


def calls(name: str) -> list[str]:
    """Every call of a function or method of this name in the package, as `ast` writes it."""
    trees = [ast.parse(path.read_text()) for path in sorted((REPOSITORY / "src").rglob("*.py"))]
    nodes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [ast.unparse(node) for node in nodes if ast.unparse(node.func).endswith(name)]


def test_no_loader_reaches_the_hub() -> None:
    found = calls(".from_pretrained")
    assert len(found) >= 5
    assert [call for call in found if "local_files_only=True" not in call] == []
    assert [call for call in found if "trust_remote_code" in call] == []


def test_no_pickle_is_opened_unchecked() -> None:
    found = calls("torch.load")
    assert len(found) >= 5
    assert [call for call in found if "weights_only=True" not in call and call not in CHECKED] == []
    assert [call for call in calls("np.load") if "allow_pickle" in call] == []
    assert calls("read_pickle") == []
