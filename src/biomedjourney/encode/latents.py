"""Pictures through the first stage."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from biomedjourney import makers, pixels, progress, tables
from biomedjourney.errors import UserError, brief, raise_unless_damage
from biomedjourney.pretrain import load_first_stage
from biomedjourney.pretrain.first_stage import check_side

KEYS = {"pixels": "dicom_id", "registered": "pair_id"}


def kind(path: Path) -> str:
    """Which table of pictures a file is. Raises UserError for another one."""
    try:
        name = (pq.read_schema(path).metadata or {}).get(b"table", b"").decode()
    except (OSError, ValueError) as error:
        raise_unless_damage(error, path)
        raise UserError(f"{path}: cannot be read ({brief(error)}): {makers.again(path)}") from None
    if name not in KEYS:
        is_of = name or "of another kind"
        raise UserError(f"{path}: a table {is_of!r}: expected one of pixels or registered: {makers.again(path)}")
    return name


@torch.no_grad()
def posterior(model: Any, pictures: np.ndarray) -> Any:
    """The Gaussian of the latents of pictures, float32 (n, rows, columns) in [0, 1]; its ``.mean`` is (n, c, h, w).

    The latents are unscaled. A first stage of several channels is given the grey picture in each of them.
    """
    device = next(model.parameters()).device
    x = torch.from_numpy(pixels.to_first_stage(pictures))[:, None].expand(-1, model.config.in_channels, -1, -1)
    return model.encode(x.to(device)).latent_dist


def latents(model: Any, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation, float16 (n, c, h, w), of pictures (n, rows, columns) in [0, 1]; unscaled."""
    gaussian = posterior(model, pictures)
    return gaussian.mean.half().cpu().numpy(), gaussian.std.half().cpu().numpy()


def _batches(files: Sequence[Path], model: Any, size: int) -> Iterator[list[dict[str, Any]]]:
    total = sum(tables.row_count(path, kind(path)) for path in files)
    with progress.bar(total, "encode pictures", "picture") as bar:
        for path in files:
            key = KEYS[kind(path)]
            rows = tables.read_stream(path, kind(path), [key, "png"], rows=size)
            while batch := list(islice(rows, size)):
                bar.update(len(batch))
                with_picture = [row for row in batch if row["png"] is not None]
                if not with_picture:
                    continue
                pictures = np.stack([pixels.decode_png(row["png"]) for row in with_picture])
                check_side(str(path), pictures.shape[1], model.config)
                mean, std = latents(model, pictures)
                yield [
                    {"id": row[key], "mean": m.tobytes(), "std": s.tobytes(), "shape": list(m.shape)}
                    | {"scaling_factor": float(model.config.scaling_factor)}
                    for row, m, s in zip(with_picture, mean, std, strict=True)
                ]


def encode(files: Sequence[Path], first_stage: Path, batch_size: int, out: Path) -> int:
    """Writes the table `latents` of every picture in the files, where a row has one. Returns the count."""
    model = load_first_stage(first_stage).to(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    return tables.write_stream(out, "latents", _batches(files, model, batch_size))
