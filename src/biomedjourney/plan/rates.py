"""What one unit of work takes, and where that was measured. No other module of the plan holds a rate.

Seconds of the processor are those of one core with nothing else to do. docs/full-size.md says more of each figure.
"""

from dataclasses import dataclass

DEFAULT_RUN = "the default run on two idle cores (bench/RESULTS.md)"
TABLES_RUN = "`make tables` on two busy cores (bench/RESULTS.md)"
FULL_SIZE = "drawn tables of MIMIC-CXR's size (bench/RESULTS.md)"
REAL_FILMS = "139 real films of 2544 x 3056 pixels (bench/RESULTS.md)"
TRUE_SIZE = "Stable Diffusion v1.5's network on two cores (make test-full-size)"
COUNTED = "torch's counter of operations (tests/plan)"
ASSUMED = "assumed"


@dataclass(frozen=True)
class Rate:
    """``value`` in ``unit``. ``source``: where it was measured or counted, or that it is assumed."""

    value: float
    unit: str
    what: str
    source: str

    @property
    def text(self) -> str:
        """The value with its unit, small times in milliseconds."""
        if self.unit[:1] == "s" and self.value < 1:
            return f"{1000 * self.value:.3g} m{self.unit}"
        return f"{self.value:,.0f} {self.unit}" if self.value >= 1000 else f"{self.value:.3g} {self.unit}"


CPU = "s of one core"
RATES = {
    # every job
    "start": Rate(1, CPU, "start of a job", DEFAULT_RUN),
    "import": Rate(6, CPU, "start of a job that loads networks", DEFAULT_RUN),
    "published start": Rate(60, "s", "start of a job that loads networks of published size", ASSUMED),
    # tables and films
    "drawn film": Rate(0.0185, CPU, "a film of 256 pixels drawn by phantom", DEFAULT_RUN),
    "report": Rate(0.0002, CPU, "a report read by ingest", FULL_SIZE),
    "local file": Rate(0.0003, "s", "a file of the phantom looked at by ingest", DEFAULT_RUN),
    "opened file": Rate(0.01, "s", "a file opened on a network file system", ASSUMED),
    "reading": Rate(100e6, "bytes/s", "reading from a network file system", ASSUMED),
    "film's file": Rate(570e9 / 377_110, "bytes", "a film of MIMIC-CXR-JPG", "its published size"),
    "study": Rate(0.00005, CPU, "a study looked at by pair", FULL_SIZE),
    "gathered row": Rate(0.00005, CPU, "a row that gather joins or copies", DEFAULT_RUN),
    "phantom's film": Rate(0.0055, CPU, "a film of 256 pixels preprocessed", DEFAULT_RUN),
    "film": Rate(0.024, CPU, "a film preprocessed", REAL_FILMS),
    "phantom's pair": Rate(0.045, CPU, "a pair of the phantom registered", DEFAULT_RUN),
    "pair": Rate(0.17, CPU, "a pair of films registered", REAL_FILMS),
    # descriptions
    "description": Rate(0.005, CPU, "a description by the rules", TABLES_RUN),
    "answer": Rate(
        0.0054, CPU, "a description by a language model, without waiting", "a local server (bench/RESULTS.md)"
    ),
    "tokens of a pair": Rate(1456, "tokens", "read for a pair of reports", FULL_SIZE),
    "tokens of a phantom's pair": Rate(1299, "tokens", "read for a pair of the phantom's reports", "bench/RESULTS.md"),
    "tokens backward": Rate(279, "tokens", "read more for a pair that is read backward", FULL_SIZE),
    # networks in miniature, at 64 pixels
    "first stage": Rate(0.0016, CPU, "a picture that the first stage is trained on", DEFAULT_RUN),
    "text tower": Rate(0.0028, CPU, "a text that the text tower is trained on", DEFAULT_RUN),
    "judges": Rate(0.0068, CPU, "a picture that the judges are trained on", DEFAULT_RUN),
    "segmenter": Rate(0.004, CPU, "a picture that the segmenter is trained on", TABLES_RUN),
    "picture encoded": Rate(0.001, CPU, "a picture encoded", DEFAULT_RUN),
    "text encoded": Rate(0.0015, CPU, "a text encoded", DEFAULT_RUN),
    "example": Rate(0.025, CPU, "an example that the diffusion model is trained on", DEFAULT_RUN),
    "evaluation": Rate(
        0.008, CPU, "an evaluation of the UNet in drawing", "the comparison of samplers (bench/RESULTS.md)"
    ),
    "scored": Rate(0.01, CPU, "a picture scored by the judges and the segmenter", TABLES_RUN),
    "real film scored": Rate(0.003, CPU, "a real film scored by the pathology judge", TABLES_RUN),
    # networks of published size
    "UNet": Rate(0.189, "TFLOP", "the UNet, a picture of 256 pixels", COUNTED),
    "encoder": Rate(0.273, "TFLOP", "the VAE's encoder, a picture of 256 pixels", COUNTED),
    "decoder": Rate(0.622, "TFLOP", "the VAE's decoder, a picture of 256 pixels", COUNTED),
    "published text tower": Rate(0.046, "TFLOP", "the text tower, a text of 256 tokens", COUNTED),
    "published segmenter": Rate(0.543, "TFLOP", "the segmenter, a picture", COUNTED),
    "pathology judge": Rate(0.0055, "TFLOP", "the pathology judge, a picture", COUNTED),
    "large UNet": Rate(0.803, "TFLOP", "the UNet, a picture of 512 pixels", COUNTED),
    "large encoder": Rate(1.117, "TFLOP", "the VAE's encoder, a picture of 512 pixels", COUNTED),
    "large decoder": Rate(2.515, "TFLOP", "the VAE's decoder, a picture of 512 pixels", COUNTED),
    "GPU": Rate(20, "TFLOP/s", "a GPU in float32: an eighth of an A100's peak with TF32", ASSUMED),
    "core": Rate(0.05, "TFLOP/s", "a core in float32", TRUE_SIZE),
    "trained on a GPU": Rate(
        90, "examples/s", "training at 256 pixels", "others: Stable Diffusion on one A100, MosaicML"
    ),
    "several GPUs": Rate(0.8, "of one GPU's speed", "each of several GPUs that train one run", ASSUMED),
    "trained on a core": Rate(12.6, CPU, "an example that Stable Diffusion's UNet is trained on", TRUE_SIZE),
    "looked at": Rate(20, "pictures/s", "scoring by published judges", ASSUMED),
    "prepared": Rate(200, "pictures/s", "reading and preparing pictures for a network", ASSUMED),
    # the summary
    "summary": Rate(7e-6, CPU, "a picture and replicate of the summary", TABLES_RUN),
}
