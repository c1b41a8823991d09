"""A counterfactual as a DICOM file: a new instance, marked as derived and synthetic."""

import copy
from datetime import datetime
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmwrite
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from biomedjourney import tables
from biomedjourney.editing.film import Film
from biomedjourney.editing.marks import Mark
from biomedjourney.errors import UserError, brief

SERIES = "SYNTHETIC (BiomedJourney), not for clinical use"
# These describe the stored values of the film, or vouch for them.
STALE = (
    *("IconImageSequence", "SmallestImagePixelValue", "LargestImagePixelValue"),
    *("DigitalSignaturesSequence", "MACParametersSequence"),
)


def write(out: Path, film: Film, pixels: np.ndarray, mark: Mark, word: bool) -> None:
    """Writes the film's data set with new pixels, uncompressed. ``word``: it is written into the picture.

    Instance and series are new, study and patient stay; ImageType says DERIVED, and SeriesDescription,
    DerivationDescription and ImageComments say that it is synthetic. Raises UserError for a kind of pixels that cannot
    be written.
    """
    if film.is_mirrored:
        pixels = pixels[:, ::-1]
    dataset = copy.deepcopy(film.dataset)
    assert dataset is not None
    dataset.decode()  # so that all elements can be written in another byte order
    source = Dataset()
    source.ReferencedSOPClassUID = dataset.get("SOPClassUID") or dataset.file_meta.MediaStorageSOPClassUID
    source.ReferencedSOPInstanceUID = dataset.get("SOPInstanceUID") or dataset.file_meta.MediaStorageSOPInstanceUID
    try:
        syntax = dataset.file_meta.TransferSyntaxUID
        if not syntax.is_little_endian or syntax.is_deflated:
            dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.set_pixel_data(
            np.ascontiguousarray(pixels).astype(pixels.dtype.newbyteorder("=")),
            "RGB" if pixels.ndim == 3 else dataset.PhotometricInterpretation,
            dataset.BitsStored,
        )
    except (ValueError, AttributeError, NotImplementedError) as error:
        raise UserError(f"{out}: cannot be written as DICOM ({brief(error)}): write .png") from None
    for name in STALE:
        if name in dataset:
            delattr(dataset, name)
    description = mark.sentence.encode("ascii", "backslashreplace").decode()
    kind = dataset.get("ImageType") or []
    dataset.SOPClassUID = source.ReferencedSOPClassUID
    dataset.ImageType = ["DERIVED", "SECONDARY", *([] if isinstance(kind, str) else list(kind)[2:])]
    dataset.SeriesInstanceUID = generate_uid()
    dataset.SeriesDescription = SERIES
    dataset.DerivationDescription = description[:1024]
    dataset.ImageComments = mark.record[:10240]
    dataset.SourceImageSequence = Sequence([source])
    dataset.BurnedInAnnotation = "YES" if word else dataset.get("BurnedInAnnotation", "NO")
    now = datetime.now()
    dataset.InstanceCreationDate, dataset.InstanceCreationTime = f"{now:%Y%m%d}", f"{now:%H%M%S}"
    with tables.atomic_path(out) as temporary:
        dcmwrite(temporary, dataset, enforce_file_format=True, overwrite=True)
