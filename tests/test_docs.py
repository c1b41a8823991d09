"""What README.md and docs/ say holds: links, commands, settings, and the pages that are written from the code."""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import click
import pytest
import yaml

from biomedjourney import config
from biomedjourney.cli import commands
from biomedjourney.errors import UserError
from tests.helpers import REPOSITORY

PAGES = [
    *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "results/README.md")),
    *sorted((REPOSITORY / "docs").glob("*.md")),
]
CODE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+(?:\n[^`\n]+)?)`")
SHELL = ("console", "bash")
PAPER = REPOSITORY / "workflow" / "configs" / "paper.yaml"


def name_of(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


def blocks(page: Path, *languages: str) -> list[str]:
    return [text for language, text in CODE.findall(page.read_text()) if language in languages]


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", CODE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def product_commands(page: Path) -> list[list[str]]:
    """The words of every `biomedjourney …` on the page, in a block or in a line."""
    lines = [line for block in blocks(page, *SHELL) for line in block.replace("\\\n", " ").splitlines()]
    lines += [text for text in INLINE.findall(CODE.sub("", page.read_text())) if text.startswith("biomedjourney ")]
    found = []
    for line in (line for line in lines if re.search(r"(^|\s)biomedjourney ", line)):
        words = line[line.index("biomedjourney ") :]
        words = words.replace("'", "") if words.count("'") % 2 else words  # the end of what another command is given
        found.append(shlex.split(words, comments=True)[1:])
    return found


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_within_the_project_leads_to_a_file_and_a_heading(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", CODE.sub("", page.read_text())):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{target}: no such file"
        assert not anchor or anchor in headings(linked), f"{target}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_of_the_product_exists_with_these_options(page: Path) -> None:
    for words in product_commands(page):
        command: click.Command = commands
        context = click.Context(commands)
        while isinstance(command, click.Group) and words and not words[0].startswith("-"):
            found = command.get_command(context, words[0])
            if not re.fullmatch(r"[a-z][a-z-]*", words[0]):
                break  # a placeholder, as VERB
            assert found is not None, f"biomedjourney {' '.join(words)}: no command {words[0]}"
            command, words = found, words[1:]
        options = {name for parameter in command.params for name in parameter.opts} | {"--help", "--version"}
        unknown = [word for word in words if re.fullmatch(r"--[a-z][a-z-]*", word) and word not in options]
        assert not unknown, f"{command.name}: no option {unknown[0]}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_example_of_a_configuration_can_be_laid_over_the_default_or_the_papers(page: Path) -> None:
    default = config.read(REPOSITORY / "config.yaml")
    for block in blocks(page, "yaml"):
        overlay = yaml.safe_load(block)
        refusals = []
        for base in (default, config.merge(default, config.read(PAPER))):
            try:
                config.check(config.without_left_out(config.merge(base, overlay)))
            except UserError as error:
                refusals.append(str(error))
        assert len(refusals) < 2, f"{block}\n{refusals}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_python_block_imports_what_is_there(page: Path) -> None:
    for block in blocks(page, "python"):
        imports = "\n".join(line for line in block.splitlines() if re.match(r"(import|from) ", line))
        compile(block, str(page), "exec")
        subprocess.run([sys.executable, "-c", imports], check=True, timeout=300)


def test_the_page_of_tables_is_that_of_the_declarations() -> None:
    assert (REPOSITORY / "docs" / "tables.md").read_text() == tool("data_dictionary").page()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_versions_that_a_page_names_are_those_of_the_lock_file(page: Path) -> None:
    locked = (REPOSITORY / "requirements.lock").read_text().split()
    for pin in re.findall(r"\b[a-z][a-z0-9_-]*==\d[\w.]*", page.read_text()):
        assert pin in locked


def test_the_site_builds_from_the_pages_without_a_warning(tmp_path: Path) -> None:
    for name in ("Makefile", "mkdocs.yml", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs", "bench/RESULTS.md"):
        source, target = REPOSITORY / name, tmp_path / name
        target.parent.mkdir(exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    words = ["make", "--assume-old=env", "site"]
    built = subprocess.run(words, cwd=tmp_path, env=os.environ | {"PATH": programs}, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    pages = {page.relative_to(tmp_path / "build" / "site").as_posix() for page in tmp_path.glob("build/site/**/*.html")}
    assert {"index.html", "docs/method/index.html", "bench/RESULTS/index.html"} <= pages
    for page in pages:
        text = (tmp_path / "build" / "site" / page).read_text()
        fetched = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(https?://[^"]+)', text)
        assert not fetched, f"{page}: fetched from outside when it is read"


def tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
