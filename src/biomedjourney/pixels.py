"""Pictures as bytes and as floats, and of another size. Only this module converts one value range into another.

A picture is stored as an 8-bit grey PNG and held as a float32 array in [0, 1], 0 black and 1 white.
"""

import io
from typing import Any

import numpy as np
from PIL import Image

from biomedjourney.errors import UserError


def encode_png(picture: np.ndarray) -> bytes:
    """An 8-bit grey PNG of a 2-D picture: uint8 is unchanged; floats are clipped to [0, 1] and rounded to 256 steps."""
    if picture.ndim != 2:
        raise ValueError(f"a picture must have two dimensions, not {picture.ndim}")
    if picture.dtype != np.uint8:
        picture = np.rint(np.clip(picture, 0.0, 1.0) * 255.0).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(picture, mode="L").save(buffer, format="PNG", compress_level=3)
    return buffer.getvalue()


def decode_png(png: bytes) -> np.ndarray:
    """The float32 picture in [0, 1], shape (rows, columns), of the bytes that `encode_png` made.

    Raises UserError if the bytes are not a readable picture.
    """
    try:
        with Image.open(io.BytesIO(png)) as image:
            return np.asarray(image.convert("L"), dtype=np.float32) / 255.0
    except (OSError, SyntaxError, ValueError) as error:  # which of them depends on the damaged byte
        raise UserError(f"a stored picture cannot be decoded ({error}): run the step that wrote it again") from None


def to_first_stage(pictures: Any) -> Any:
    """[0, 1] to [-1, 1], the range of the first stage (VAE). Arrays and tensors of any shape."""
    return pictures * 2.0 - 1.0


def from_first_stage(decoded: Any) -> Any:
    """Grey pictures (n, rows, columns) in [0, 1] of what the first stage decoded.

    ``decoded``: (n, channels, rows, columns), array or tensor, from -1 for black to 1 for white. Each channel is
    clipped before the channels are averaged, since diffusers' pipelines clip each colour too.
    """
    if decoded.ndim != 4:
        raise ValueError(f"decoded pictures must have four dimensions, not {decoded.ndim}")
    return (decoded * 0.5 + 0.5).clip(0.0, 1.0).mean(1)


def to_torchxrayvision(pictures: Any) -> Any:
    """[0, 1] to [-1024, 1024], the range of torchxrayvision's models. Arrays and tensors of any shape."""
    if float(pictures.min()) < 0.0 or float(pictures.max()) > 1.0:
        raise ValueError("pictures for torchxrayvision must be in [0, 1]")
    return pictures * 2048.0 - 1024.0


def resize(pictures: Any, side: int) -> Any:
    """Square pictures, a tensor (n, rows, columns), with ``side`` pixels per side: bilinear, with antialiasing."""
    import torch

    if pictures.shape[-1] == side:
        return pictures
    return torch.nn.functional.interpolate(pictures[:, None], (side, side), mode="bilinear", antialias=True)[:, 0]
