"""The text tower, in the folder format of BiomedCLIP (open_clip with a BERT), published or trained in miniature."""

import json
import logging
import shutil
import string
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch

from biomedjourney import progress, published, sums
from biomedjourney.errors import UserError, brief, raise_unless_damage
from biomedjourney.pretrain.judges import pathology_loss
from biomedjourney.pretrain.schedule import one_cycle
from biomedjourney.weights import refuse_pointer

VOCABULARY = 2000  # largest number of word pieces
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
VISION = {"layers": 1, "width": 16, "head_width": 16, "patch_size": 16}
# Standard deviation of the initial weights. BERT's 0.02 suits a width of 768; a small tower would start to learn late.
SPREAD = 0.06
# BiomedCLIP's BERT (microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract) has 12 attention heads of width 64. The
# number of heads is the one size of a BERT that the shapes of its weights do not tell.
HEADS, HEAD_WIDTH = 12, 64


class TextTower:
    """A frozen BERT and its tokenizer."""

    def __init__(self, tower: Any, tokenizer: Any, max_tokens: int) -> None:
        self.tower, self.tokenizer, self.max_tokens = tower, tokenizer, max_tokens

    @property
    def width(self) -> int:
        width: int = self.tower.config.hidden_size
        return width

    def tokens(self, texts: list[str]) -> Any:
        """Padded token ids (n, tokens), at most ``max_tokens`` with [CLS] and [SEP]."""
        encoded = self.tokenizer(
            texts,
            padding=True,
            truncation=True,
            max_length=self.max_tokens,
            return_tensors="pt",
            return_token_type_ids=False,
        )
        return encoded["input_ids"]

    def hidden(self, texts: list[str]) -> torch.Tensor:
        """The last hidden states of the texts, (n, tokens, width), with those of the padding."""
        return self._hidden(self.tokens(texts))

    def _hidden(self, ids: torch.Tensor) -> torch.Tensor:
        ids = ids.to(next(self.tower.parameters()).device)
        mask = (ids != self.tokenizer.pad_token_id).long()
        states: torch.Tensor = self.tower.transformer(ids, attention_mask=mask).last_hidden_state
        return states

    @torch.no_grad()
    def states(self, texts: list[str], batch_size: int = 64) -> list[np.ndarray]:
        """Token states of each text, float16 (tokens, width), without padding."""
        result: list[np.ndarray] = []
        for start in range(0, len(texts), batch_size):
            ids = self.tokens(texts[start : start + batch_size])
            lengths = (ids != self.tokenizer.pad_token_id).sum(dim=1).tolist()
            halves = self._hidden(ids).half().cpu().numpy()
            result += [row[:length].copy() for row, length in zip(halves, lengths, strict=True)]
        return result


def load(folder: Path, max_tokens: int | None = None) -> TextTower:
    """The text tower of a folder, frozen. Raises UserError, with the file name, if a part is missing or damaged.

    ``max_tokens`` None: the context length that the folder gives.
    """
    folder = Path(folder)
    sums.verify(folder)
    published.check_text_tower(folder)
    tower = _create(folder).text
    tokenizer, length = _tokenizer(folder, tower.config, max_tokens)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return TextTower(tower.to(device).requires_grad_(False).eval(), tokenizer, length)


def check(folder: Path, max_tokens: int) -> int:
    """The width of the token states of a published tower that is to read so many tokens.

    The names and shapes of the weights are compared with the configuration, and the weights are not read. Raises
    UserError as `load` does, but for weights that are damaged behind the header of their file.
    """
    from open_clip.factory import _find_checkpoint_in_dir, load_checkpoint

    published.check_text_tower(folder)
    weights = str(_find_checkpoint_in_dir(folder))
    with torch.device("meta"):
        model = _create(folder, with_weights=False)
        try:
            # a safetensors file cannot be read as shapes alone, but is mapped into memory
            load_checkpoint(model, weights, device="cpu" if weights.endswith(".safetensors") else "meta")
        except Exception as error:  # whatever reading safetensors, zip files and pickles raises
            raise_unless_damage(error, folder)
            raise _unreadable(folder, error) from None
    _tokenizer(folder, model.text.config, max_tokens)
    width: int = model.text.config.hidden_size
    return width


def _tokenizer(folder: Path, bert: Any, max_tokens: int | None) -> tuple[Any, int]:
    """The tokenizer of a folder, and ``max_tokens`` or the context length that the folder gives.

    ``bert``: the configuration of the BERT that reads the tokens. Raises UserError where they do not fit each other.
    """
    from open_clip import CLIPTextCfg
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{folder}: the tokenizer cannot be read ({brief(error)}): download it again") from None
    if len(tokenizer) > bert.vocab_size:
        raise UserError(
            f"{folder}: the tokenizer has {len(tokenizer)} word pieces, but the weights know {bert.vocab_size}: "
            "download both from one place"
        )
    text_settings = published.clip_config(folder)["model_cfg"]["text_cfg"]
    length = max_tokens or text_settings.get("context_length", CLIPTextCfg.context_length)
    longest = bert.max_position_embeddings
    if length > longest:
        raise UserError(f"configuration, text.max_tokens: {length} is more than the {longest} of {folder}: reduce it")
    return tokenizer, length


def _create(folder: Path, *, with_weights: bool = True) -> Any:
    """The open_clip model of a folder, offline."""
    import open_clip

    config = published.clip_config(folder)
    weights = open_clip.factory._find_checkpoint_in_dir(folder)
    try:
        with _bert_folder(folder, weights) as bert, nullcontext() if with_weights else _without_warning():
            local_names = {"hf_model_name": str(bert), "hf_tokenizer_name": str(folder), "hf_model_pretrained": False}
            return open_clip.create_model(
                f"local-dir:{folder}",
                device=torch.get_default_device(),
                text_cfg=config["model_cfg"]["text_cfg"] | local_names,
                load_weights=with_weights,
                pretrained_text=False,
                pretrained_image=False,
            )
    except UserError:
        raise
    except Exception as error:  # whatever reading JSON, safetensors, zip files and pickles raises
        raise_unless_damage(error, folder)
        raise _unreadable(folder, error) from None


def _unreadable(folder: Path, error: Exception) -> UserError:
    return UserError(f"{folder}: not a text tower in BiomedCLIP's format ({brief(error)}): download it again")


@contextmanager
def _bert_folder(folder: Path, weights: str | None) -> Iterator[Path]:
    """The folder with BERT's config.json: ``folder`` or, where it has none (BiomedCLIP's hub folder), a temporary one.

    Raises UserError where config.json and the shapes of the weights contradict each other.
    """
    from transformers import BertConfig

    if weights is None:
        yield folder
        return
    own, sizes = folder / "config.json", _sizes(weights)
    if own.is_file():
        described = json.loads(own.read_text(encoding="utf-8"))
        for name, size in sizes.items():
            if described.get(name, size) != size:
                raise UserError(
                    f"{own}: {name} is {described[name]}, but the weights in {Path(weights).name} have {size}: "
                    "remove the file if it is of another model; the sizes are then read from the weights"
                )
        yield folder
        return
    width = sizes["hidden_size"]
    heads = HEADS if width % HEADS == 0 else max(1, width // HEAD_WIDTH)
    if width % heads:
        raise UserError(f"{own}: missing, and a width of {width} does not tell the number of heads: put the file there")
    with tempfile.TemporaryDirectory() as temporary:
        BertConfig(**sizes, num_attention_heads=heads).save_pretrained(temporary)
        yield Path(temporary)


def _sizes(weights: str) -> dict[str, int]:
    """The sizes of the BERT in a file of weights, as BertConfig names them, from the shapes of the weights.

    Raises UserError where the weights are not of a BERT.
    """
    from open_clip.factory import load_state_dict

    refuse_pointer(Path(weights))
    bert = "text.transformer."
    # of a pickle the shapes alone; a safetensors file cannot be read so, but is mapped into memory
    state = load_state_dict(weights, device="cpu" if weights.endswith(".safetensors") else "meta")
    shapes = {name.removeprefix(bert): value.shape for name, value in state.items() if name.startswith(bert)}
    places = {
        "vocab_size": "embeddings.word_embeddings.weight",
        "max_position_embeddings": "embeddings.position_embeddings.weight",
        "type_vocab_size": "embeddings.token_type_embeddings.weight",
        "intermediate_size": "encoder.layer.0.intermediate.dense.weight",
    }
    if absent := [name for name in places.values() if name not in shapes]:
        raise UserError(
            f"{weights}: not the weights of a BERT ({bert}{absent[0]} is missing): give a folder in BiomedCLIP's format"
        )
    return {
        **{size: shapes[name][0] for size, name in places.items()},
        "hidden_size": shapes[places["vocab_size"]][1],
        "num_hidden_layers": len({name.split(".")[2] for name in shapes if name.startswith("encoder.layer.")}),
    }


@contextmanager
def _without_warning() -> Iterator[None]:
    """Suppresses the warnings of open_clip about weights that are absent on purpose."""

    def unexpected(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith(("No pretrained weights loaded", "Local config loaded, but no CLIP"))

    root = logging.getLogger()
    root.addFilter(unexpected)
    try:
        yield
    finally:
        root.removeFilter(unexpected)


def copy_published(weights: Path, out: Path) -> None:
    """Copies a published tower after checking that it opens."""
    load(weights)
    with sums.model_folder(out) as folder:
        shutil.copytree(weights, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*"))


def vocabulary(texts: Iterable[str]) -> list[str]:
    """The word pieces for ``texts``: the special tokens, every character, then the most frequent words.

    The trainer in `tokenizers` orders equally frequent words at random, so two runs would differ; here they are sorted.
    """
    from tokenizers import BertWordPieceTokenizer

    plain = BertWordPieceTokenizer(lowercase=True)
    counts: Counter[str] = Counter()
    for text in texts:
        words = plain._tokenizer.pre_tokenizer.pre_tokenize_str(plain._tokenizer.normalizer.normalize_str(text))
        counts.update(word for word, _ in words)
    letters = sorted({*string.ascii_lowercase, *string.digits, *(letter for word in counts for letter in word)})
    frequent = sorted((word for word in counts if len(word) > 1), key=lambda word: (-counts[word], word))
    pieces = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters), *frequent]
    return pieces[:VOCABULARY]


def write_tokenizer(texts: Iterable[str], folder: Path) -> int:
    """Writes a WordPiece tokenizer for ``texts`` in the format of transformers; returns the size of its vocabulary."""
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertTokenizerFast

    pieces = vocabulary(texts)
    tokenizer = BertWordPieceTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}, lowercase=True)
    BertTokenizerFast(tokenizer_object=tokenizer._tokenizer).save_pretrained(folder)
    return len(pieces)


def prepare(texts: Iterable[str], settings: dict[str, Any], max_tokens: int, size: int, folder: Path) -> Any:
    """Writes an untrained miniature in BiomedCLIP's format, without weights, to ``folder``; returns its model."""
    from transformers import BertConfig

    vocabulary_size = write_tokenizer(texts, folder)
    BertConfig(
        vocab_size=vocabulary_size,
        hidden_size=settings["width"],
        num_hidden_layers=settings["layers"],
        num_attention_heads=settings["heads"],
        intermediate_size=4 * settings["width"],
        initializer_range=SPREAD,
        max_position_embeddings=max_tokens,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        pad_token_id=0,
    ).save_pretrained(folder)
    text = {
        "hf_model_name": ".",
        "hf_tokenizer_name": ".",
        "hf_proj_type": "mlp",
        "hf_pooler_type": "cls_last_hidden_state_pooler",
        "context_length": max_tokens,
    }
    model = {"embed_dim": settings["width"], "vision_cfg": VISION | {"image_size": size}, "text_cfg": text}
    preprocess = {"mean": [0.5] * 3, "std": [0.5] * 3}
    (folder / published.CLIP_CONFIG).write_text(
        json.dumps({"model_cfg": model, "preprocess_cfg": preprocess}, indent=2)
    )
    return _create(folder, with_weights=False)


def train(
    texts: list[str], labels: np.ndarray, settings: dict[str, Any], max_tokens: int, size: int, seed: int, out: Path
) -> float:
    """Trains a miniature tower to predict the labels of each text, and writes it to ``out``.

    ``labels``: (texts, any number) of 0, 1, or NaN for an unknown label. A linear layer predicts them from the state of
    the first token; it is not kept. Published towers were trained on millions of texts and pictures. Contrastive
    training on a few thousand small pictures taught a tower of this size almost nothing. The image tower that the
    format needs (for pictures of ``size`` pixels) stays untrained and is not used. Returns the mean loss over the last
    tenth of the steps.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 2])
    with sums.model_folder(out) as folder:
        model = prepare(texts, settings, max_tokens, size, folder)
        from transformers import AutoTokenizer

        tower = TextTower(model.text, AutoTokenizer.from_pretrained(folder, local_files_only=True), max_tokens)
        label_layer = torch.nn.Linear(settings["width"], labels.shape[1])
        optimiser = torch.optim.AdamW(
            [*tower.tower.parameters(), *label_layer.parameters()], settings["learning_rate"], weight_decay=0.01
        )
        schedule = one_cycle(optimiser, settings, 0.1)
        all_labels = torch.from_numpy(labels.astype(np.float32))
        losses: list[float] = []
        with progress.bar(settings["steps"], "text tower", unit="step") as progress_bar:
            for _ in range(settings["steps"]):
                rows = rng.choice(len(texts), settings["batch_size"])
                loss = pathology_loss(label_layer(tower.hidden([texts[row] for row in rows])[:, 0]), all_labels[rows])
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                schedule.step()
                losses.append(loss.item())
                progress_bar.set_postfix_str(f"loss {losses[-1]:.3f}", refresh=False)
                progress_bar.update()
        torch.save(model.state_dict(), folder / published.CLIP_WEIGHTS[1])
    return float(np.mean(losses[-max(1, len(losses) // 10) :]))
