"""Random weights in the formats in which the published parts come: narrow networks, files as their authors wrote them.

Stable Diffusion v1.5 and InstructPix2Pix are files of old versions of diffusers, BiomedCLIP is a snapshot of its hub
folder, and torchxrayvision's classifiers are a whole pickled model, a state dict and TorchScript; its segmenter is
another state dict.
"""

import json
import string
import tempfile
from pathlib import Path
from typing import Any

import torch

TEXT_WIDTH = 24
WORDS = ["no", "change", "new", "right", "left", "pleural", "effusion", "heart", "size", "normal", "film", "study"]
PATHOLOGY = "chex-densenet121-d121-tw-lr001-rot45-tr15-sc15-seed0-best.pt"
SECOND_PATHOLOGY = "mimic_ch-densenet121-d121-tw-lr001-rot45-tr15-sc15-seed0-best.pt"
RACE = "resnet_race_detection_val-loss_0.157_mimic_public.pt"
AGE = "baseline_models_riken_xray_age_every_model_age_senet154_v2_tl_26_ft_7_fp32.pt"
ORGANS = "pspnet_chestxray_best_model_4.pth"
UNET = {
    "_class_name": "UNet2DConditionModel", "_diffusers_version": "0.6.0", "act_fn": "silu", "attention_head_dim": 8,
    "block_out_channels": [32, 64], "center_input_sample": False, "cross_attention_dim": 32,
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"], "downsample_padding": 1, "flip_sin_to_cos": True,
    "freq_shift": 0, "in_channels": 4, "layers_per_block": 1, "mid_block_scale_factor": 1, "norm_eps": 1e-05,
    "norm_num_groups": 32, "out_channels": 4, "sample_size": 64, "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
}  # fmt: skip
INSTRUCT_PIX2PIX = UNET | {
    "_diffusers_version": "0.13.0.dev0", "in_channels": 8, "class_embed_type": None, "dual_cross_attention": False,
    "mid_block_type": "UNetMidBlock2DCrossAttn", "num_class_embeds": None, "only_cross_attention": False,
    "resnet_time_scale_shift": "default", "upcast_attention": False, "use_linear_projection": False,
}  # fmt: skip
# The levels of Stable Diffusion v1.5; its channels are 320, 640, 1280, 1280, with two layers a level.
FOUR_LEVELS = UNET | {
    "block_out_channels": [32, 32, 32, 32], "cross_attention_dim": 768,
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
}  # fmt: skip
TRUE_SIZE = FOUR_LEVELS | {"block_out_channels": [320, 640, 1280, 1280], "layers_per_block": 2}
VAE = {
    "_class_name": "AutoencoderKL", "_diffusers_version": "0.6.0", "act_fn": "silu", "block_out_channels": [8, 8, 8],
    "down_block_types": ["DownEncoderBlock2D"] * 3, "in_channels": 3, "latent_channels": 4, "layers_per_block": 1,
    "norm_num_groups": 4, "out_channels": 3, "sample_size": 512, "up_block_types": ["UpDecoderBlock2D"] * 3,
}  # fmt: skip
TRUE_SIZE_VAE = VAE | {
    "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2, "norm_num_groups": 32,
    "down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4,
}  # fmt: skip
OLD_NAMES = {"to_q.": "query.", "to_k.": "key.", "to_v.": "value.", "to_out.0.": "proj_attn."}
BERT = {"intermediate_size": 48, "num_hidden_layers": 2, "max_position_embeddings": 40, "vocab_size": 200}
CLIP = {
    "model_cfg": {
        "embed_dim": 16,
        "vision_cfg": {"layers": 1, "width": 16, "head_width": 16, "patch_size": 16, "image_size": 32},
        "text_cfg": {
            "hf_model_name": "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract",
            "hf_tokenizer_name": "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract",
            "hf_proj_type": "mlp",
            "hf_pooler_type": "cls_last_hidden_state_pooler",
        },
    },
    "preprocess_cfg": {"mean": [0.481, 0.457, 0.408], "std": [0.268, 0.261, 0.275]},
}


def _write(folder: Path, config: dict[str, Any], weights: dict[str, torch.Tensor], files: tuple[str, ...]) -> Path:
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    for name in files:
        values = {key: (value.half() if "fp16" in name else value).contiguous() for key, value in weights.items()}
        if name.endswith("safetensors"):
            save_file(values, folder / f"diffusion_pytorch_model.{name}", metadata={"format": "pt"})
        else:
            torch.save(values, folder / f"diffusion_pytorch_model.{name}")
    return folder


def unet(folder: Path, config: dict[str, Any] = UNET, files: tuple[str, ...] = ("safetensors",)) -> Path:
    """A `unet` folder. ``config``: as UNET or FOUR_LEVELS; ``files``: endings, as "bin" and "fp16.safetensors"."""
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    return _write(folder, config, UNet2DConditionModel.from_config(config).state_dict(), files)


def vae_of_levels(levels: int) -> dict[str, Any]:
    """The configuration of a VAE that reduces a picture by 2 ** (levels - 1)."""
    return VAE | {key: value[:1] * levels for key, value in VAE.items() if isinstance(value, list)}


def vae(folder: Path, files: tuple[str, ...] = ("safetensors", "bin"), config: dict[str, Any] = VAE) -> Path:
    """A `vae` folder with the old names of the attention's weights; that of VAE reduces a picture four times."""
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    weights = {}
    for name, value in AutoencoderKL.from_config(config).state_dict().items():
        for new, old in OLD_NAMES.items():
            name = name.replace(new, old) if "mid_block.attentions.0." in name else name
        weights[name] = value
    return _write(folder, config, weights, files)


def biomedclip(folder: Path, width: int = TEXT_WIDTH, heads: int = 12, tokens: int = 32) -> Path:
    """A snapshot of BiomedCLIP's hub folder: a pickle with position_ids, the tokenizer, no config.json of BERT.

    The published width is 768, and a text has at most 256 ``tokens``.
    """
    import open_clip
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertConfig

    folder.mkdir(parents=True, exist_ok=True)
    text = CLIP["model_cfg"]["text_cfg"] | {"context_length": tokens}
    config = json.dumps(CLIP | {"model_cfg": CLIP["model_cfg"] | {"text_cfg": text}}, indent=4)
    (folder / "open_clip_config.json").write_text(config)
    letters = [*string.ascii_lowercase, *string.digits]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *".,", *letters, *(f"##{letter}" for letter in letters)]
    pieces += WORDS
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n")
    vocabulary = {piece: place for place, piece in enumerate(pieces)}
    BertWordPieceTokenizer(vocab=vocabulary, lowercase=True).save(str(folder / "tokenizer.json"))
    special = {"cls_token": "[CLS]", "mask_token": "[MASK]", "pad_token": "[PAD]", "sep_token": "[SEP]"}
    special |= {"unk_token": "[UNK]"}
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    tokenizer = special | {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "strip_accents": None}
    tokenizer |= {"model_max_length": 1000000000000000019884624838656, "tokenize_chinese_chars": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as temporary:
        positions = tokens + 8
        sizes = BERT | {"hidden_size": width, "num_attention_heads": heads, "max_position_embeddings": positions}
        BertConfig(**sizes).save_pretrained(temporary)
        (Path(temporary) / "open_clip_config.json").write_text(config)
        text |= {"hf_model_name": temporary, "hf_model_pretrained": False}
        model = open_clip.create_model(f"local-dir:{temporary}", load_weights=False, text_cfg=text)
    weights = dict(model.state_dict())
    weights["text.transformer.embeddings.position_ids"] = torch.arange(positions)[None]
    torch.save(weights, folder / "open_clip_pytorch_model.bin")
    return folder


class _Age(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 50 + x.mean(dim=(1, 2, 3)).unsqueeze(1)


def torchxrayvision(folder: Path) -> dict[str, Path]:
    """The three classifiers' files, by kind."""
    import torchvision
    import torchxrayvision as xrv
    from torch import nn

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    torch.save(xrv.models.DenseNet(num_classes=18), folder / PATHOLOGY)
    race = torchvision.models.resnet34(weights=None)
    race.fc = nn.Sequential(nn.Linear(512, 3), nn.LogSoftmax(dim=1))
    torch.save(nn.DataParallel(race).state_dict(), folder / RACE)
    torch.jit.script(_Age()).save(folder / AGE)
    return {"pathology": folder / PATHOLOGY, "race": folder / RACE, "age": folder / AGE}


def segmenter(folder: Path, network: torch.nn.Module | None = None) -> Path:
    """The segmenter's file, a state dict behind DataParallel; of the published network it has 270 MB."""
    from torchxrayvision.baseline_models.chestx_det import PSPNet
    from torchxrayvision.baseline_models.chestx_det.ptsemseg.pspnet import pspnet

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    network = pspnet(len(PSPNet.targets)) if network is None else network
    torch.save({f"module.{name}": value for name, value in network.state_dict().items()}, folder / ORGANS)
    return folder / ORGANS


# Stable Diffusion's vocabulary of word pieces lies in open_clip too, whose own tokenizer the tests compare with.
CLIP_PIECES = 49408
# v1.5's pipeline has PNDM, InstructPix2Pix's an ancestral sampler, which adds noise at every step.
SCHEDULER = {
    "_diffusers_version": "0.6.0", "beta_end": 0.012, "beta_schedule": "scaled_linear", "beta_start": 0.00085,
    "clip_sample": False, "num_train_timesteps": 1000, "set_alpha_to_one": False, "skip_prk_steps": True,
    "steps_offset": 1, "trained_betas": None,
}  # fmt: skip
STABLE_DIFFUSION, INSTRUCT = "StableDiffusionPipeline", "StableDiffusionInstructPix2PixPipeline"


def clip(folder: Path, width: int = 32, tokens: int = 77, files: tuple[str, ...] = ("model.safetensors",)) -> Path:
    """The folders `text_encoder` and `tokenizer` as CLIP's are published, with the real word pieces.

    The weights have the names of old versions of transformers, and position_ids beside them.
    """
    import gzip

    import open_clip
    from open_clip.tokenizer import bytes_to_unicode
    from safetensors.torch import save_file
    from transformers import CLIPTextConfig, CLIPTextModel

    encoder, tokenizer = folder / "text_encoder", folder / "tokenizer"
    encoder.mkdir(parents=True)
    tokenizer.mkdir()
    torch.manual_seed(0)
    sizes = {"hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPTextConfig(
        vocab_size=CLIP_PIECES, max_position_embeddings=tokens, hidden_act="quick_gelu", initializer_factor=20.0,
        bos_token_id=0, eos_token_id=2, pad_token_id=1, **sizes,
    )  # fmt: skip
    weights = {f"text_model.{name}": value.contiguous() for name, value in CLIPTextModel(config).state_dict().items()}
    weights["text_model.embeddings.position_ids"] = torch.arange(tokens)[None]
    for name in files:
        if name.endswith("safetensors"):
            save_file(weights, encoder / name, metadata={"format": "pt"})
        else:
            torch.save(weights, encoder / name)
    described = {key: value for key, value in config.to_dict().items() if key not in ("dtype", "transformers_version")}
    described |= {"architectures": ["CLIPTextModel"], "torch_dtype": "float32", "transformers_version": "4.22.0.dev0"}
    (encoder / "config.json").write_text(json.dumps(described, indent=2))

    pieces = Path(open_clip.__file__).parent / "bpe_simple_vocab_16e6.txt.gz"
    with gzip.open(pieces, "rt", encoding="utf-8") as stream:
        merges = stream.read().split("\n")[1 : CLIP_PIECES - 2 * 256 - 2 + 1]
    letters = list(bytes_to_unicode().values())
    words = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(merge.split()) for merge in merges)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    (tokenizer / "vocab.json").write_text(json.dumps({word: place for place, word in enumerate(words)}))
    (tokenizer / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    start, end = (
        {"content": f"<|{word}oftext|>", "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
        for word in ("start", "end")
    )
    special = {"bos_token": start, "eos_token": end, "pad_token": "<|endoftext|>", "unk_token": end}
    (tokenizer / "special_tokens_map.json").write_text(json.dumps(special))
    added = {name: {"__type": "AddedToken", **value} for name, value in special.items() if isinstance(value, dict)}
    described = {"add_prefix_space": False, "do_lower_case": True, "errors": "replace", "model_max_length": tokens}
    described |= {"pad_token": "<|endoftext|>", "tokenizer_class": "CLIPTokenizer", **added}
    (tokenizer / "tokenizer_config.json").write_text(json.dumps(described))
    return folder


def pipeline(
    folder: Path, prior: bool = False, tokens: int = 77, scheduler: str | None = None, **unet_config: Any
) -> Path:
    """A whole folder of Stable Diffusion or, with a prior, of InstructPix2Pix; pictures of 64 pixels.

    RoentGen's is a Stable Diffusion's. Beside the files that are loaded lies what the hub's folders have beside them.
    """
    config = (
        (INSTRUCT_PIX2PIX if prior else UNET) | {"sample_size": 16, "_diffusers_version": "0.13.0.dev0"} | unet_config
    )
    unet(folder / "unet", config)
    vae(folder / "vae", files=("safetensors",))
    clip(folder, tokens=tokens)
    scheduler = scheduler or ("EulerAncestralDiscreteScheduler" if prior else "PNDMScheduler")
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps({"_class_name": scheduler, **SCHEDULER}))
    index = {
        "_class_name": INSTRUCT if prior else STABLE_DIFFUSION,
        "_diffusers_version": "0.6.0",
        "feature_extractor": ["transformers", "CLIPImageProcessor"],
        "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
        "scheduler": ["diffusers", scheduler],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2))
    (folder / "safety_checker").mkdir()
    (folder / "safety_checker" / "model.safetensors").write_bytes(b"not loaded")
    (folder / "v1-5-pruned.ckpt").write_bytes(b"not loaded")
    return folder
