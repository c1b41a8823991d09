import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from biomedjourney import pixels, tables
from biomedjourney.encode.command import command
from biomedjourney.encode.texts import distinct, read_texts
from biomedjourney.errors import UserError
from biomedjourney.examples import text_key
from biomedjourney.pretrain import first_stage, load_text_tower, text_tower
from tests.helpers import fabricated, published, tiny

PAIR = "right effusion, new since the prior film"
REPORTS = ["no acute process", "  no acute\n process ", "mild edema", PAIR]
MAX_TOKENS = 8


def singles(path: Path, texts: list[str]) -> None:
    numbers = range(len(texts))
    ids = [f"d{i}" for i in numbers]
    rows = {"dicom_id": ids, "study_id": numbers, "subject_id": numbers, "split": "train", "text": texts}
    tables.write(path, "singles", pd.DataFrame(rows))


def progressions(path: Path, texts: list[str]) -> None:
    ids = [f"{i}-{i + 1}" for i in range(len(texts))]
    rows = {"pair_id": ids, "writer": "rules", "description": texts, "model": None, "prompt_sha256": None}
    tables.write(path, "progressions", pd.DataFrame(rows | {"valid": True, "fallback_reason": None}))


def run(*words: object) -> str:
    result = CliRunner().invoke(command, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def array(row: dict, column: str) -> np.ndarray:
    return np.frombuffer(row[column], "<f2").reshape(row["shape"])


@given(st.lists(st.text(st.characters(exclude_categories=["Z", "C"]), min_size=1), min_size=1), st.data())
def test_white_space_does_not_change_the_key(words: list[str], data: st.DataObject) -> None:
    space = st.text(" \n\t\r\u00a0", min_size=1, max_size=3)
    loose = "".join(data.draw(space) + word for word in words) + data.draw(space)
    assert text_key(loose) == text_key(" ".join(words)) == hashlib.sha256(" ".join(words).encode()).hexdigest()


def test_keys_tell_texts_apart() -> None:
    assert len({text_key(text) for text in ("a b", "ab", "A b", "a b.")}) == 4


def test_each_text_is_encoded_once(tmp_path: Path) -> None:
    singles(tmp_path / "s.parquet", REPORTS)
    progressions(tmp_path / "p.parquet", [PAIR, "resolved edema", PAIR, " "])
    texts = distinct(read_texts(tmp_path / "s.parquet", None))
    assert sorted(texts.values()) == sorted({"no acute process", "mild edema", PAIR})
    assert list(texts) == sorted(texts)
    assert all(key == text_key(text) for key, text in texts.items())
    descriptions = distinct(read_texts(None, tmp_path / "p.parquet"))
    assert sorted(descriptions.values()) == sorted({PAIR, "resolved edema"})


def test_texts_command_writes_the_states_that_the_tower_gives(tmp_path: Path) -> None:
    singles(tmp_path / "s.parquet", REPORTS)
    folder = tmp_path / "tower"
    folder.mkdir()
    torch.manual_seed(0)
    settings = {"width": 32, "layers": 1, "heads": 2}
    model = text_tower.prepare(REPORTS, settings, 2 * MAX_TOKENS, 32, folder)
    torch.save(model.state_dict(), folder / "open_clip_pytorch_model.bin")
    config = fabricated.config_text(text={"max_tokens": MAX_TOKENS}, encode={"batch_size": 3})
    flags = ["texts", "--config", config, "--singles", tmp_path / "s.parquet", "--text-tower", folder]
    assert "3 distinct texts" in run(*flags, "--out", tmp_path / "texts.parquet")
    rows = {row["text_sha256"]: array(row, "states") for row in tables.read_stream(tmp_path / "texts.parquet", "texts")}
    tower = load_text_tower(folder, MAX_TOKENS)
    assert len(rows) == 3
    for text in REPORTS:
        np.testing.assert_allclose(rows[text_key(text)], tower.states([" ".join(text.split())])[0], atol=2e-3)
    assert len(rows[text_key(PAIR)]) == MAX_TOKENS
    run(*flags, "--out", tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "texts.parquet").read_bytes()


@pytest.fixture(params=["PatchAutoencoder", "AutoencoderKL"])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A first stage of one channel and one of three, by the same command."""
    if request.param == "AutoencoderKL":
        return tiny.first_stage(tmp_path / "stage")
    torch.manual_seed(0)
    first_stage.PatchAutoencoder().save_pretrained(tmp_path / "stage")
    return tmp_path / "stage"


def test_pictures_command_writes_the_posterior_of_every_picture_there_is(stage: Path, tmp_path: Path) -> None:
    drawn = np.random.default_rng(0).random((7, 16, 16), dtype=np.float32)
    for shard, places in enumerate(([0, 1, 2, 3, 4], [5, 6])):
        png = [None if i == 2 else pixels.encode_png(drawn[i]) for i in places]
        rows = {"dicom_id": [f"d{i}" for i in places], "png": png, "inverted": False, "to_original": None}
        reason = ["no pixels" if picture is None else "" for picture in png]
        tables.write(tmp_path / f"{shard}.parquet", "pixels", pd.DataFrame(rows | {"reason": reason}))
    shards = [word for shard in (0, 1) for word in ("--pictures", tmp_path / f"{shard}.parquet")]
    config = fabricated.config_text(encode={"batch_size": 2})
    out = tmp_path / "latents.parquet"
    assert "6 latents" in run("pictures", "--config", config, *shards, "--first-stage", stage, "--out", out)
    rows = list(tables.read_stream(out, "latents"))
    assert {row["scaling_factor"] for row in rows} == {first_stage.load(stage).config.scaling_factor}
    assert [row["id"] for row in rows] == ["d0", "d1", "d3", "d4", "d5", "d6"]
    model = first_stage.load(stage)
    for row in rows:
        picture = pixels.decode_png(pixels.encode_png(drawn[int(row["id"][1:])]))
        x = torch.from_numpy(pixels.to_first_stage(picture))[None, None]
        posterior = model.encode(x.expand(-1, model.config.in_channels, -1, -1)).latent_dist
        np.testing.assert_allclose(array(row, "mean"), posterior.mean[0].numpy(), rtol=2e-3, atol=1e-3)
        np.testing.assert_allclose(array(row, "std"), posterior.std[0].numpy(), rtol=2e-3, atol=1e-3)
        assert array(row, "mean").shape == posterior.mean.shape[1:]


def test_texts_command_reads_one_table(tmp_path: Path) -> None:
    words = ["texts", "--config", fabricated.config_text(), "--text-tower", str(tmp_path), "--out", str(tmp_path / "o")]
    for options in ([], ["--singles", "a", "--progressions", "b"]):
        result = CliRunner().invoke(command, [*words, *options])
        assert result.exit_code == 2
        assert "either --singles or --progressions" in result.output


def test_registered_priors_are_encoded_by_their_pair(tmp_path: Path) -> None:
    paths = fabricated.write(tmp_path, patients=4)
    stage = tiny.first_stage(tmp_path / "stage")
    out = tmp_path / "priors.parquet"
    run("pictures", "--config", fabricated.config_text(), "--pictures", paths["registered"], "--first-stage", stage,
        "--out", out)  # fmt: skip
    expected = tables.read(paths["registered"], "registered", ["pair_id"])["pair_id"]
    assert list(tables.read(out, "latents", ["id"])["id"]) == list(expected)


def test_pictures_that_the_first_stage_would_cut_off_are_refused(tmp_path: Path) -> None:
    table = tmp_path / "pixels.parquet"
    rows = {"dicom_id": "a", "png": pixels.encode_png(np.zeros((30, 30))), "inverted": False}
    tables.write(table, "pixels", pd.DataFrame([rows | {"to_original": None, "reason": ""}]))
    stage = published.vae(tmp_path / "vae")
    with pytest.raises(UserError, match=r"pixels.parquet: pictures of 30 pixels, .* a multiple of 4: .* to 32$"):
        run("pictures", "--config", fabricated.config_text(), "--pictures", table, "--first-stage", stage,
            "--out", tmp_path / "out.parquet")  # fmt: skip
    assert not (tmp_path / "out.parquet").exists()


def test_other_tables_and_missing_files_are_refused(tmp_path: Path) -> None:
    paths = fabricated.write(tmp_path, patients=4)
    stage = tiny.first_stage(tmp_path / "stage")
    for file, message in ((paths["pairs"], "pairs.*expected one of pixels or registered"), (tmp_path / "no", "no:")):
        with pytest.raises(UserError, match=message):
            run("pictures", "--config", fabricated.config_text(), "--pictures", file, "--first-stage", stage,
                "--out", tmp_path / "out.parquet")  # fmt: skip
    assert not (tmp_path / "out.parquet").exists()
