"""The page in a real browser, served by the command; the model and its judges have learned next to nothing."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from click.testing import CliRunner
from PIL import Image

from biomedjourney.app import examples
from biomedjourney.cli import commands
from biomedjourney.errors import UserError
from tests.helpers import dicom_files, exported

MAIN = "from biomedjourney.cli import main; main()"
FINDINGS = ["pleural_effusion", "edema"]
WAIT = 60_000  # milliseconds
WIDTHS = [1280, 420]

pytestmark = pytest.mark.system


class Served:
    """The command, with a folder of its own for temporary files."""

    def __init__(self, model: Path, temporary: Path) -> None:
        self.temporary = temporary
        words = [sys.executable, "-c", MAIN, "--log", str(temporary / "app.log"), "app"]
        words += ["--model", str(model), "--port", "0"]
        self.process = subprocess.Popen(
            words, stderr=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": str(temporary)}
        )
        assert self.process.stderr is not None
        first = self.process.stderr.readline()
        found = re.match(r"(http://127\.0\.0\.1:\d+) ", first)
        assert found, first + self.process.stderr.read()
        self.address = found[1]

    def end(self, how: signal.Signals) -> int:
        self.process.send_signal(how)
        return self.process.wait(timeout=60)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = exported.write(tmp_path_factory.mktemp("app"))
    exported.judges(folder.parent / "judges", FINDINGS)
    return folder


@pytest.fixture(scope="module")
def served(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    server = Served(model, tmp_path_factory.mktemp("temporary"))
    yield server
    server.end(signal.SIGTERM)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("needs a system package: chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        one = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield one
        one.close()


class Tab:
    """A page that is open, with what its console said and the hosts that it asked."""

    def __init__(self, browser: Any, address: str, width: int) -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 1000}, accept_downloads=True)
        self.said: list[str] = []
        self.asked: set[str] = set()
        self.page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.add(request.url.split("/")[2]))
        self.page.goto(address, timeout=WAIT)
        self.page.wait_for_selector("#examples img", timeout=WAIT)

    def choose_example(self, number: int) -> None:
        self.page.locator("#examples img").nth(number).click()
        self.wait_for("#prior img")

    def upload(self, path: Path) -> None:
        self.page.set_input_files("#film input[type=file]", str(path))

    def draw(self) -> None:
        self.page.click("#draw")
        self.wait_for("#counterfactual img")
        self.wait_for("#kept a")

    def wait_for(self, selector: str) -> None:
        self.page.wait_for_selector(selector, timeout=WAIT)

    def error(self) -> str:
        """The words of the error that is shown."""
        self.wait_for(".toast-body")
        return str(self.page.inner_text(".toast-body"))

    def downloads(self) -> dict[str, Path]:
        result = {}
        for link in self.page.locator("#kept a").all():
            with self.page.expect_download(timeout=WAIT) as event:
                link.click()
            result[event.value.suggested_filename] = Path(event.value.path())
        return result

    def is_too_wide(self) -> bool:
        return bool(self.page.evaluate("document.documentElement.scrollWidth > innerWidth"))


@pytest.fixture(params=WIDTHS)
def tab(browser: Any, served: Served, request: pytest.FixtureRequest) -> Iterator[Tab]:
    one = Tab(browser, served.address, request.param)
    yield one
    one.page.close()


def test_from_an_example_to_a_picture(tab: Tab, served: Served) -> None:
    tab.choose_example(0)
    assert tab.page.input_value("#text textarea") == examples.CASES[0][2]
    tab.draw()
    assert "of the film changed" in tab.page.inner_text("#notes")
    rows = [row.split() for row in tab.page.inner_text("#reading").splitlines()]
    assert rows[0] == ["judge", "reads", "film", "counterfactual"]
    assert [" ".join(row[:-2]) for row in rows[1:]] == ["pleural effusion", "edema"]
    assert tab.page.locator("#reading meter").count() == 4
    for part in ("#prior", "#counterfactual", "#difference", "#slider"):
        loaded = "all => all.every(i => i.complete && i.naturalWidth > 100)"
        assert tab.page.locator(f"{part} img").evaluate_all(loaded), part
    kept = tab.downloads()
    assert list(kept) == ["counterfactual-0.png", "difference-0.png"]
    with Image.open(kept["counterfactual-0.png"]) as picture:
        assert picture.size == (512, 512)
        assert "Synthetic picture" in picture.text["Description"]  # type: ignore[attr-defined]
    assert not tab.is_too_wide()
    assert tab.said == []
    assert tab.asked == {served.address.split("/")[2]}


def test_words_are_built_and_several_samples_drawn(tab: Tab) -> None:
    page = tab.page
    page.locator("#side input").click()
    page.get_by_role("option", name="left").click()
    page.click("#add")
    page.wait_for_function("document.querySelector('#text textarea').value === 'new left pleural effusion'")
    tab.choose_example(1)
    page.fill("#text textarea", "new left pleural effusion")
    page.get_by_label("number input for Samples").fill("2")
    page.get_by_label("Seed").fill("5")
    tab.draw()
    page.wait_for_function("document.querySelectorAll('#samples img').length === 2", timeout=WAIT)
    first = page.get_attribute("#counterfactual img", "src")
    page.locator("#samples img").nth(1).click()
    page.wait_for_function(f"document.querySelector('#counterfactual img').src !== {first!r}", timeout=WAIT)
    assert "screen-6" in str(page.get_attribute("#counterfactual img", "src"))
    assert len(page.locator("#kept a").all()) == 4
    assert not tab.is_too_wide()


def test_a_dicom_film_comes_back_as_dicom_and_goes_with_its_tab(browser: Any, served: Served, tmp_path: Path) -> None:
    path = tmp_path / "IM0001"  # as many systems name them
    dicom_files.write(path, exported.film())
    tab = Tab(browser, served.address, WIDTHS[0])
    tab.upload(path)
    tab.wait_for("#prior img")
    tab.page.fill("#text textarea", "darker now")
    tab.draw()
    kept = tab.downloads()
    assert pydicom.dcmread(kept["counterfactual-0.dcm"]).ImageType[0] == "DERIVED"
    assert any(served.temporary.rglob("IM0001"))
    tab.page.close()
    tab = Tab(browser, served.address, WIDTHS[0])  # the end of a tab is noticed when the next one comes, or soon after
    for _ in range(100):
        if not any(served.temporary.rglob("IM0001")):
            break
        tab.page.wait_for_timeout(200)
    tab.page.close()
    assert not any(served.temporary.rglob("IM0001"))


def test_a_broken_upload_is_told_in_words_and_then_another_film_is_drawn(
    tab: Tab, served: Served, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    tab.upload(broken)
    assert "broken.png: not a readable image" in tab.error()
    assert not any(served.temporary.rglob("broken.png"))
    tab.page.locator(".toast-close").click()
    tab.choose_example(3)
    tab.draw()


def test_what_is_missing_is_said(tab: Tab) -> None:
    tab.page.fill("#text textarea", "darker now")
    tab.page.click("#draw")
    assert "there is no film yet" in tab.error()
    tab.choose_example(2)
    tab.page.fill("#text textarea", "")
    tab.draw()
    assert "the text is empty" in tab.page.inner_text("#notes")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_nothing_stays_when_the_command_ends(model: Path, tmp_path: Path, how: signal.Signals) -> None:
    server = Served(model, tmp_path)
    (folder,) = tmp_path.glob("biomedjourney-app-*")
    assert folder.stat().st_mode & 0o077 == 0
    assert server.end(how) == 0
    assert list(tmp_path.glob("biomedjourney-app-*")) == []


def test_a_port_that_is_taken_is_named(model: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = CliRunner().invoke(commands, ["app", "--model", str(model), "--port", port])
    assert isinstance(result.exception, UserError)
    assert f"127.0.0.1, port {port}: cannot be used (Address already in use)" in str(result.exception)


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    result = CliRunner().invoke(commands, ["app", "--model", str(tmp_path), "--port", "0"])
    assert isinstance(result.exception, UserError)
    assert "no model here" in str(result.exception)


def test_the_examples_are_films_of_their_own(tmp_path: Path) -> None:
    films = [np.asarray(Image.open(example.film)) for example in examples.write(tmp_path)]
    assert all(film.std() > 30 for film in films)
    assert len({film.tobytes() for film in films}) == len(films) == len(examples.CASES)
