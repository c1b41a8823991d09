"""DICOM films: tables, windows, grey scale and orientation."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGLSLossless

from biomedjourney.errors import UserError
from biomedjourney.preprocess import canonical, files, load
from tests.helpers.dicom_files import table, write
from tests.helpers.drawn_films import chest

FILM = chest(200, 180)
TWELVE_BITS = (FILM * 4095).astype(np.uint16)
FULL = {"WindowCenter": 2048, "WindowWidth": 4096}


def test_dicom_with_dark_bones_loads(tmp_path):
    write(tmp_path / "film.dcm", 4095 - (chest() * 4095).astype(np.uint16), PhotometricInterpretation="MONOCHROME1")
    film = load(tmp_path / "film.dcm", 64)
    assert not film.inverted
    assert np.abs(film.picture - canonical(chest(), 64).picture).mean() < 0.02


def test_a_dicom_is_seen_through_its_slope_and_its_window(tmp_path):
    """Values beyond the window, in the units after the slope and intercept, are cut off by it."""
    stored = (chest() * 2000).astype(np.uint16)
    wanted = np.clip(2.0 * stored - 1000.0, 0, 2000)
    write(tmp_path / "film.dcm", stored, RescaleSlope=2, RescaleIntercept=-1000, WindowCenter=1000, WindowWidth=2000)
    picture = load(tmp_path / "film.dcm", 64).picture
    assert np.abs(picture - canonical(wanted, 64).picture).mean() < 0.01
    assert np.abs(picture - canonical(stored, 64).picture).mean() > 0.03


def test_a_dicom_is_seen_through_its_lut(tmp_path):
    """A VOI LUT that bends the scale: squares."""
    from pydicom.dataset import Dataset

    stored = (chest() * 255).astype(np.uint16)
    lut = Dataset()
    lut.LUTDescriptor = [256, 0, 16]
    lut.LUTData = (np.arange(256) ** 2).astype("<u2").tobytes()
    write(tmp_path / "film.dcm", stored, VOILUTSequence=[lut])
    picture = load(tmp_path / "film.dcm", 64).picture
    assert np.abs(picture - canonical(stored.astype(float) ** 2, 64).picture).mean() < 0.01


def test_a_dicom_of_several_frames_is_named(tmp_path):
    stored = (chest() * 4095).astype(np.uint16)
    write(tmp_path / "film.dcm", stored, NumberOfFrames=2)
    dataset = pydicom.dcmread(tmp_path / "film.dcm")
    dataset.PixelData = dataset.PixelData * 2
    dataset.save_as(tmp_path / "film.dcm")
    with pytest.raises(UserError, match=r"film\.dcm: an image has the shape .* not \(2, 300, 260\)"):
        load(tmp_path / "film.dcm", 64)


def test_a_dicom_in_colour_loads_and_a_cut_one_is_named(tmp_path):
    path = tmp_path / "film.dcm"
    stored = np.repeat((chest() * 255).astype(np.uint8)[..., None], 3, axis=2)
    write(path, stored, bits=8, PlanarConfiguration=0)
    assert np.abs(load(path, 64).picture - canonical(chest(), 64).picture).mean() < 0.02
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(UserError, match=r"film\.dcm: not a readable DICOM image"):
        load(path, 64)


def grey(path: Path) -> np.ndarray:
    """The film in [0, 1]: darkest to brightest."""
    seen = files.read(path, 64).grey
    return (seen - seen.min()) / (seen.max() - seen.min())


def in_range(values: np.ndarray) -> np.ndarray:
    return (values - values.min()) / (values.max() - values.min())


@pytest.mark.parametrize(
    ("function", "curve"),
    [
        ("LINEAR", lambda x: np.clip(x, 1000.5 - 700, 1000.5 + 699)),
        (None, lambda x: np.clip(x, 1000.5 - 700, 1000.5 + 699)),
        ("LINEAR_EXACT", lambda x: np.clip(x, 1001 - 700, 1001 + 700)),
        ("SIGMOID", lambda x: 1 / (1 + np.exp(-4 * (x - 1001) / 1400))),
    ],
)
@pytest.mark.parametrize("slope", [None, 2.0, -1.0])
def test_a_film_is_seen_through_each_function_of_a_window(tmp_path, function, curve, slope):
    """A negative slope turns the grey scale, the window does not turn it again."""
    path = tmp_path / "film.dcm"
    rescale = {} if slope is None else {"RescaleSlope": slope, "RescaleIntercept": 100 if slope > 0 else 2500}
    window = {"WindowCenter": 1001, "WindowWidth": 1400, "VOILUTFunction": function}
    stored = TWELVE_BITS // 2
    write(path, stored, **window, **rescale)
    values = stored.astype(float) if slope is None else slope * stored + rescale["RescaleIntercept"]
    assert np.abs(grey(path) - in_range(curve(values))).max() < 2e-3
    assert not files.read(path, 64).window_ignored


@pytest.mark.parametrize(
    "window",
    [
        {"WindowCenter": 2048, "WindowWidth": 0},
        {"WindowCenter": 2048, "WindowWidth": 0.5},
        {"WindowCenter": 2048, "WindowWidth": 1},
        {"WindowCenter": 2048, "WindowWidth": -4096},
        {"WindowCenter": 2048, "WindowWidth": 0, "VOILUTFunction": "LINEAR_EXACT"},
        {"WindowCenter": 2048, "WindowWidth": 0, "VOILUTFunction": "SIGMOID"},
        {"WindowCenter": 2048, "WindowWidth": -1, "VOILUTFunction": "SIGMOID"},
        FULL | {"VOILUTFunction": "CUBIC"},
        {"WindowCenter": 40, "WindowWidth": 80},
        {"WindowCenter": 40, "WindowWidth": 400},
        {"WindowCenter": 40, "WindowWidth": 80, "VOILUTFunction": "LINEAR_EXACT"},
        {"WindowCenter": 40, "WindowWidth": 80, "VOILUTFunction": "SIGMOID"},
        {"WindowCenter": 30000, "WindowWidth": 1000},
        {"WindowCenter": -500, "WindowWidth": 200},
        {"WindowCenter": [40, 50], "WindowWidth": [80, 350]},
    ],
)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_a_window_that_is_of_no_use_is_ignored(tmp_path, window, photometric):
    path = tmp_path / "film.dcm"
    stored = TWELVE_BITS if photometric == "MONOCHROME2" else 4095 - TWELVE_BITS
    write(path, stored, PhotometricInterpretation=photometric, **window)
    assert np.abs(grey(path) - in_range(TWELVE_BITS.astype(float))).max() < 1e-6
    film = load(path, 64)
    assert film.window_ignored
    assert not film.inverted


@pytest.mark.filterwarnings("ignore")  # of pydicom, about the damage
@pytest.mark.parametrize("value", [b"abcd", b"nan ", b"inf ", b"1,5 ", b"-   "])
def test_a_window_that_is_no_number_is_ignored(tmp_path, value):
    path = tmp_path / "film.dcm"
    write(path, TWELVE_BITS, WindowCenter=1234, WindowWidth=4096)
    path.write_bytes(path.read_bytes().replace(b"1234.0", value + b"  "))
    assert np.abs(grey(path) - in_range(TWELVE_BITS.astype(float))).max() < 1e-6
    assert files.read(path, 64).window_ignored


@pytest.mark.parametrize(
    ("windows", "ignored"),
    [
        ({"WindowCenter": [1001, 2048], "WindowWidth": [1401, 4096]}, False),
        ({"WindowCenter": [40, 1001], "WindowWidth": [80, 1401]}, True),
        ({"WindowCenter": [2048, 2048, 1001], "WindowWidth": [0, -3, 1401]}, True),
        ({"WindowCenter": [1001, 7], "WindowWidth": 1401}, False),
        ({"WindowCenter": 1001, "WindowWidth": [1401, 1]}, False),
        (
            {"WindowCenter": [1001, 2048], "WindowWidth": [1401, 4096], "WindowCenterWidthExplanation": ["A", "B"]},
            False,
        ),
    ],
)
def test_of_several_windows_the_first_that_is_of_use_counts(tmp_path, windows, ignored):
    path = tmp_path / "film.dcm"
    write(path, TWELVE_BITS, **windows)
    assert np.abs(grey(path) - in_range(np.clip(TWELVE_BITS, 300.5, 1700.5))).max() < 1e-3
    assert files.read(path, 64).window_ignored == ignored


@pytest.mark.parametrize("empty", ["WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept", "VOILUTFunction"])
def test_an_empty_element_is_as_good_as_none(tmp_path, empty):
    path = tmp_path / "film.dcm"
    elements = FULL | {"RescaleSlope": 1, "RescaleIntercept": 0, "VOILUTFunction": "LINEAR"} | {empty: None}
    write(path, TWELVE_BITS, **elements)
    assert np.abs(grey(path) - in_range(TWELVE_BITS.astype(float))).max() < 1e-6
    assert not files.read(path, 64).window_ignored


CURVE = np.round(65535 * (np.arange(4096) / 4095) ** 2).astype(int)  # squares


@pytest.mark.parametrize("little_endian", [True, False])
@pytest.mark.parametrize(
    ("bits", "form"),
    [(8, "packed"), *((bits, form) for bits in (8, 10, 12, 16) for form in ("words", "numbers"))],
)
def test_a_table_of_any_depth_and_form_is_read(tmp_path, bits, form, little_endian):
    """Of 4,096 entries; those of 8 bits may be packed two in a word."""
    entries = CURVE >> (16 - bits)
    words = entries.astype("<u2" if little_endian else ">u2").tobytes()
    data = {"words": words, "numbers": entries.tolist(), "packed": entries.astype(np.uint8).tobytes()}[form]
    path = tmp_path / "film.dcm"
    write(path, TWELVE_BITS, little_endian=little_endian, VOILUTSequence=[table([4096, 0, bits], data)])
    assert np.abs(grey(path) - in_range(entries[TWELVE_BITS].astype(float))).max() < 1e-5
    assert not files.read(path, 64).window_ignored


def test_a_table_starts_at_its_first_value_and_holds_beyond_its_ends(tmp_path):
    """After a rescale to below zero, where the first value is negative."""
    path = tmp_path / "film.dcm"
    entries = CURVE[::2]  # 2,048 of them, for -500 to 1547
    stored = TWELVE_BITS.astype(np.int16)
    item = table([2048, -500, 16], entries.tolist())
    write(path, stored, bits=16, RescaleSlope=1, RescaleIntercept=-1000, VOILUTSequence=[item])
    wanted = entries[np.clip(TWELVE_BITS.astype(int) - 500, 0, 2047)]
    assert np.abs(grey(path) - in_range(wanted.astype(float))).max() < 1e-5


def test_a_negative_first_value_may_be_written_without_its_sign(tmp_path):
    """As pydicom reads it from a file with unsigned stored values whose rescale goes below zero."""
    path = tmp_path / "film.dcm"
    item = table([4096, 65536 - 500, 16], CURVE.tolist())
    write(path, TWELVE_BITS, RescaleSlope=1, RescaleIntercept=-1000, VOILUTSequence=[item])
    wanted = CURVE[np.clip(TWELVE_BITS.astype(int) - 500, 0, 4095)]
    assert np.abs(grey(path) - in_range(wanted.astype(float))).max() < 1e-5


WINDOW = {"WindowCenter": 1001, "WindowWidth": 1401}


@pytest.mark.parametrize(
    "elements",
    [
        {"RescaleSlope": 0, "RescaleIntercept": 0},
        {"RescaleSlope": [1, 2], "RescaleIntercept": 0},
        {"ModalityLUTSequence": [table([4096, 0], CURVE.tolist())]},
        {"ModalityLUTSequence": [table([4096, 0, 16], b"")]},
        {"ModalityLUTSequence": [Dataset()]},
    ],
)
def test_a_damaged_rescale_or_modality_table_is_ignored_and_counted(tmp_path, elements):
    path = tmp_path / "film.dcm"
    write(path, TWELVE_BITS, **elements, **WINDOW)
    assert np.abs(grey(path) - in_range(np.clip(TWELVE_BITS, 300.5, 1700.5))).max() < 1e-3
    assert files.read(path, 64).window_ignored


def test_a_rescale_slope_that_is_no_number_is_ignored(tmp_path):
    path = tmp_path / "film.dcm"
    write(path, TWELVE_BITS, RescaleSlope="7.25", RescaleIntercept=0, **WINDOW)
    path.write_bytes(path.read_bytes().replace(b"7.25", b"none"))
    assert np.abs(grey(path) - in_range(np.clip(TWELVE_BITS, 300.5, 1700.5))).max() < 1e-3


@pytest.mark.parametrize(
    ("elements", "slope", "intercept"),
    [({"RescaleIntercept": -100}, 1, -100), ({"RescaleSlope": 0.5, "RescaleIntercept": None}, 0.5, 0)],
)
def test_half_a_rescale_counts_before_a_window(tmp_path, elements, slope, intercept):
    path = tmp_path / "film.dcm"
    write(path, TWELVE_BITS, **elements, **WINDOW)
    values = slope * TWELVE_BITS.astype(float) + intercept
    assert np.abs(grey(path) - in_range(np.clip(values, 300.5, 1700.5))).max() < 1e-3
    assert not files.read(path, 64).window_ignored


@pytest.mark.parametrize("name", ["IM0001", "film.ima", "FILM.DCM"])
def test_a_file_is_known_by_what_it_begins_with(tmp_path, name):
    write(tmp_path / name, TWELVE_BITS)
    assert np.array_equal(files.read(tmp_path / name, 64).grey, TWELVE_BITS.astype(np.float32))


def test_a_compression_that_cannot_be_read_is_one_line(tmp_path):
    path = tmp_path / "film.dcm"
    write(path, TWELVE_BITS)
    dataset = dcmread(path)
    dataset.file_meta.TransferSyntaxUID = JPEGLSLossless
    dataset.PixelData = encapsulate([b"\xff\xd8 compressed"])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)
    with pytest.raises(UserError, match="JPEG-LS") as refused:
        files.read(path, 64)
    assert str(refused.value).startswith(f"{path}: ")
    assert "\n" not in str(refused.value)


def test_a_table_of_65536_entries_says_0(tmp_path):
    path = tmp_path / "film.dcm"
    entries = (np.arange(65536) ** 2 // 65536).astype("<u2")
    stored = (FILM * 65535).astype(np.uint16)
    write(path, stored, bits=16, VOILUTSequence=[table([0, 0, 16], entries.tobytes())])
    assert np.abs(grey(path) - in_range(entries[stored].astype(float))).max() < 1e-5


@pytest.mark.parametrize(
    "item",
    [
        table(None, CURVE.tolist()),
        table([4096, 0, 16], None),
        table([4096, 0], CURVE.tolist()),
        table([4096, 0, 16], b""),
        table([256, 0, 8], (CURVE[::16] >> 8).tolist()),  # for films of 8 bits: it clips nearly all
        table([4096, 60000, 16], CURVE.tolist()),
        table([4096, 0, 16], [7] * 4096),
    ],
    ids=["no descriptor", "no data", "short descriptor", "empty data", "of 8 bits", "far off", "flat"],
)
def test_a_table_that_is_of_no_use_leaves_the_film_to_the_window(tmp_path, item):
    path = tmp_path / "film.dcm"
    write(path, TWELVE_BITS, VOILUTSequence=[item], WindowCenter=1001, WindowWidth=1401)
    assert np.abs(grey(path) - in_range(np.clip(TWELVE_BITS, 300.5, 1700.5))).max() < 1e-3
    assert files.read(path, 64).window_ignored
    write(path, TWELVE_BITS, VOILUTSequence=[item, table([4096, 0, 16], CURVE.tolist())])
    assert np.abs(grey(path) - in_range(CURVE[TWELVE_BITS].astype(float))).max() < 1e-5


def test_a_table_goes_before_a_window_and_a_modality_table_before_both(tmp_path):
    path = tmp_path / "film.dcm"
    halves = table([4096, 0, 12], (np.arange(4096) // 2).tolist())
    modality = {"ModalityLUTSequence": [halves], "VOILUTSequence": [table([2048, 0, 16], CURVE[::2].tolist())]}
    write(path, TWELVE_BITS, **modality, WindowCenter=40, WindowWidth=80)
    assert np.abs(grey(path) - in_range(CURVE[::2][TWELVE_BITS // 2].astype(float))).max() < 1e-5


@pytest.mark.filterwarnings("ignore")  # of pydicom, about small letters
@pytest.mark.parametrize(
    ("orientation", "is_mirrored"),
    [
        (["R", "F"], True),
        (["R ", " F"], True),
        (["r", "f"], True),
        (["L", "F"], False),
        (["R", "H"], False),
        (["L", "H"], False),
        (["F", "R"], False),
        (["F", "L"], False),
        (["A", "F"], False),
        (["P", "F"], False),
        (["RF", "FL"], False),
        (["FR", "LF"], False),
        (["R", ""], False),
        ("RF", False),
        ("R", False),
        ("", False),
        (None, False),
    ],
)
def test_only_rows_to_the_right_and_columns_to_the_feet_are_mirrored_back(tmp_path, orientation, is_mirrored):
    path = tmp_path / "film.dcm"
    write(path, TWELVE_BITS, PatientOrientation=orientation)
    wanted = TWELVE_BITS[:, ::-1] if is_mirrored else TWELVE_BITS
    assert np.array_equal(files.read(path, 64).grey, wanted.astype(np.float32))
    expected = canonical(wanted, 64)
    assert np.array_equal(load(path, 64).picture, expected.picture)
    assert load(path, 64).to_original == pytest.approx(expected.to_original)
