"""What `make audit` says of the packages of the lock file."""

import json
import runpy
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.helpers import REPOSITORY

AUDIT = runpy.run_path(str(REPOSITORY / "tools" / "audit.py"))
VULNERABILITY = {"id": "PYSEC-1", "aliases": ["CVE-2"], "fix_versions": ["9.9"], "description": "many\nlines"}


def answers(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    """Lets ``answer(name)`` say of each pinned package what pip-audit would say of it; an exception: it breaks off."""

    def run(command: list[str], **_: Any) -> SimpleNamespace:
        pins = Path(command[command.index("--requirement") + 1]).read_text().splitlines()
        assert all("--hash=sha256:" in pin for pin in pins)
        try:
            packages = [{"name": pin.split("==")[0], **answer(pin.split("==")[0])} for pin in pins]
        except OSError as error:
            return SimpleNamespace(stdout="", stderr=str(error))
        return SimpleNamespace(stdout=json.dumps({"dependencies": packages, "fixes": []}), stderr="")

    monkeypatch.setattr(subprocess, "run", run)


def test_each_vulnerability_is_a_line_and_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers(monkeypatch, lambda name: {"version": "1", "vulns": [VULNERABILITY] * (name == "jinja2")})
    assert AUDIT["main"]() == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "audit: jinja2 1: PYSEC-1, CVE-2; versions without it: 9.9"
    assert said[1].startswith("audit: 1 known vulnerabilities; ")
    assert len(said) == 2


def test_what_was_not_looked_up_is_not_called_safe(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    skipped = {"skip_reason": "not found on PyPI"}
    answers(monkeypatch, lambda name: skipped if name == "jinja2" else {"version": "1", "vulns": []})
    assert AUDIT["main"]() == 0
    count = len([line for line in AUDIT["LOCK"].read_text().splitlines() if "==" in line])
    assert (
        capsys.readouterr().out == f"audit: 0 known vulnerabilities; {count - 1} of {count} packages were looked up\n"
    )


def no_network(name: str) -> Any:
    raise OSError("requests.exceptions.ConnectionError: Failed to establish a new connection")


def test_an_audit_that_breaks_off_is_not_called_a_missing_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> Any:
        raise OSError("No module named pip_audit")

    answers(monkeypatch, broken)
    with pytest.raises(SystemExit, match="audit: pip-audit failed: No module named pip_audit"):
        AUDIT["main"]()


@pytest.mark.parametrize("answer", [no_network, lambda _: {"skip_reason": "not found on PyPI"}])
def test_without_a_database_that_is_said(
    answer: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers(monkeypatch, answer)
    assert AUDIT["main"]() == 0
    assert capsys.readouterr().out.endswith("cannot be reached: no package was looked up\n")
