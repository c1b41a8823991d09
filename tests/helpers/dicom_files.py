"""DICOM files of films, written for a test."""

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, generate_uid


def write(path: Path, stored: np.ndarray, bits: int = 12, little_endian: bool = True, **elements: Any) -> None:
    """A single-frame file of these stored values, with these elements."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian if little_endian else ExplicitVRBigEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    encoding = {"is_implicit_VR": False, "is_little_endian": little_endian}
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128, **encoding)
    dataset.Rows, dataset.Columns = stored.shape[:2]
    dataset.SamplesPerPixel = 3 if stored.ndim == 3 else 1
    dataset.PhotometricInterpretation = "RGB" if stored.ndim == 3 else "MONOCHROME2"
    dataset.BitsAllocated = 8 * stored.itemsize
    dataset.BitsStored, dataset.HighBit = bits, bits - 1
    dataset.PixelRepresentation = int(stored.dtype.kind == "i")
    for name, value in elements.items():
        setattr(dataset, name, value)
    dataset.PixelData = stored.astype(stored.dtype.newbyteorder("<" if little_endian else ">")).tobytes()
    dataset.save_as(path, enforce_file_format=True)


def table(descriptor: list[int] | None, data: bytes | list[int] | None) -> Dataset:
    """An item of a modality or VOI LUT sequence."""
    item = Dataset()
    if descriptor is not None:
        item.LUTDescriptor = descriptor
    if data is not None:
        item.LUTData = data
        item["LUTData"].VR = "OW" if isinstance(data, bytes) else "US"
    return item
