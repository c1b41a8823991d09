"""Reports go only where they may go, and neither their text nor a key is printed."""

import logging
import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from biomedjourney.errors import UserError
from biomedjourney.rewrite import endpoint, model_writer
from biomedjourney.rewrite.study import Study
from tests.helpers.model_server import INVENTED_FRACTURE, Reply, answer, running, writer_settings

SECRET = "sk-secret-key-that-nobody-may-see"
TEXT = "Mutterings of a zebra near the carina"


def names(monkeypatch: pytest.MonkeyPatch, **addresses: str | list[str]) -> None:
    """Gives host names their addresses, without a name server."""

    def look_up(name: str, port: Any, *rest: Any, **more: Any) -> list[Any]:
        if name not in addresses:
            raise socket.gaierror("unknown")
        of_the_name = addresses[name]
        every_address = [of_the_name] if isinstance(of_the_name, str) else of_the_name
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in every_address]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


@pytest.mark.parametrize(
    ("address", "private"),
    [
        ("127.0.0.1", True), ("127.9.9.9", True), ("10.1.2.3", True), ("172.16.0.1", True), ("172.31.255.255", True),
        ("192.168.3.4", True), ("::1", True), ("fd12::1", True), ("::ffff:10.0.0.1", True),
        ("172.32.0.1", False), ("11.0.0.1", False), ("8.8.8.8", False), ("192.0.2.7", False), ("0.0.0.0", False),
        ("169.254.169.254", False), ("100.64.0.1", False), ("2001:db8::1", False), ("::ffff:8.8.8.8", False),
        (["10.0.0.1", "8.8.8.8"], False),
    ],
)  # fmt: skip
def test_which_addresses_are_private(address: str | list[str], private: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    names(monkeypatch, node=address)
    assert endpoint.is_private("node") is private


CONFIRMED = {"name": "A. Person", "date": "2026-11-24"}


@pytest.mark.parametrize("url", [None, "https://api.openai.com/v1", "https://x.openai.azure.com/openai/v1/"])
def test_real_reports_go_to_a_public_endpoint_only_after_a_confirmation(
    url: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names(monkeypatch, **{"api.openai.com": "8.8.8.8", "x.openai.azure.com": "9.9.9.9"})
    public: dict[str, Any] = {"base_url": url, "model": "gpt-4o-2024-11-20"}
    monkeypatch.setenv(endpoint.KEY, SECRET)
    openai_settings = writer_settings("", tmp_path, **public)["openai"]
    with pytest.raises(UserError, match=r"zero_data_retention_confirmed_by.*") as caught:
        endpoint.check(openai_settings, credentialed=True)
    for part in ("PhysioNet", "docs/serving.md", "your own machines"):
        assert part in str(caught.value)
    assert endpoint.check(openai_settings, credentialed=False) is False
    confirmed = writer_settings("", tmp_path, **public, zero_data_retention_confirmed_by=CONFIRMED)["openai"]
    assert endpoint.check(confirmed, credentialed=True) is False


def test_the_gate_stands_before_the_first_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(lambda request: Reply(500)) as server:
        port = server.url.split(":")[2].split("/")[0]
        real = socket.getaddrinfo
        monkeypatch.setattr(
            socket, "getaddrinfo",
            lambda name, *rest, **more: names_public(name) or real(name, *rest, **more),
        )  # fmt: skip
        settings = writer_settings(f"http://model.example:{port}/v1", tmp_path)
        with pytest.raises(UserError, match=r"model\.example is on a public network"):
            model_writer.write([(Study({}, TEXT), Study({}, TEXT))], settings, seed=0, credentialed=True)
    assert server.requests == []


def names_public(name: str) -> list[Any]:
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", 0))] if name == "model.example" else []


def test_a_public_model_has_a_dated_name_and_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(endpoint.KEY, raising=False)
    openai_settings = writer_settings("", tmp_path, base_url=None, model="gpt-4o")["openai"]
    with pytest.raises(UserError, match="dated name"):
        endpoint.check(openai_settings, credentialed=False)
    with pytest.raises(UserError, match="OPENAI_API_KEY"):
        endpoint.check(openai_settings | {"model": "gpt-4o-2024-11-20"}, credentialed=False)


@pytest.mark.parametrize(
    "url", ["https://me:hunter2@host/v1", "https://host/v1?key=hunter2", "ftp://host", "host:8000"]
)
def test_an_address_with_a_secret_is_refused_without_printing_it(url: str) -> None:
    with pytest.raises(UserError) as caught:
        endpoint.host(url)
    assert "hunter2" not in str(caught.value)


def test_public_endpoints_are_told_to_store_nothing(tmp_path: Path) -> None:
    asker = model_writer.Asker(writer_settings("http://x", tmp_path)["openai"], 0, None, None, private=False)  # type: ignore[arg-type]
    assert asker.extra == {"store": False}


def test_neither_key_nor_report_in_logs_and_errors(tmp_path: Path) -> None:
    """Runs in another process, with the openai package set to print all it does."""
    echo = {"error": {"message": f"bad key {SECRET} for text {TEXT}", "code": "x"}}
    replies = [answer(INVENTED_FRACTURE), *(Reply(status, echo) for status in (400, 401, 429, 500))]
    code = (
        "import logging, sys; logging.basicConfig(level=logging.DEBUG)\n"
        "from pathlib import Path\n"
        "from biomedjourney.errors import UserError\n"
        "from biomedjourney.rewrite import model_writer\n"
        "from biomedjourney.rewrite.study import Study\n"
        "from tests.helpers.model_server import writer_settings\n"
        f"pairs = [(Study({{}}, {TEXT!r}), Study({{}}, {TEXT!r} + str(i))) for i in range(3)]\n"
        "for i, url in enumerate(sys.argv[2:]):\n"
        "    s = writer_settings(url, Path(sys.argv[1]) / str(i), attempts=2) | {'largest_fallback_share': 0.2}\n"
        "    try: model_writer.write(pairs, s, seed=0, credentialed=True)\n"
        "    except UserError as error: print('stopped:', error)\n"
    )
    with ExitStack() as stack:
        servers = [stack.enter_context(running(lambda request, reply=reply: reply)) for reply in replies]
        environment = os.environ | {"OPENAI_LOG": "debug", endpoint.KEY: SECRET}
        command = [sys.executable, "-c", code, str(tmp_path), *(server.url for server in servers)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert all(server.requests[0].headers["authorization"] == f"Bearer {SECRET}" for server in servers)
    printed = done.stdout + done.stderr
    assert printed.count("stopped:") == len(replies), printed
    assert SECRET not in printed
    assert "zebra" not in printed


def test_loggers_of_the_client_are_silent(tmp_path: Path) -> None:
    endpoint.client(writer_settings("http://127.0.0.1:9", tmp_path)["openai"], private=True)
    assert all(logging.getLogger(name).level >= logging.WARNING for name in ("openai", "httpx2", "httpcore2"))
