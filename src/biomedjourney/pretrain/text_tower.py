"""The text tower, in the folder format of BiomedCLIP (open_clip with a BERT), published or trained in miniature."""

import json
import logging
import pickle
import shutil
import string
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch

from biomedjourney import progress, tables
from biomedjourney.errors import UserError

CONFIG, WEIGHTS = "open_clip_config.json", ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
VOCABULARIES = ("tokenizer.json", "vocab.txt")
VOCABULARY = 2000
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
VISION = {"layers": 2, "width": 64, "head_width": 16, "patch_size": 8}


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

    @torch.no_grad()
    def states(self, texts: list[str], batch_size: int = 64) -> list[np.ndarray]:
        """Token states of each text, float16 (tokens, width), without padding."""
        result: list[np.ndarray] = []
        device = next(self.tower.parameters()).device
        for start in range(0, len(texts), batch_size):
            ids = self.tokens(texts[start : start + batch_size])
            real = ids != self.tokenizer.pad_token_id
            states = self.tower.transformer(ids.to(device), attention_mask=real.long().to(device)).last_hidden_state
            lengths = real.sum(dim=1).tolist()
            halves = states.half().cpu().numpy()
            result += [row[:length].copy() for row, length in zip(halves, lengths, strict=True)]
        return result


def load(folder: Path, max_tokens: int | None = None) -> TextTower:
    """The text tower of a folder, frozen. Raises UserError, naming the file, where a part is missing or damaged.

    ``max_tokens`` None: the context length that the folder names.
    """
    from transformers import AutoTokenizer

    folder = Path(folder)
    tower = _create(folder).text
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{folder}: the tokenizer cannot be read ({_first_line(error)}): download it again") from None
    length = max_tokens or _read_config(folder)["model_cfg"]["text_cfg"]["context_length"]
    longest = tower.config.max_position_embeddings
    if length > longest:
        raise UserError(f"configuration, text.max_tokens: {length} is more than the {longest} that {folder} takes")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return TextTower(tower.to(device).requires_grad_(False).eval(), tokenizer, length)


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{folder / CONFIG}: cannot be read ({error}): give a folder in BiomedCLIP's format") from None
    return config


def _create(folder: Path, *, with_weights: bool = True) -> Any:
    """open_clip's model of a folder, offline: the BERT's own configuration is read from the same folder."""
    import open_clip

    config = _read_config(folder)
    for name in ("config.json", "tokenizer_config.json"):
        if not (folder / name).is_file():
            raise UserError(f"{folder / name}: missing: put BERT's config.json and the tokenizer beside {CONFIG}")
    if not any((folder / name).is_file() for name in VOCABULARIES):
        raise UserError(f"{folder / VOCABULARIES[0]}: missing: download the tokenizer into the folder")
    if with_weights and not any((folder / name).is_file() for name in WEIGHTS):
        raise UserError(f"{folder / WEIGHTS[1]}: the weights are missing: download them into the folder")
    own = {"hf_model_name": str(folder), "hf_tokenizer_name": str(folder), "hf_model_pretrained": False}
    try:
        with nullcontext() if with_weights else _without_warning():
            return open_clip.create_model(
                f"local-dir:{folder}",
                text_cfg=config["model_cfg"]["text_cfg"] | own,
                load_weights=with_weights,
                pretrained_text=False,
                pretrained_image=False,
            )
    except (RuntimeError, OSError, ValueError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
        raise UserError(f"{folder}: not a text tower in BiomedCLIP's format: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


@contextmanager
def _without_warning() -> Iterator[None]:
    """Keeps open_clip from warning of weights that are absent on purpose."""

    def unexpected(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith(("No pretrained weights loaded", "Local config loaded, but no CLIP"))

    root = logging.getLogger()
    root.addFilter(unexpected)
    try:
        yield
    finally:
        root.removeFilter(unexpected)


def copy_published(weights: Path, out: Path) -> None:
    """Copies a published tower after a look that it opens."""
    load(weights)
    with tables.atomic_folder(out) as folder:
        shutil.copytree(weights, folder, dirs_exist_ok=True)


def vocabulary(texts: Iterable[str]) -> list[str]:
    """The word pieces for ``texts``: [PAD] and its like, every character, then the most frequent words.

    The tokenizers' own trainer breaks ties at random, so that two runs would differ; here the alphabet breaks them.
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
    """Writes a WordPiece tokenizer of ``texts`` as transformers reads it; returns the vocabulary's size."""
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertTokenizerFast

    pieces = vocabulary(texts)
    tokenizer = BertWordPieceTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}, lowercase=True)
    BertTokenizerFast(tokenizer_object=tokenizer._tokenizer).save_pretrained(folder)
    return len(pieces)


def prepare(texts: Iterable[str], settings: dict[str, Any], max_tokens: int, size: int, folder: Path) -> Any:
    """An untrained miniature in ``folder``, which has BiomedCLIP's files; returns open_clip's model."""
    from transformers import BertConfig

    size_of_vocabulary = write_tokenizer(texts, folder)
    BertConfig(
        vocab_size=size_of_vocabulary,
        hidden_size=settings["width"],
        num_hidden_layers=settings["layers"],
        num_attention_heads=settings["heads"],
        intermediate_size=4 * settings["width"],
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
    (folder / CONFIG).write_text(json.dumps({"model_cfg": model, "preprocess_cfg": preprocess}, indent=2))
    return _create(folder, with_weights=False)


def contrast(first: torch.Tensor, second: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """The symmetric contrastive loss of CLIP (Radford et al., 2021) of two sets of unit vectors (n, width)."""
    similar = scale * first @ second.T
    same = torch.arange(len(first))
    return (torch.nn.functional.cross_entropy(similar, same) + torch.nn.functional.cross_entropy(similar.T, same)) / 2


def train(
    pictures: np.ndarray,
    examples: list[tuple[int | None, int, str]],
    settings: dict[str, Any],
    max_tokens: int,
    seed: int,
    out: Path,
) -> None:
    """Trains a miniature tower and writes it to ``out``.

    ``pictures``: uint8 (n, size, size). ``examples``: place of the prior picture (None: the text tells of one picture
    alone), place of the current picture, text. The image tower's three channels are prior, current and current, so
    that it can see what a progression description tells; only the text tower is used later.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 2])
    with tables.atomic_folder(out) as folder:
        model = prepare((text for _, _, text in examples), settings, max_tokens, pictures.shape[1], folder)
        from transformers import AutoTokenizer

        tower = TextTower(model.text, AutoTokenizer.from_pretrained(folder), max_tokens)
        optimiser = torch.optim.AdamW(model.parameters(), settings["learning_rate"], weight_decay=0.01)
        falling = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, settings["learning_rate"], settings["steps"], pct_start=0.1
        )
        kinds = [np.flatnonzero([(prior is None) == alone for prior, _, _ in examples]) for alone in (True, False)]
        kinds = [kind for kind in kinds if kind.size]
        with progress.bar(settings["steps"], "text tower", unit="step") as shown:
            for step in range(settings["steps"]):
                rows = rng.choice(kinds[step % len(kinds)], settings["batch_size"])
                chosen = [examples[row] for row in rows]
                current = pictures[[place for _, place, _ in chosen]]
                prior = np.stack([np.full_like(current[0], 128) if p is None else pictures[p] for p, _, _ in chosen])
                seen = torch.from_numpy(np.stack([prior, current, current], axis=1)).float() / 127.5 - 1.0
                features = model.encode_image(seen, normalize=True)
                words = model.encode_text(tower.tokens([text for _, _, text in chosen]), normalize=True)
                loss = contrast(features, words, model.logit_scale.exp().clamp(max=100))
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                falling.step()
                shown.set_postfix_str(f"loss {loss.item():.3f}", refresh=False)
                shown.update()
        torch.save(model.state_dict(), folder / WEIGHTS[1])
