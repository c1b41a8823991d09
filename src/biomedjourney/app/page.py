"""The page: what is on it, and what happens when a control is used."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from biomedjourney.app import phrases
from biomedjourney.app.drawing import Shown, Studio
from biomedjourney.app.examples import Example
from biomedjourney.editing import draw
from biomedjourney.errors import UserError, unexpected

MOST_SAMPLES = 4
STRONGEST_SCALE = 10.0
STYLE = """
.reading {width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums}
.reading td, .reading th {padding: 2px 6px; text-align: left; white-space: nowrap}
.reading meter {width: 60px; margin-right: 6px}
"""
FONTS = ["system-ui", "sans-serif"]  # of the machine: nothing is fetched


class Page:
    """Draws for many browser tabs. Each has a folder of its own in ``folder``, deleted when the tab is closed."""

    def __init__(self, studio: Studio, model: draw.Model, examples: list[Example], folder: Path, log: Path) -> None:
        self.studio, self.model, self.examples, self.folder, self.log = studio, model, examples, folder, log

    def blocks(self) -> gr.Blocks:
        facts = self.model.facts
        with gr.Blocks(title="BiomedJourney", analytics_enabled=False) as blocks:
            gr.Markdown(
                "# BiomedJourney\nFrom an earlier chest film and a sentence about what changed, the later one. "
                "**For research. Not for clinical use:** the pictures are invented."
            )
            shown = gr.State([])
            with gr.Row():
                with gr.Column(min_width=300):
                    film = gr.File(label="Frontal chest film: PNG, JPEG or DICOM", height=160, elem_id="film")
                    gallery = gr.Gallery(
                        [(str(example.film), example.title) for example in self.examples],
                        label="Or one of these (drawn patients)",
                        columns=2,
                        object_fit="cover",
                        height="auto",
                        allow_preview=False,
                        interactive=False,
                        buttons=[],
                        elem_id="examples",
                    )
                    text = gr.Textbox(
                        label="Progression", placeholder="new small left pleural effusion", lines=2, elem_id="text"
                    )
                    with gr.Accordion("Choose the words", open=True):
                        self._builder(text)
                    with gr.Row():
                        samples = gr.Slider(1, MOST_SAMPLES, value=1, step=1, label="Samples", min_width=140)
                        seed = gr.Number(0, label="Seed", precision=0, minimum=0, min_width=140)
                    with gr.Row():
                        scales = [
                            gr.Slider(
                                0, max(STRONGEST_SCALE, facts[name]), facts[name], step=0.1, label=label, min_width=140
                            )
                            for name, label in (
                                ("text_scale", "Guidance by the text"),
                                ("image_scale", "Guidance by the film"),
                            )
                        ]
                    button = gr.Button("Draw", variant="primary", elem_id="draw")
                with gr.Column(scale=2, min_width=300):
                    with gr.Row():
                        prior, picture, difference = (
                            gr.Image(
                                label=label,
                                type="filepath",
                                format="png",
                                interactive=False,
                                buttons=["fullscreen"],
                                min_width=200,
                                height=320,
                                elem_id=name,
                            )
                            for name, label in (
                                ("prior", "Film"),
                                ("counterfactual", "Counterfactual"),
                                ("difference", "Difference: red denser, blue less"),
                            )
                        )
                    samples_shown = gr.Gallery(
                        label="Samples: choose one",
                        columns=MOST_SAMPLES,
                        height=180,
                        allow_preview=False,
                        interactive=False,
                        visible=False,
                        buttons=[],
                        elem_id="samples",
                    )
                    notes = gr.Markdown(elem_id="notes")
                    with gr.Row():
                        slider = gr.ImageSlider(
                            label="Film and counterfactual: move the line",
                            type="filepath",
                            format="png",
                            interactive=False,
                            buttons=["fullscreen"],
                            min_width=280,
                            max_height=420,
                            elem_id="slider",
                        )
                        with gr.Column(min_width=280):
                            reading = gr.HTML(elem_id="reading")
                            kept = gr.File(label="To keep", file_count="multiple", interactive=False, elem_id="kept")
            views = [picture, difference, slider, reading]
            drawn = [shown, *views, samples_shown, kept, notes]
            film.upload(self.take_film, film, [film, prior, *drawn], show_progress_on=[prior])
            film.clear(self.forget_film, None, [prior, *drawn], show_progress="hidden")
            gallery.select(self.take_example, None, [film, prior, text, *drawn], show_progress_on=[prior])
            gr.on(
                [button.click, text.submit],
                self.draw,
                [film, prior, text, samples, seed, *scales],
                drawn,
                show_progress_on=[picture],
            )
            samples_shown.select(self.choose, [shown, prior], views, show_progress="hidden")
            blocks.unload(self.leave)
        return blocks

    def _builder(self, text: gr.Textbox) -> None:
        """The controls that write a progression into the text."""
        choices = phrases.findings(self.model.knows_phantom_alone)
        first, move = choices[0][1], phrases.DIRECTIONS[0][1]
        with gr.Row():
            finding = gr.Dropdown(choices, value=first, label="Finding", min_width=140, elem_id="finding")
            side = gr.Dropdown(phrases.sides(first), value="", label="Side", min_width=140, elem_id="side")
            direction = gr.Dropdown(
                phrases.directions(first), value=move, label="Direction", min_width=140, elem_id="direction"
            )
            size = gr.Dropdown(phrases.sizes(first, move), value=0, label="Size now", min_width=140, elem_id="size")
        add = gr.Button("Add to the progression", size="sm", elem_id="add")

        def fitting(finding: str, side: str, direction: str, size: int) -> list[Any]:
            """Only what fits the finding stays to be chosen."""
            result = []
            for choices, value in (
                (phrases.sides(finding), side),
                (phrases.directions(finding), direction),
                (phrases.sizes(finding, direction), size),
            ):
                values = [choice[1] for choice in choices]
                result.append(gr.Dropdown(choices, value=value if value in values else values[0]))
            return result

        controls = [finding, side, direction, size]
        gr.on([finding.input, direction.input], fitting, controls, [side, direction, size], show_progress="hidden")
        add.click(phrases.extended, [text, *controls], text, show_progress="hidden")

    def _of_tab(self, request: gr.Request) -> Path:
        folder = self.folder / "tabs" / str(request.session_hash)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def take_film(self, upload: str, request: gr.Request) -> tuple[Any, ...]:
        """Moves the upload into the tab's folder, so that it goes with the tab, and shows it.

        What is no film is deleted at once, and the place for a film is empty again.
        """
        own = self._of_tab(request) / Path(upload).name
        with self._told():
            shutil.move(upload, own)
            try:
                return str(own), self._on_screen(own), *self._nothing()
            except UserError as error:
                own.unlink()
                gr.Warning(str(error), duration=None, title="Error")
                return None, None, *self._nothing()

    def take_example(self, chosen: gr.SelectData, request: gr.Request) -> tuple[Any, ...]:
        example = self.examples[chosen.index]
        with self._told():
            own = Path(shutil.copy(example.film, self._of_tab(request)))
            return str(own), self._on_screen(own), example.text, *self._nothing()

    def forget_film(self, request: gr.Request) -> tuple[Any, ...]:
        self.leave(request)
        return None, *self._nothing()

    def _on_screen(self, film: Path) -> str:
        out = film.with_name(f"{film.stem}-screen.png")
        self.studio.film_on_screen(film, out)
        return str(out)

    def _nothing(self) -> tuple[Any, ...]:
        """The values of ``drawn`` while nothing is drawn."""
        return [], None, None, None, "", gr.Gallery(None, visible=False), None, ""

    def draw(
        self,
        film: str | None,
        prior: str | None,
        text: str,
        samples: int,
        seed: float | None,
        text_scale: float,
        image_scale: float,
        request: gr.Request,
    ) -> Iterator[tuple[Any, ...]]:
        """Draws one sample after the other, and shows each as soon as it is there."""
        with self._told():
            if film is None or prior is None:
                raise UserError("there is no film yet: drop one, or choose an example")
            folder = self._of_tab(request) / "drawn"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            shown: list[Shown] = []
            told: list[str] = []
            for number in range(samples):
                one, cautions = self.studio.counterfactual(
                    Path(film), text, int(seed or 0) + number, text_scale, image_scale, folder
                )
                shown.append(one)
                told += [caution for caution in cautions if caution not in told]
                notes = [f"⚠️ {caution}" for caution in told] + [each.note for each in shown]
                yield (
                    shown,
                    *self._views(shown[0], prior),
                    gr.Gallery([(str(each.picture), each.note) for each in shown], visible=samples > 1),
                    [str(file) for each in shown for file in (each.file, each.difference)],
                    "\n\n".join(notes),
                )

    def choose(self, shown: list[Shown], prior: str, chosen: gr.SelectData) -> tuple[Any, ...]:
        return self._views(shown[chosen.index], prior)

    def _views(self, one: Shown, prior: str) -> tuple[Any, ...]:
        return str(one.picture), str(one.difference), (prior, str(one.picture)), _reading(one)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Tells an error in words on the page, until it is closed."""
        try:
            yield
        except UserError as error:
            raise gr.Error(str(error), duration=None, print_exception=False) from None
        except Exception as error:
            raise gr.Error(unexpected(error, self.log), duration=None, print_exception=False) from None

    def leave(self, request: gr.Request) -> None:
        """Deletes the films and pictures of a tab."""
        shutil.rmtree(self._of_tab(request), ignore_errors=True)


def _reading(one: Shown) -> str:
    """Both readings of the pathology judge as bars."""
    if not one.before:
        return "There are no judges beside the model, so no reading of the films."
    rows = [
        f"<tr><td>{escape(finding.replace('_', ' '))}</td>"
        + "".join(f'<td><meter value="{value:.3f}"></meter>{value:.2f}</td>' for value in (before, one.after[finding]))
        + "</tr>"
        for finding, before in one.before.items()
    ]
    head = "<tr><th>judge reads</th><th>film</th><th>counterfactual</th></tr>"
    return f'<table class="reading">{head}{"".join(rows)}</table>'
