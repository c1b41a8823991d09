"""What training learns from and what systems draw: which triples, which prior, which text, in which order."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from biomedjourney import arrays, examples, tables
from biomedjourney.errors import UserError
from biomedjourney.examples import Inputs, compared_triples, drawn_examples, training_examples
from biomedjourney.pair.directions import in_direction
from tests.helpers import tiny
from tests.helpers.full_disk import files

RUN = tiny.TRIPLES  # registered priors, the descriptions of the writer rules, forward
SHAPE = (2, 3, 3)
# pair_id: the split, whether `rules` is accepted, whether `impression` is, and whether all systems are compared on it
PAIRS = {
    "11-12": ("train", True, True, False),
    "9-10": ("train", True, False, False),
    "13-14": ("train", False, True, False),
    "31-32": ("test", True, True, True),
    "3-4": ("test", True, False, True),
    "35-36": ("test", False, True, False),
    "21-22": ("validation", True, True, True),
    "23-24": ("validation", False, False, False),
}


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Path]:
    """Every table by name; `rules`, `impression` and `backward` hold triples, and `singles` the reports' texts."""
    pairs = pd.DataFrame({"pair_id": list(PAIRS), "split": [split for split, *_ in PAIRS.values()]})
    studies = pairs["pair_id"].str.split("-", expand=True)
    pairs["prior_study_id"], pairs["study_id"] = studies[0].astype(int), studies[1].astype(int)
    pairs["prior_dicom_id"], pairs["dicom_id"] = "film" + studies[0], "film" + studies[1]
    pairs = pairs.assign(subject_id=1, interval_days=1.0)
    paths = {}

    def put(name: str, table: str, rows: pd.DataFrame) -> None:
        paths[name] = tmp_path / f"{name}.parquet"
        tables.write(paths[name], table, rows)

    for writer, place in (("rules", 1), ("impression", 2)):
        triples = pairs.assign(writer=writer, direction="forward", description=pairs["pair_id"] + " by " + writer)
        triples["accepted"] = [said[place] for said in PAIRS.values()]
        put(writer, "triples", triples.assign(reason="", compared=[said[3] for said in PAIRS.values()]))
    backward = in_direction(pairs, "backward").assign(writer="rules", direction="backward", compared=False)
    put("backward", "triples", backward.assign(description="backward", accepted=True, reason=""))
    singles = [
        {"dicom_id": f"film{study}", "study_id": int(study), "subject_id": 1, "split": split, "text": f"report {study}"}
        for pair_id, (split, *_) in PAIRS.items()
        for study in pair_id.split("-")
    ]
    put("singles", "singles", pd.DataFrame(singles))
    return paths


def test_compared_triples_are_those_of_one_split_that_all_systems_draw(inputs: dict[str, Path]) -> None:
    given = Inputs(triples=[inputs["rules"]])
    assert list(compared_triples(given, "test")["pair_id"]) == ["3-4", "31-32"], "sorted by pair_id as text"
    assert list(compared_triples(given, "validation")["pair_id"]) == ["21-22"]
    with pytest.raises(UserError, match="none of 3 train pairs has an accepted registration and a valid description"):
        compared_triples(given, "train")


def test_the_triples_of_two_writers_are_not_mixed(inputs: dict[str, Path]) -> None:
    both = Inputs(triples=[inputs["rules"], inputs["impression"]])
    with pytest.raises(UserError, match="those of one writer, each once"):
        compared_triples(both, "test")
    assert list(compared_triples(both, "test", "impression")["description"]) == [
        "3-4 by impression",
        "31-32 by impression",
    ]
    for paths, writer in (([inputs["rules"]] * 2, "rules"), ([inputs["rules"]], "openai")):
        with pytest.raises(UserError, match=f"those of the writer {writer}, each once"):
            compared_triples(Inputs(triples=paths), "test", writer)
    with pytest.raises(UserError, match="--triples is missing"):
        compared_triples(Inputs(), "test")


def test_every_writer_draws_the_same_pairs_whatever_is_accepted(inputs: dict[str, Path]) -> None:
    """`impression` is not accepted on 3-4, and is on 35-36; the first writer decided otherwise on both."""
    for writer in ("rules", "impression"):
        drawn = drawn_examples(RUN | {"writer": writer}, Inputs(triples=[inputs[writer]]), "test")
        assert drawn.to_dict("list") == {
            "id": ["3-4", "31-32"],
            "target": ["film4", "film32"],
            "prior": ["3-4", "31-32"],
            "text": [f"3-4 by {writer}", f"31-32 by {writer}"],
        }


@pytest.mark.parametrize(
    ("prior", "expected"),
    [("none", [None, None]), ("registered", ["3-4", "31-32"]), ("unregistered", ["film3", "film31"])],
)
def test_the_prior_is_named_by_pair_once_registered_and_by_image_else(
    prior: str, expected: list[str | None], inputs: dict[str, Path]
) -> None:
    drawn = drawn_examples(RUN | {"prior": prior}, Inputs(triples=[inputs["rules"]]), "test")
    assert drawn["prior"].astype(object).where(drawn["prior"].notna(), None).tolist() == expected


def test_a_run_on_reports_reads_the_report_of_the_current_image(inputs: dict[str, Path], tmp_path: Path) -> None:
    given = Inputs(triples=[inputs["rules"]], singles=[inputs["singles"]])
    for run in (RUN | {"text": "report"}, tiny.SINGLES):
        assert list(drawn_examples(run, given, "test")["text"]) == ["report 4", "report 32"]
    assert list(training_examples(RUN | {"text": "report"}, given)["text"]) == ["report 12", "report 10"]
    with pytest.raises(UserError, match="--singles is missing: text: report reads it"):
        drawn_examples(RUN | {"text": "report"}, Inputs(triples=[inputs["rules"]]), "test")
    singles = tables.read(inputs["singles"], "singles")
    tables.write(tmp_path / "few.parquet", "singles", singles[singles["dicom_id"] != "film4"])
    with pytest.raises(UserError, match=r"few\.parquet: dicom_id film4 of a pair is not in it: run pair again"):
        drawn_examples(RUN | {"text": "report"}, Inputs(triples=[inputs["rules"]], singles=[tmp_path / "few.parquet"]),
                       "test")  # fmt: skip


def test_training_learns_from_the_accepted_training_triples_of_its_writer(inputs: dict[str, Path]) -> None:
    for writer, ids in (("rules", ["11-12", "9-10"]), ("impression", ["11-12", "13-14"])):
        learned = training_examples(RUN | {"writer": writer}, Inputs(triples=[inputs[writer]]))
        assert list(learned["id"]) == ids
        assert list(learned["text"]) == [f"{pair_id} by {writer}" for pair_id in ids]
        assert list(learned["target"]) == [f"film{pair_id.split('-')[1]}" for pair_id in ids]


def test_backward_triples_are_learned_by_a_run_in_both_directions_alone(inputs: dict[str, Path]) -> None:
    given = Inputs(triples=[inputs["rules"], inputs["backward"]])
    assert list(training_examples(RUN, given)["id"]) == ["11-12", "9-10"]
    both = training_examples(RUN | {"directions": ["forward", "backward"]}, given).set_index("id")
    assert list(both.index) == sorted(["11-12", "9-10", "12-11", "10-9", "14-13"])
    assert both.loc["12-11"].to_dict() == {"target": "film11", "prior": "12-11", "text": "backward"}


def test_a_run_on_singles_learns_from_training_singles_without_a_prior(inputs: dict[str, Path]) -> None:
    learned = training_examples(tiny.SINGLES, Inputs(singles=[inputs["singles"]]))
    assert list(learned["id"]) == ["film10", "film11", "film12", "film13", "film14", "film9"]
    assert (learned["id"] == learned["target"]).all()
    assert learned["prior"].isna().all()
    assert list(learned["text"]) == [f"report {name.removeprefix('film')}" for name in learned["id"]]
    with pytest.raises(UserError, match="--singles is missing: a run on singles reads it"):
        training_examples(tiny.SINGLES, Inputs())


def test_a_run_without_an_accepted_triple_is_refused(inputs: dict[str, Path]) -> None:
    tables.write(inputs["rules"], "triples", tables.read(inputs["rules"], "triples").assign(accepted=False))
    with pytest.raises(UserError, match=r"rules\.parquet: none of 3 training triples is accepted"):
        training_examples(RUN, Inputs(triples=[inputs["rules"]]))


def write_latents(path: Path, ids: list[str], scaling_factor: float = 0.5) -> Path:
    """Latents whose mean is the number in the id."""
    rows = [
        {
            "id": name,
            "mean": np.full(SHAPE, float(name.removeprefix("film")), np.float16).tobytes(),
            "std": np.ones(SHAPE, np.float16).tobytes(),
            "shape": list(SHAPE),
            "scaling_factor": scaling_factor,
        }
        for name in ids
    ]
    tables.write(path, "latents", pd.DataFrame(rows))
    return path


def test_latents_come_in_the_order_of_the_ids_from_any_shard(tmp_path: Path) -> None:
    shards = [write_latents(tmp_path / "0", ["film1", "film2"]), write_latents(tmp_path / "1", ["film3", "film4"])]
    means, stds, scaling_factor = examples.load_latents(shards, ["film4", "film1", "film3"])
    assert means.dtype == stds.dtype == np.float16
    assert means.shape == stds.shape == (3, *SHAPE)
    assert means[:, 0, 0, 0].tolist() == [4, 1, 3]
    assert (stds == 1).all()
    assert scaling_factor == 0.5
    with pytest.raises(UserError, match=r"no latent of film9 \(2 are missing\): run encode on these tables"):
        examples.load_latents(shards, ["film4", "film9", "film8"])


def test_latents_of_more_than_one_first_stage_are_refused(tmp_path: Path) -> None:
    shards = [write_latents(tmp_path / "0", ["film1"], 0.5), write_latents(tmp_path / "1", ["film2"], 0.18215)]
    assert examples.load_latents(shards, ["film2"])[2] == 0.18215
    with pytest.raises(UserError, match=r"more than one first stage \(scaling factors \[0\.18215, 0\.5\]\)"):
        examples.load_latents(shards, ["film1", "film2"])


def test_examples_without_a_latent_are_left_out(tmp_path: Path) -> None:
    rows = {"id": ["a", "b", "c"], "target": ["film1", "film2", "film3"], "prior": ["film4", "film5", "film6"]}
    given = pd.DataFrame(rows | {"text": "text"})
    inputs = Inputs(
        latents=[write_latents(tmp_path / "latents", ["film1", "film2"])],
        prior_latents=[write_latents(tmp_path / "priors", ["film4", "film6"])],
    )
    assert list(examples.with_latents(given, RUN, inputs)["id"]) == ["a"]
    assert list(examples.with_latents(given, RUN | {"prior": "none"}, inputs)["id"]) == ["a", "b"]
    with pytest.raises(UserError, match="none of 1 examples has a latent: run encode on these tables"):
        examples.with_latents(given.iloc[2:], RUN, inputs)
    with pytest.raises(UserError, match="--prior-latents is missing: prior: registered reads it"):
        examples.with_latents(given, RUN, Inputs(latents=inputs.latents))


def write_texts(path: Path, states: dict[str, np.ndarray]) -> Path:
    rows = {
        "text_sha256": [examples.text_key(text) for text in states],
        "states": [array.tobytes() for array in states.values()],
        "shape": [list(array.shape) for array in states.values()],
    }
    tables.write(path, "texts", pd.DataFrame(rows))
    return path


def test_a_text_is_known_by_its_words_whatever_the_white_space() -> None:
    assert examples.text_key(" new\n edema ") == examples.text_key("new edema")
    assert examples.text_key("new edema") != examples.text_key("New edema")


def test_an_empty_text_is_the_null_text(tmp_path: Path) -> None:
    known = {"new edema": np.full((2, 4), 1, np.float16), "no edema": np.full((3, 4), 2, np.float16)}
    texts = write_texts(tmp_path / "texts", known)
    conditions = examples.load_conditions(
        pd.DataFrame({"prior": None, "text": ["no edema", "", "new\n edema", " \n", "no edema"]}),
        RUN | {"prior": "none"},
        Inputs(texts=[texts]),
        max_tokens=5,
    )
    states = conditions.states([0, 1, 2, 3, 4])
    assert states.shape == (5, 5, 4)
    assert states.dtype == np.float32
    assert not states[[1, 3]].any()
    assert states[[0, 2, 4]].sum(axis=(1, 2)).tolist() == [24, 8, 24]
    assert not states[0, 3:].any()
    assert conditions.priors([0, 1]) is None
    assert conditions.text_width == 4


def test_texts_that_were_not_encoded_are_counted(tmp_path: Path) -> None:
    texts = write_texts(tmp_path / "texts", {"new edema": np.ones((2, 4), np.float16)})
    first = examples.text_key("no edema")  # the text itself would stand in a log
    with pytest.raises(
        UserError, match=rf"2 texts were not encoded \(the first has the text_sha256 {first}\): run enc"
    ):
        examples.load_states([texts], ["new edema", "no edema", "", "stable"])
    with pytest.raises(UserError, match="all 2 texts are empty"):
        examples.load_states([texts], ["", " "])


def test_examples_that_share_a_picture_or_a_text_share_its_numbers(tmp_path: Path) -> None:
    latents = write_latents(tmp_path / "latents", ["film1", "film2"])
    texts = write_texts(tmp_path / "texts", {"a": np.ones((1, 4), np.float16), "b": np.full((1, 4), 2, np.float16)})
    rows: dict[str, Any] = {"target": ["film2", "film1", "film2"], "prior": ["film1", "film2", "film1"]}
    given, inputs = pd.DataFrame(rows | {"text": ["b", "a", "b"]}), Inputs(latents=[latents], texts=[texts])
    targets = examples.load_targets(given, inputs)
    conditions = examples.load_conditions(given, RUN | {"prior": "unregistered"}, inputs, max_tokens=2)
    assert len(targets) == 3
    assert targets.latent_shape == SHAPE
    assert len(targets.means) == len(conditions.token_states) == 2
    means, stds = targets.posterior([2, 0, 1])
    assert means.dtype == stds.dtype == np.float32
    assert means[:, 0, 0, 0].tolist() == [2, 2, 1]
    priors = conditions.priors([0, 1, 2])
    assert priors is not None
    assert priors[:, 0, 0, 0].tolist() == [1, 2, 1]
    assert conditions.states([0, 1, 2])[:, 0, 0].tolist() == [2, 1, 2]


@pytest.fixture
def many(tmp_path: Path) -> tuple[pd.DataFrame, Inputs]:
    """Examples that share pictures, priors and texts, some without tokens, in tables of several files."""
    rng, films = np.random.default_rng(0), [f"film{number}" for number in range(1, 30)]
    latents = [write_latents(tmp_path / str(part), films[part::3][::-1]) for part in range(3)]
    texts = {f"text {number}": rng.normal(size=(number % 6, 4)).astype(np.float16) for number in range(1, 20)}
    halves = [dict(list(texts.items())[part::2]) for part in (0, 1)]
    paths = [write_texts(tmp_path / f"texts{part}", half) for part, half in enumerate(halves)]
    written = [*texts, *(f" {text.replace(' ', chr(10))} " for text in texts), "", " "]
    rows = {column: rng.choice(values, 200) for column, values in
            (("target", films), ("prior", films), ("text", written))}  # fmt: skip
    return pd.DataFrame(rows), Inputs(latents=latents, texts=paths)


@pytest.mark.parametrize("is_shared", [False, True])
def test_every_example_gets_its_own_numbers_from_memory_or_from_a_shared_file(
    is_shared: bool, many: tuple[pd.DataFrame, Inputs], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "WORTH_A_FILE", 0)
    given, inputs = many
    folder = tmp_path / "shared" if is_shared else None
    run = RUN | {"prior": "unregistered"}
    targets = examples.load_targets(given, inputs, folder)
    conditions = examples.load_conditions(given, run, inputs, 6, folder)
    stored = {row["text_sha256"]: row for path in inputs.texts for row in tables.read_stream(path, "texts")}
    places = [int(place) for place in np.random.default_rng(1).permutation(len(given))]
    means, stds = targets.posterior(places)
    priors, states = conditions.priors(places), conditions.states(places)
    assert priors is not None
    assert np.array_equal(conditions.states(places, np.float16), states)
    for i, place in enumerate(places):
        example = given.iloc[place]
        assert (means[i] == float(example["target"].removeprefix("film"))).all()
        assert (stds[i] == 1).all()
        assert (priors[i] == float(example["prior"].removeprefix("film"))).all()
        row = stored.get(examples.text_key(example["text"]), {"states": b"", "shape": (0, 4)})
        expected = np.frombuffer(row["states"], "<f2").reshape(row["shape"])
        assert np.array_equal(states[i, : len(expected)], expected)
        assert not states[i, len(expected) :].any()
    assert len(files(tmp_path / "shared")) == (8 if is_shared else 0), "four arrays, each with its lock"


def test_a_shared_file_is_taken_again_for_the_same_rows_of_the_same_tables_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "WORTH_A_FILE", 0)
    folder = tmp_path / "shared"
    latents = write_latents(tmp_path / "latents", ["film1", "film2", "film3"])

    def first_numbers(*ids: str) -> list[float]:
        return examples.load_latents([latents], ids, folder)[0][:, 0, 0, 0].tolist()

    def shared() -> set[str]:
        return {name for name in files(folder) if name.startswith("mean")}

    assert first_numbers("film1", "film2") == [1, 2]
    names = shared()
    assert first_numbers("film1", "film2") == [1, 2]
    assert shared() == names
    assert first_numbers("film2", "film1") == [2, 1]
    assert first_numbers("film3", "film1") == [3, 1]
    changed = tables.read(latents, "latents")
    tables.write(latents, "latents", changed.assign(mean=[np.full(SHAPE, 9, np.float16).tobytes()] * 3))
    assert first_numbers("film1", "film2") == [9, 9]


def test_latents_and_texts_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    latents = write_latents(tmp_path / "latents", ["film1", "film2"])
    rows = tables.read(latents, "latents")
    tables.write(latents, "latents", rows.assign(shape=[list(SHAPE), [*SHAPE[:2], 2 * SHAPE[2]]]))
    with pytest.raises(UserError, match=r"latents: latents of more than one shape \(\[\(2, 3, 3\), \(2, 3, 6\)\]\)"):
        examples.load_latents([latents], ["film1", "film2"])
    tables.write(latents, "latents", rows.assign(std=[rows["std"][0], rows["std"][1][:-2]]))
    assert len(examples.load_means([latents], ["film1", "film2"])) == 2
    with pytest.raises(UserError, match="latents: id film2: column 'std' does not have the 18 numbers that its shape"):
        examples.load_latents([latents], ["film1", "film2"])
    texts = write_texts(tmp_path / "texts", {"a": np.ones((2, 4), np.float16), "b": np.ones((5, 3), np.float16)})
    with pytest.raises(UserError, match=r"texts: token states of more than one text tower \(widths \[3, 4\]\)"):
        examples.load_states([texts], ["a", "b"])
    given = pd.DataFrame({"prior": None, "text": ["a"]})
    with pytest.raises(UserError, match=r"texts: a text of 2 tokens, but text\.max_tokens is 1: run encode texts"):
        examples.load_conditions(given, RUN | {"prior": "none"}, Inputs(texts=[texts]), max_tokens=1)


# Loads examples, touches every number, and prints by how many MB that raised the peak of all memory and what of it
# belongs to this process alone.
LOADS = """
import sys
from pathlib import Path
import pandas as pd
from biomedjourney import examples

def memory(*names):
    lines = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return [int(lines[name].split()[0]) / 1024 for name in names]

latents, texts, count, folder = sys.argv[1:]
ids = [f"film{row}" for row in range(int(count))]
given = pd.DataFrame({"target": ids, "prior": None, "text": ids})
inputs = examples.Inputs(latents=[Path(latents)], texts=[Path(texts)])
folder = Path(folder) if folder else None
before = memory("VmHWM", "RssAnon")
targets = examples.load_targets(given, inputs, folder)
conditions = examples.load_conditions(given, {"prior": "none"}, inputs, 100, folder)
for first in range(0, len(ids), 64):
    places = list(range(first, min(first + 64, len(ids))))
    targets.posterior(places), conditions.states(places, "float16")
print(*(later - earlier for earlier, later in zip(before, memory("VmHWM", "RssAnon"))))
"""


def test_loading_takes_little_more_than_the_numbers_and_once_for_all_processes(tmp_path: Path) -> None:
    count, tokens, width, side = 1_500, 90, 768, 32
    rng = np.random.default_rng(0)

    def noise(*shape: int) -> bytes:
        return rng.integers(0, 15_000, shape, np.int16).tobytes()

    def batches(row: Any) -> Any:
        return ([row(f"film{i}") for i in range(first, first + 50)] for first in range(0, count, 50))

    def latent(name: str) -> dict[str, Any]:
        numbers = {"mean": noise(4, side, side), "std": noise(4, side, side), "shape": [4, side, side]}
        return {"id": name, "scaling_factor": 1.0} | numbers

    def text(name: str) -> dict[str, Any]:
        return {"text_sha256": examples.text_key(name), "states": noise(tokens, width), "shape": [tokens, width]}

    paths = [tmp_path / "latents", tmp_path / "texts"]
    tables.write_stream(paths[0], "latents", batches(latent))
    tables.write_stream(paths[1], "texts", batches(text))
    size = sum(path.stat().st_size for path in paths) / 1e6
    assert size > 200
    for folder, most_alone in (("", size * 1.2 + 40), (str(tmp_path / "shared"), 60)):
        program = [sys.executable, "-c", LOADS, *map(str, paths), str(count), folder]
        result = subprocess.run(program, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        peak, alone = map(float, result.stdout.split())

        assert peak < size * 1.2 + 40, "MB; 40 for code that is loaded, Arrow's pool and a batch"
        assert alone < most_alone
