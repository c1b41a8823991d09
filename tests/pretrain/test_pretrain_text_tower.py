import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from biomedjourney.errors import UserError
from biomedjourney.pretrain import load_text_tower, text_tower
from tests.helpers import published

SETTINGS: dict[str, Any] = {
    "width": 32,
    "layers": 2,
    "heads": 2,
    "steps": 6,
    "batch_size": 4,
    "learning_rate": 1e-3,
}
MAX_TOKENS = 12
TEXTS = [
    "no acute process",
    "new right pleural effusion",
    "the heart is enlarged, mild edema",
    "worse consolidation in the left lower lobe with a small effusion and no pneumothorax, unchanged heart size",
]


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An untrained tower with its weights, in the files of BiomedCLIP."""
    torch.manual_seed(0)
    model = text_tower.prepare(TEXTS, SETTINGS, MAX_TOKENS, 32, tmp_path)
    torch.save(model.state_dict(), tmp_path / "open_clip_pytorch_model.bin")
    return tmp_path


def test_the_folder_has_the_format_of_biomedclip(folder: Path) -> None:
    described = json.loads((folder / "open_clip_config.json").read_text())
    assert described["model_cfg"]["text_cfg"]["hf_pooler_type"] == "cls_last_hidden_state_pooler"
    assert described["model_cfg"]["text_cfg"]["hf_proj_type"] == "mlp"
    assert set(described) == {"model_cfg", "preprocess_cfg"}
    assert {"config.json", "tokenizer_config.json", "tokenizer.json"} <= {path.name for path in folder.iterdir()}


def test_states_are_bert_s_last_hidden_states_without_padding(folder: Path) -> None:
    from transformers import AutoTokenizer

    tower = load_text_tower(folder)
    all_states = tower.states(TEXTS)
    saved = torch.load(folder / "open_clip_pytorch_model.bin")
    bert_weights = tower.tower.transformer.state_dict()
    assert all(torch.equal(bert_weights[name.removeprefix("text.transformer.")], value) for name, value in saved.items()
               if name.startswith("text.transformer."))  # fmt: skip
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for text, states in zip(TEXTS, all_states, strict=True):
        ids = tokenizer(text, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")["input_ids"]
        expected = tower.tower.transformer(ids).last_hidden_state[0].numpy()
        assert states.dtype == np.float16
        assert states.shape == (ids.shape[1], SETTINGS["width"])
        np.testing.assert_allclose(states, expected, atol=2e-3)
    assert tower.width == SETTINGS["width"]


def test_states_do_not_depend_on_the_other_texts_of_a_batch(folder: Path) -> None:
    tower = load_text_tower(folder)
    together = tower.states(TEXTS, batch_size=4)
    for size in (1, 3):
        for one, other in zip(together, tower.states(TEXTS, batch_size=size), strict=True):
            np.testing.assert_allclose(one, other, atol=2e-3)
    alone = tower.states([TEXTS[0]])[0]
    assert np.abs(alone - tower.states([TEXTS[1]])[0][: len(alone)]).max() > 0.1


def test_long_texts_are_cut_and_still_end_with_a_separator(folder: Path) -> None:
    for limit in (None, 5):
        tower = load_text_tower(folder, limit)
        length = limit or MAX_TOKENS
        assert [len(states) for states in tower.states(TEXTS[3:])] == [length]
        assert tower.tokens(TEXTS[3:])[0, -1] == tower.tokenizer.sep_token_id


def test_more_tokens_than_the_tower_has_places_for_are_refused(folder: Path) -> None:
    for read in (load_text_tower, text_tower.check):
        with pytest.raises(UserError, match=r"text.max_tokens: 13 is more than the 12"):
            read(folder, MAX_TOKENS + 1)
    assert text_tower.check(folder, MAX_TOKENS) == SETTINGS["width"]


def refused_in_one_line(folder: Path, said: str) -> None:
    """The tower is refused both when it is loaded and when it is checked without its weights."""
    for read in (load_text_tower, lambda folder: text_tower.check(folder, MAX_TOKENS)):
        with pytest.raises(UserError, match=said) as refused:
            read(folder)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "name",
    ["open_clip_config.json", "tokenizer_config.json", "tokenizer.json", "open_clip_pytorch_model.bin"],
)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    refused_in_one_line(folder, name)


@pytest.mark.parametrize(
    "name", ["open_clip_config.json", "config.json", "tokenizer.json", "open_clip_pytorch_model.bin"]
)
def test_a_damaged_file_is_a_user_error(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"{ half")
    refused_in_one_line(folder, str(folder))


@pytest.mark.parametrize(("width", "heads"), [(24, 12), (128, 2), (32, 1)])
def test_the_snapshot_of_the_hub_folder_is_loaded_without_a_config_of_bert(
    tmp_path: Path, width: int, heads: int
) -> None:
    from transformers import BertConfig, BertModel

    text_tower.copy_published(published.biomedclip(tmp_path / "hub", width, heads), tmp_path / "out")
    assert not (tmp_path / "hub" / "config.json").exists()
    tower = load_text_tower(tmp_path / "out", 16)
    config = BertConfig(**published.BERT, hidden_size=width, num_attention_heads=heads)
    bert = BertModel(config, add_pooling_layer=False).eval()
    weights = torch.load(tmp_path / "hub" / "open_clip_pytorch_model.bin")
    prefix = "text.transformer."
    bert.load_state_dict(
        {name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)}, False
    )
    text = "new left pleural effusion, heart size normal"
    expected = bert(tower.tokens([text])).last_hidden_state[0].detach().numpy()
    np.testing.assert_allclose(tower.states([text])[0], expected, atol=2e-3)
    assert tower.tokenizer.tokenize(text)[:4] == ["new", "left", "pleural", "effusion"]
    assert load_text_tower(tmp_path / "out").max_tokens == 32


@pytest.mark.parametrize("name", ["vocab_size", "hidden_size", "num_hidden_layers", "intermediate_size"])
def test_a_config_of_another_bert_is_named(tmp_path: Path, name: str) -> None:
    folder = published.biomedclip(tmp_path)
    size = (published.BERT | {"hidden_size": published.TEXT_WIDTH})[name]
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", name: size + 12}))
    refused_in_one_line(folder, rf"config.json: {name} is {size + 12}, but the weights .* have {size}: remove")


def test_what_a_snapshot_does_not_tell_is_named(tmp_path: Path) -> None:
    refused_in_one_line(
        published.biomedclip(tmp_path / "odd", 200, 8),
        r"config.json: missing, and a width of 200 does not tell the number of heads",
    )
    folder = published.biomedclip(tmp_path / "tokenizer")
    pieces = [*published.WORDS, *(f"##{i}" for i in range(500))]
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("\n".join([*text_tower.SPECIAL, *pieces]))
    refused_in_one_line(folder, r"the tokenizer has 517 word pieces, but the weights know 200")
    weights = torch.load(folder / "open_clip_pytorch_model.bin")
    others = {name: value for name, value in weights.items() if not name.startswith("text.transformer.")}
    torch.save(others, folder / "open_clip_pytorch_model.bin")
    refused_in_one_line(folder, r"model.bin: not the weights of a BERT .*word_embeddings.weight is missing")


def test_a_safetensors_file_in_half_precision_is_loaded(folder: Path) -> None:
    from safetensors.torch import save_file

    expected = load_text_tower(folder).states(TEXTS)
    weights = torch.load(folder / "open_clip_pytorch_model.bin")
    (folder / "open_clip_pytorch_model.bin").unlink()
    half = {name: value.half() if value.is_floating_point() else value for name, value in weights.items()}
    for name in ("open_clip_model.safetensors", "open_clip_model.fp16.safetensors"):
        save_file(half, folder / name)
        for one, other in zip(load_text_tower(folder).states(TEXTS), expected, strict=True):
            np.testing.assert_allclose(one, other, atol=5e-3)
        (folder / name).unlink()


def test_weights_that_do_not_fit_or_are_cut_off_are_named_in_one_line(folder: Path) -> None:
    from safetensors.torch import save_file

    name = folder / "open_clip_pytorch_model.bin"
    weights = torch.load(name)
    torch.save(weights | {"extra": torch.zeros(1)}, name)
    refused_in_one_line(folder, f"^{folder}: .*Unexpected key.*extra.*: download it again$")
    name.unlink()
    safe = folder / "open_clip_model.safetensors"
    save_file(weights, safe)
    safe.write_bytes(safe.read_bytes()[:4000])
    refused_in_one_line(folder, f"^{folder}: .*SafetensorError: .*: download it again$")


def test_a_context_length_that_is_not_given_is_that_of_open_clip(folder: Path) -> None:
    config = folder / "open_clip_config.json"
    settings = json.loads(config.read_text())
    del settings["model_cfg"]["text_cfg"]["context_length"]
    config.write_text(json.dumps(settings))
    assert load_text_tower(folder, MAX_TOKENS).max_tokens == MAX_TOKENS
    with pytest.raises(UserError, match=f"77 is more than the {MAX_TOKENS} of "):
        load_text_tower(folder)


def test_shards_and_a_file_in_place_of_the_folder_are_named(folder: Path) -> None:
    weights = folder / "open_clip_pytorch_model.bin"
    refused_in_one_line(weights, f"^{weights}: a file, but a folder in BiomedCLIP's format .*: give {folder}$")
    (folder / "model.safetensors.index.json").write_text("{}")
    load_text_tower(folder)  # the one file is there as well
    weights.rename(folder / "model-00001-of-00002.bin")
    refused_in_one_line(folder, r"index.json: the weights are in shards: join them .*open_clip_model.safet")


def test_a_pickle_cannot_run_code(folder: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (folder / "harm",)

    torch.save({"logit_scale": Harmful()}, folder / "open_clip_pytorch_model.bin")
    refused_in_one_line(folder, "not a text tower in BiomedCLIP's format")
    assert not (folder / "harm").exists()


def test_training_writes_a_folder_that_loads_and_a_published_one_is_copied(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    labels = np.array([[0, np.nan], [1, 0], [0, 1], [np.nan, np.nan]])
    with caplog.at_level(logging.WARNING):
        for name in "ab":
            text_tower.train(TEXTS, labels, SETTINGS, MAX_TOKENS, 32, 0, tmp_path / name)
        logging.warning("another warning")
    assert [record.getMessage() for record in caplog.records] == ["another warning"]
    text_tower.copy_published(tmp_path / "a", tmp_path / "c")
    first, again, copied = (load_text_tower(tmp_path / name).states(TEXTS) for name in "abc")
    for one, two, three in zip(first, again, copied, strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(one, three)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]


def test_training_reads_what_words_in_their_order_mean(tmp_path: Path) -> None:
    """Negation: the same words in every text, and only their order tells the labels."""
    texts = ["edema and no effusion", "effusion and no edema"] * 8
    labels = np.array([[1.0, 0.0], [0.0, 1.0]] * 8)
    longer = SETTINGS | {"steps": 150, "batch_size": 16, "learning_rate": 3e-3}
    assert text_tower.train(texts, labels, longer, MAX_TOKENS, 32, 0, tmp_path / "tower") < 0.1
    first, other = load_text_tower(tmp_path / "tower").states(texts[:2])
    assert np.abs(first[0].astype(float) - other[0]).max() > 0.5


def test_frequent_words_are_pieces_and_others_are_spelled(folder: Path) -> None:
    tokenizer = load_text_tower(folder).tokenizer
    assert tokenizer.tokenize("New EFFUSION, zoo") == ["new", "effusion", ",", "z", "##o", "##o"]
    pieces = text_tower.vocabulary(["b a bb bb", "aa bb cc"])
    assert pieces[-3:] == ["bb", "aa", "cc"]
    assert pieces[: len(text_tower.SPECIAL)] == list(text_tower.SPECIAL)
    assert len(text_tower.vocabulary(f"word{i}" for i in range(5000))) == text_tower.VOCABULARY
