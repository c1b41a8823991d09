"""The model card of an exported model: README.md with the front matter that model hubs read."""

import re
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from biomedjourney import __version__

OPENRAIL, OPENRAIL_2 = "creativeml-openrail-m", "openrail++"  # as the hub names the licences
TERMS = {
    OPENRAIL: "CreativeML OpenRAIL-M: its restrictions of use pass on to this model",
    OPENRAIL_2: "CreativeML Open RAIL++-M: its restrictions of use pass on to this model",
    "mit": "MIT",
    None: "not known from the folder's name: read it at the source before you share this model",
}
DATA_USE_AGREEMENT: dict[str, Any] = {
    "license": "other",
    "license_name": "physionet-credentialed-health-data-use-agreement-1.5.0",
    "license_link": "https://physionet.org/content/mimic-cxr-jpg/view-dua/2.1.0/",
}


@dataclass(frozen=True)
class Published:
    """Weights that others have published, known by the name of a folder: where they are, and under which licence."""

    pattern: str
    title: str
    licence: str | None
    repository: str | None = None
    from_mimic: bool = False


KNOWN = (
    Published("roentgen", "RoentGen (Chambon et al., 2022), from Stable Diffusion and MIMIC-CXR", OPENRAIL, None, True),
    Published(
        "instruct[-_]?pix2pix",
        "InstructPix2Pix (Brooks et al., 2023; its own part is MIT), from Stable Diffusion v1.5",
        OPENRAIL,
        "timbrooks/instruct-pix2pix",
    ),
    Published(
        "(stable[-_]?diffusion|sd)[-_]?v?1[-_.]?5",
        "Stable Diffusion v1.5 (Rombach et al., 2022)",
        OPENRAIL,
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
    ),
    Published("(stable[-_]?diffusion|sd)[-_]?v?2", "Stable Diffusion 2 (Rombach et al., 2022)", OPENRAIL_2),
    Published("stable[-_]?diffusion|sd[-_]?v?1", "Stable Diffusion (Rombach et al., 2022)", OPENRAIL),
    Published(
        "biomedclip",
        "BiomedCLIP (Zhang et al., 2023)",
        "mit",
        "microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224",
    ),
)
UNKNOWN = Published("", "other weights", None)


def render(description: dict[str, Any], weights: dict[str, str | None], **facts: Any) -> str:
    """The card. ``description``: the contents of model.json; ``weights``: the folder that each part started from.

    ``facts``: the latents' shape and scaling factor, and whether the folder brings code of its own.
    """
    import jinja2
    from huggingface_hub import ModelCardData

    bases = {part: (path, published(path)) for part, path in weights.items() if path is not None}
    runs = lineage(description["trained"])
    phantom = runs[-1]["settings"].get("phantom")
    known = [base for _, base in bases.values()]
    credentialed = phantom is None or any(base.from_mimic for base in known)
    front_matter = ModelCardData(
        **(DATA_USE_AGREEMENT if credentialed else licence(known)),
        library_name="diffusers",
        pipeline_tag="image-to-image",
        base_model=list(dict.fromkeys(base.repository for base in known if base.repository)) or None,
        tags=["biomedjourney", "chest-x-ray", "counterfactual", "not-for-clinical-use"] + ["phantom"] * bool(phantom),
    )
    scales = stock_scales(description["text_scale"], description["image_scale"], description["prior"] != "none")
    environment = jinja2.Environment(  # noqa: S701, a card is Markdown
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined
    )
    template = environment.from_string((Path(__file__).parent / "card.md").read_text(encoding="utf-8"))
    prediction = runs[-1]["settings"]["diffusion"]["schedule"]["prediction_type"]
    text = template.render(
        description,
        **facts,
        version=__version__,
        runs=runs,
        phantom=phantom,
        recorded="phantom" in runs[-1]["settings"],  # earlier versions did not
        credentialed=credentialed,
        bases=[
            {
                "part": part,
                "path": "/".join(PurePath(path).parts[-2:]),
                "title": base.title,
                "terms": TERMS[base.licence],
            }
            for part, (path, base) in bases.items()
        ],
        knows_prior=description["prior"] != "none",
        stock_is_same=scales is not None,
        stock_text_scale=(scales or (max(description["text_scale"], 1.0), 1.0))[0],
        stock_image_scale=(scales or (1.0, max(description["image_scale"], 1.0)))[1],
        prediction={"epsilon": "the noise", "v_prediction": "the velocity"}[prediction],
    )
    return f"---\n{front_matter.to_yaml()}\n---\n\n{text}"


def lineage(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """The facts of a run after those of the runs that it started from, the first one first."""
    return [*lineage(facts["start"]), facts] if facts.get("start") else [facts]


def published(path: str) -> Published:
    """What the weights at a path are, from the names of its folders, the innermost first; `UNKNOWN` if none tells."""
    for name in reversed(PurePath(path).parts):
        for base in KNOWN:
            if re.search(base.pattern, name, re.IGNORECASE):
                return base
    return UNKNOWN


def licence(bases: list[Published]) -> dict[str, Any]:
    """The front matter's licence of a model that has seen no real patient: the strictest one of its parts."""
    licences = [base.licence for base in bases]
    if None in licences:
        return {"license": "other", "license_name": "see-the-table-of-weights", "license_link": "README.md"}
    return {"license": next((name for name in (OPENRAIL, OPENRAIL_2) if name in licences), "apache-2.0")}


def stock_scales(text_scale: float, image_scale: float, knows_prior: bool) -> tuple[float, float] | None:
    """The scales with which diffusers' InstructPix2Pix pipeline draws our picture; None where it cannot.

    It guides where the text's scale is more than 1 and the prior's at least 1, and otherwise takes the prediction with
    prior and text as it is. That is ours at 1 and 1. A scale of the text hardly above 1 keeps the prior's in use.
    """
    if not knows_prior:
        return (text_scale, 1.0) if text_scale >= 1 else None
    if text_scale < 1 or image_scale < 1:
        return None
    return (text_scale if text_scale > 1 or image_scale == 1 else 1.000001), image_scale
