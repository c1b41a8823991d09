"""`biomedjourney prefetch` against a server on this machine that speaks the hub's protocol, with the real client."""

import hashlib
import inspect
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torchxrayvision as xrv
import yaml
from click.testing import CliRunner

from biomedjourney import published as parts_of
from biomedjourney.cli import commands
from biomedjourney.errors import UserErrors
from biomedjourney.pretrain import judges
from tests.helpers import REPOSITORY, fabricated, published
from tests.helpers.hub_server import COMMIT, NEWER, HubServer, serve

MIB = 2**20
PLAIN = "diffusion_pytorch_model.safetensors"
SD, CLIP, PIX2PIX = "sd/v1-5", "microsoft/biomedclip", "timbrooks/pix2pix"
UNNEEDED = ("diffusion_pytorch_model.bin", "diffusion_pytorch_model.fp16.safetensors", "readme.md")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Repositories as the hub has them, with files beside those that are needed."""
    root = tmp_path_factory.mktemp("hub")
    pipeline = root / COMMIT / SD
    published.unet(pipeline / "unet")
    published.vae(pipeline / "vae", files=("bin",))
    (pipeline / "v1-5-pruned.safetensors").write_bytes(b"4 GB")
    for name in UNNEEDED:
        (pipeline / "unet" / name).write_bytes(b"not needed")
    published.biomedclip(root / COMMIT / CLIP)
    (root / COMMIT / CLIP / "LICENSE.md").write_text("MIT")
    published.unet(root / COMMIT / PIX2PIX / "unet", published.INSTRUCT_PIX2PIX, files=("fp16.safetensors",))
    return root


@pytest.fixture
def server(hub: Path) -> Iterator[HubServer]:
    with serve(hub) as server:
        yield server


def settings(folder: Path, revision: str | None = COMMIT, **overlay: Any) -> str:
    """A configuration whose weights lie below ``folder`` and are to be fetched at this revision."""
    base: dict[str, Any] = {
        "text": {"max_tokens": 16},
        "pretrain": {
            "first_stage": {"weights": str(folder / "sd" / "vae")},
            "text_tower": {"weights": str(folder / "biomedclip")},
        },
        "diffusion": {"unet": {"weights": str(folder / "sd" / "unet")}},
        "prefetch": {
            SD: {"revision": revision, "folder": str(folder / "sd")},
            CLIP: {"revision": revision, "folder": str(folder / "biomedclip")},
            PIX2PIX: {"revision": revision, "folder": str(folder / "pix2pix")},  # which no run uses
        },
    }
    return fabricated.config_text(**parts_of.config.merge(base, overlay))


def only_unet(folder: Path, revision: str | None = COMMIT, **overlay: Any) -> str:
    no_others = {"first_stage": {"weights": None}, "text_tower": {"weights": None}}
    return settings(folder, revision, **{"pretrain": no_others, **overlay})


def environment(address: str, home: Path) -> dict[str, str]:
    cleared = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    cleared = {name: value for name, value in cleared.items() if "proxy" not in name.lower()}
    return cleared | {"HF_ENDPOINT": address, "HF_HOME": str(home)}


def prefetch(config: str, address: str, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["biomedjourney", "--log", str(folder / "x.log"), "prefetch", "--config", config, *words],
        env=environment(address, folder / "hf"), cwd=folder, text=True, capture_output=True, timeout=120, check=False,
    )  # fmt: skip


def errors_of(result: subprocess.CompletedProcess[str]) -> list[str]:
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    return [line for line in result.stderr.splitlines() if line.startswith("error: ")]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_files_that_are_needed_are_fetched_recorded_and_pass_the_check(
    hub: Path, server: HubServer, tmp_path: Path
) -> None:
    config = settings(tmp_path)
    result = prefetch(config, server.address, tmp_path)
    assert result.returncode == 0, result.stderr
    fetched = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    tower = {f"biomedclip/{path.name}" for path in (hub / COMMIT / CLIP).iterdir() if path.name != "LICENSE.md"}
    files = {
        "sd/unet/config.json",
        f"sd/unet/{PLAIN}",
        "sd/vae/config.json",
        "sd/vae/diffusion_pytorch_model.bin",
        *tower,
    }
    records = {"sd/unet.fetched.json", "sd/vae.fetched.json", "biomedclip.fetched.json"}
    assert {name for name in fetched if not name.startswith("hf/")} == files | records | {"x.log"}
    for name in files:
        source = name.replace("sd/", f"{SD}/").replace("biomedclip/", f"{CLIP}/")
        assert (tmp_path / name).read_bytes() == (hub / COMMIT / source).read_bytes()
    record = json.loads((tmp_path / "sd" / "unet.fetched.json").read_text())
    unet = tmp_path / "sd" / "unet" / PLAIN
    assert record["files"][PLAIN] == {"size": unet.stat().st_size, "sha256": sha256(unet)}
    assert (record["source"], record["revision"]) == (f"{server.address}/{SD}", COMMIT)
    words = ["pretrain", "check", "--config", config, "--out", str(tmp_path / "checked.json")]
    assert "text_tower" in CliRunner().invoke(commands, words, catch_exceptions=False).output
    listed = prefetch(config, "http://127.0.0.1:9", tmp_path, "--list")
    assert listed.returncode == 0
    line = next(line for line in listed.stdout.splitlines() if line.startswith("diffusion.unet.weights: "))
    assert f"{SD} at {COMMIT}: unet/" in line
    assert f"-> {tmp_path / 'sd' / 'unet'} (" in line
    assert "not known" not in listed.stdout

    server.requests.clear()
    again = prefetch(config, "http://127.0.0.1:9", tmp_path)  # nothing listens there: what is recorded needs no network
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("there, as recorded") == 3
    data = bytearray(unet.read_bytes())
    data[-1] ^= 1
    unet.write_bytes(data)
    [line] = errors_of(prefetch(config, server.address, tmp_path))
    assert (
        f"diffusion.unet.weights: {unet}: its sha256 is {sha256(unet)}, but {record['files'][PLAIN]['sha256']}" in line
    )
    assert "delete it and run biomedjourney prefetch again" in line
    unet.unlink()
    assert prefetch(config, server.address, tmp_path).returncode == 0
    assert sha256(unet) == record["files"][PLAIN]["sha256"]
    assert {name for name, _ in server.requests} == {PLAIN}, "the rest was there"


def test_with_patients_data_a_commit_must_be_named(server: HubServer, tmp_path: Path) -> None:
    [line] = errors_of(prefetch(only_unet(tmp_path, None, phantom=None), server.address, tmp_path))
    assert f"prefetch.{SD}.revision: null, the newest commit" in line
    assert "give the commit, 40 hexadecimal digits" in line
    for branch in ("main", COMMIT[:7]):
        [line] = errors_of(prefetch(only_unet(tmp_path, branch), server.address, tmp_path))
        assert f".revision: {branch!r} does not match" in line
    assert server.requests == []


def test_the_list_needs_no_network_and_fetches_nothing(tmp_path: Path) -> None:
    run = {"runs": {"own": RUN | {"weights": str(tmp_path / "elsewhere" / "unet")}}}
    weights = {kind: str(tmp_path / name) for kind, name in JUDGES.items()}
    organs = {"weights": str(tmp_path / published.ORGANS)}
    config = settings(tmp_path, None, train=run, pretrain={"judges": {"weights": weights}, "segmenter": organs})
    result = prefetch(config, "http://127.0.0.1:9", tmp_path, "--list")
    assert result.returncode == 0, result.stderr
    assert not (tmp_path / "sd").exists()
    lines = dict(line.split(": ", 1) for line in result.stdout.splitlines())
    assert (
        f"{SD} at the newest revision: unet/ (config.json, diffusion_pytorch_model.*)"
        in lines["diffusion.unet.weights"]
    )
    assert "in no folder of prefetch" in lines["train.runs.own.weights"]
    for kind, name in JUDGES.items():
        url = f"https://github.com/mlmed/torchxrayvision/releases/download/v1/{name}"
        assert f"{url} -> {tmp_path / name} (size not known yet)" in lines[f"pretrain.judges.weights.{kind}"]
    url = f"https://github.com/mlmed/torchxrayvision/releases/download/v1/{published.ORGANS}"
    assert f"{url} -> {tmp_path / published.ORGANS} (size" in lines["pretrain.segmenter.weights"]
    assert PIX2PIX not in result.stdout


JUDGES = {"pathology": published.PATHOLOGY, "race": published.RACE, "age": published.AGE}
RUN: dict[str, Any] = {
    "data": "triples", "start": None, "prior": "registered", "writer": "rules", "text": "description",
    "directions": ["forward"], "steps": 2, "batch_size": 2,
}  # fmt: skip


def test_the_addresses_of_the_judges_are_those_of_torchxrayvision() -> None:
    for model in xrv.models.model_urls.values():
        url = model["weights_url"]
        if "densenet121" in url:
            assert judges.url(Path("x") / Path(url).name, "pathology") == url
    readers = {"race": xrv.baseline_models.emory_hiti.RaceModel, "age": xrv.baseline_models.riken.AgeModel}
    readers["organs"] = xrv.baseline_models.chestx_det.PSPNet
    for kind, reader in readers.items():
        file = Path((JUDGES | {"organs": published.ORGANS})[kind])
        assert f'"{judges.url(file, kind)}"' in inspect.getsource(reader).replace("'", '"')


def test_a_run_s_own_weights_come_from_their_repository_in_the_variant_that_is_there(
    server: HubServer, tmp_path: Path
) -> None:
    run = {"runs": {"own": RUN | {"weights": str(tmp_path / "pix2pix" / "unet")}}}
    result = prefetch(only_unet(tmp_path, train=run), server.address, tmp_path)
    assert result.returncode == 0, result.stderr
    names = {path.name for path in (tmp_path / "pix2pix" / "unet").iterdir()}
    assert names == {"config.json", "diffusion_pytorch_model.fp16.safetensors"}


def test_shards_are_fetched_with_their_index(hub: Path, tmp_path: Path) -> None:
    from diffusers import UNet2DConditionModel

    root = tmp_path / "hub"
    model = UNet2DConditionModel.from_pretrained(hub / COMMIT / SD / "unet", variant=None)
    model.save_pretrained(root / COMMIT / SD / "unet", max_shard_size="300KB")
    there = {path.name for path in (root / COMMIT / SD / "unet").iterdir()}
    assert len(there) > 3
    (root / COMMIT / SD / "unet" / "diffusion_pytorch_model.fp16-00001-of-00002.safetensors").write_bytes(b"other")
    with serve(root) as server:
        result = prefetch(only_unet(tmp_path / "w"), server.address, tmp_path)
    assert result.returncode == 0, result.stderr
    assert {path.name for path in (tmp_path / "w" / "sd" / "unet").iterdir()} == there


@pytest.fixture
def large_hub(tmp_path: Path) -> Path:
    """A repository with one file of 24 MiB: the client writes 10 MiB at a time."""
    folder = tmp_path / "hub" / COMMIT / SD / "unet"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / PLAIN).write_bytes(np.random.default_rng(0).bytes(24 * MIB))
    return tmp_path / "hub"


def test_a_connection_that_breaks_off_is_gone_on_with(large_hub: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sd" / "unet"
    folder.mkdir(parents=True)
    shutil.copy(large_hub / COMMIT / SD / "unet" / "config.json", folder)  # so that the large file is cut
    with serve(large_hub) as server:
        server.cut_after = 15 * MIB
        result = prefetch(only_unet(tmp_path), server.address, tmp_path)
        assert result.returncode == 0, result.stderr
        assert server.requests == [(PLAIN, None), (PLAIN, f"bytes={10 * MIB}-")]
    assert sha256(folder / PLAIN) == sha256(large_hub / COMMIT / SD / "unet" / PLAIN)


@pytest.mark.parametrize("kill", [signal.SIGINT, signal.SIGKILL])
def test_a_killed_fetch_goes_on_where_it_ended(kill: signal.Signals, large_hub: Path, tmp_path: Path) -> None:
    folder, config = tmp_path / "sd" / "unet", only_unet(tmp_path)
    with serve(large_hub) as server:
        server.stall_after = 15 * MIB
        words = ["biomedjourney", "--log", str(tmp_path / "x.log"), "prefetch", "--config", config]
        process = subprocess.Popen(words, env=environment(server.address, tmp_path / "hf"), cwd=tmp_path)
        assert server.stalled.wait(90)
        deadline = time.monotonic() + 60
        while sum(path.stat().st_size for path in folder.glob(".*.incomplete")) < 10 * MIB:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(kill)
        assert process.wait(30) == (130 if kill == signal.SIGINT else -kill)
        assert not (folder / PLAIN).exists()
        server.stall_after = None
        server.go_on.set()
        [partial] = folder.glob(".*.incomplete")
        assert partial.stat().st_size == 10 * MIB
        assert prefetch(config, server.address, tmp_path).returncode == 0
        assert server.requests[-1] == (PLAIN, f"bytes={10 * MIB}-")
    assert sha256(folder / PLAIN) == sha256(large_hub / COMMIT / SD / "unet" / PLAIN)
    assert not list(folder.glob(".*"))


def test_contents_that_are_not_those_of_the_hub_are_named_and_not_kept(server: HubServer, tmp_path: Path) -> None:
    server.wrong_bytes = True
    [line] = errors_of(prefetch(only_unet(tmp_path), server.address, tmp_path))
    assert f"{server.address}/{SD}/resolve/{COMMIT}/unet/{PLAIN}: " in line
    assert "its sha256 is " in line
    assert {path.name for path in (tmp_path / "sd" / "unet").iterdir()} == {"config.json"}
    assert not (tmp_path / "sd" / "unet.fetched.json").exists()
    server.wrong_bytes = False
    assert prefetch(only_unet(tmp_path), server.address, tmp_path).returncode == 0


def test_files_that_are_there_already_are_compared_with_the_hub_and_never_replaced(
    hub: Path, server: HubServer, tmp_path: Path
) -> None:
    folder = tmp_path / "sd" / "unet"
    shutil.copytree(hub / COMMIT / SD / "unet", folder)
    assert prefetch(only_unet(tmp_path), server.address, tmp_path).returncode == 0
    assert server.requests == []
    assert json.loads((tmp_path / "sd" / "unet.fetched.json").read_text())["files"].keys() == {"config.json", PLAIN}
    (tmp_path / "sd" / "unet.fetched.json").unlink()
    own = (folder / "config.json").read_text().replace("silu", "gelu")  # of the same size
    (folder / "config.json").write_text(own)
    [line] = errors_of(prefetch(only_unet(tmp_path), server.address, tmp_path))
    assert f"{folder / 'config.json'}: not the published file" in line
    (folder / "config.json").write_text("{}")
    [line] = errors_of(prefetch(only_unet(tmp_path), server.address, tmp_path))
    assert f"{folder / 'config.json'}: 2 bytes, but " in line
    assert (folder / "config.json").read_text() == "{}"


def test_without_a_pinned_revision_the_newest_is_taken_recorded_and_kept(hub: Path, tmp_path: Path) -> None:
    root = shutil.copytree(hub, tmp_path / "hub")
    with serve(root) as server:
        result = prefetch(only_unet(tmp_path, None), server.address, tmp_path)
        assert f"at {COMMIT}; to pin it, set prefetch.{SD}.revision" in result.stdout
        shutil.copytree(root / COMMIT, root / NEWER)
        (root / NEWER / SD / "unet" / "config.json").write_text("{}")
        (tmp_path / "sd" / "unet" / "config.json").unlink()
        assert prefetch(only_unet(tmp_path, None), server.address, tmp_path).returncode == 0
        assert (tmp_path / "sd" / "unet" / "config.json").read_text() != "{}", "the recorded commit's"
        [line] = errors_of(prefetch(only_unet(tmp_path, NEWER), server.address, tmp_path))
        assert f"fetched at revision {COMMIT}, but prefetch says {NEWER} of {SD}" in line
        shutil.rmtree(tmp_path / "sd" / "unet")
        assert prefetch(only_unet(tmp_path, NEWER), server.address, tmp_path).returncode == 0
        assert (tmp_path / "sd" / "unet" / "config.json").read_text() == "{}"


@pytest.mark.parametrize(
    ("overlay", "revision", "said"),
    [
        ({}, "f" * 40, "no such revision: correct it in prefetch; null takes the newest"),
        ({"prefetch": {SD: {"folder": "sd"}, "no/body": {"revision": None, "folder": "F/sd"}}}, COMMIT,
         "no such repository, or not open to you: correct its name in prefetch, or set HF_TOKEN"),
        ({"diffusion": {"unet": {"weights": "F/sd/unets"}}}, COMMIT,
         "in unets/: no diffusion_pytorch_model.safetensors, so no UNet: check the repository and its folder in"),
        ({"diffusion": {"unet": {"weights": "F/sd"}}}, COMMIT,
         "in its top folder: no diffusion_pytorch_model.safetensors, so no UNet"),
        ({"diffusion": {"unet": {"weights": "F/other/unet"}}}, COMMIT,
         "other/unet: missing, and in no folder of prefetch: put a copy there, or add its repository to prefetch"),
        ({"pretrain": {"text_tower": {"weights": "F/sd/vae"}}, "diffusion": {"unet": {"weights": None}}}, COMMIT,
         "in vae/: no open_clip_config.json, so no text tower"),
    ],
)  # fmt: skip
def test_what_the_hub_does_not_have_is_one_line(
    overlay: dict[str, Any], revision: str, said: str, server: HubServer, tmp_path: Path
) -> None:
    overlay = json.loads(json.dumps(overlay).replace("F/", f"{tmp_path}/"))
    base = yaml.safe_load(only_unet(tmp_path, revision))
    config = yaml.safe_dump(parts_of.config.merge(base, overlay), default_flow_style=True, width=10**9)
    [line] = errors_of(prefetch(config, server.address, tmp_path))
    assert said in line
    assert not list(tmp_path.rglob("*.fetched.json"))


def test_no_network_and_a_gated_repository_are_one_line_for_each_part(server: HubServer, tmp_path: Path) -> None:
    server.gated.add(CLIP)
    [line] = errors_of(prefetch(settings(tmp_path), server.address, tmp_path))
    assert f"pretrain.text_tower.weights: {server.address}/{CLIP}: its terms must be accepted on that page" in line
    assert (tmp_path / "sd" / "unet.fetched.json").exists(), "the other parts are fetched"
    shutil.rmtree(tmp_path / "sd")
    lines = errors_of(prefetch(settings(tmp_path), "http://127.0.0.1:9", tmp_path))
    assert [line.split(": ")[1] for line in lines] == [
        "pretrain.first_stage.weights", "pretrain.text_tower.weights", "diffusion.unet.weights",
    ]  # fmt: skip
    assert all("cannot be fetched (ConnectError: " in line and "with internet access" in line for line in lines)


def test_the_judges_come_from_the_release_and_are_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    release = tmp_path / "hub" / "releases" / "download" / "v1"
    release.mkdir(parents=True)
    for name in JUDGES.values():
        (release / name).write_bytes(name.encode() * 1000)
    folder = tmp_path / "w"
    folder.mkdir()
    weights = {kind: str(folder / name) for kind, name in JUDGES.items()}
    words = ["prefetch", "--config", fabricated.config_text(pretrain={"judges": {"weights": weights}})]
    race, age = (release / name for name in (published.RACE, published.AGE))
    (folder / f".{race.name}.release.incomplete").write_bytes(race.read_bytes()[:300])
    (folder / f".{age.name}.release.incomplete").write_bytes(age.read_bytes())  # whole, but not yet renamed
    with serve(tmp_path / "hub") as server:
        monkeypatch.setattr(judges, "DOWNLOADS", f"{server.address}/releases")
        assert CliRunner().invoke(commands, words, catch_exceptions=False).exit_code == 0
        assert (race.name, "bytes=300-") in server.requests
        for name in JUDGES.values():
            assert (folder / name).read_bytes() == (release / name).read_bytes()
            record = json.loads((folder / f"{name}.fetched.json").read_text())
            assert record["files"] == {name: {"size": len(name) * 1000, "sha256": sha256(release / name)}}
        assert not list(folder.glob(".*"))
        (folder / race.name).unlink()
        (folder / f"{race.name}.fetched.json").unlink()
        race.unlink()
        with pytest.raises(
            UserErrors, match=rf"pretrain.judges.weights.race: {server.address}\S+: cannot be fetched .*404"
        ):
            CliRunner().invoke(commands, words, catch_exceptions=False)


def test_a_configuration_without_weights_is_told_what_to_add() -> None:
    result = CliRunner().invoke(commands, ["prefetch", "--config", fabricated.config_text(), "--list"])
    assert "the configuration names no weights; add --config workflow/configs/paper.yaml" in str(result.exception)


def test_the_configuration_of_the_paper_says_where_each_part_comes_from() -> None:
    words = ["prefetch", "--list"]
    for name in ("config.yaml", "workflow/configs/paper.yaml"):
        words += ["--config", str(REPOSITORY / name)]
    lines = CliRunner().invoke(commands, words, catch_exceptions=False).output.splitlines()
    assert len(lines) == 11, "a file that both sets of judges have is fetched once"
    assert any(line.startswith("pretrain.second_judges.weights.pathology: https://github.com/mlmed/") for line in lines)
    assert not [line for line in lines if "in no folder of prefetch" in line or "the newest revision" in line]


def test_of_a_whole_pipeline_the_files_that_are_loaded_are_fetched(tmp_path: Path) -> None:
    """Also where one of its parts was fetched before, as the UNet that training starts from."""
    source = published.pipeline(tmp_path / "hub" / COMMIT / PIX2PIX, prior=True)
    own = {"pipeline": str(tmp_path / "pix2pix"), "prior": "registered", "text": "description"}
    run = {"runs": {"own": RUN | {"weights": str(tmp_path / "pix2pix" / "unet")}}}
    overlay = {"systems": {"instruct-pix2pix": own}, "train": run, "diffusion": {"unet": {"weights": None}}}
    with serve(tmp_path / "hub") as server:
        result = prefetch(only_unet(tmp_path, **overlay), server.address, tmp_path)
        assert result.returncode == 0, result.stderr
        names = [name for name, _ in server.requests]
    folder = tmp_path / "pix2pix"
    fetched = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    record = json.loads((tmp_path / "pix2pix.fetched.json").read_text())
    assert fetched == {*record["files"], "unet.fetched.json"}
    assert len(fetched) == 13
    assert not any("safety_checker" in name or name.endswith(".ckpt") for name in fetched)
    assert names.count(PLAIN) == 2, "the UNet's and the first stage's, each once"
    for name in record["files"]:
        assert (folder / name).read_bytes() == (source / name).read_bytes()
    (source / "tokenizer" / "merges.txt").unlink()
    shutil.rmtree(folder)
    with serve(tmp_path / "hub") as server:
        [line] = errors_of(prefetch(only_unet(tmp_path, **overlay), server.address, tmp_path))
    assert "systems.instruct-pix2pix.pipeline: " in line
    assert "in its top folder: a pipeline without tokenizer/vocab.json" in line
