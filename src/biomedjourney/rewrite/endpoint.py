"""Where reports may be sent, and the client that sends them."""

import ipaddress
import logging
import os
import re
import socket
from typing import Any
from urllib.parse import urlsplit

from biomedjourney.errors import UserError

KEY = "OPENAI_API_KEY"
OPENAI = "https://api.openai.com/v1"
PRIVATE = tuple(
    ipaddress.ip_network(block)
    for block in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7")
)
DATED = re.compile(r"\d{4}-?\d{2}-?\d{2}")


def host(base_url: str | None) -> str:
    """The endpoint's host name. Raises UserError where the address has no host, or holds a password or a query."""
    parts = urlsplit(base_url or OPENAI)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError("configuration, rewrite.openai.base_url: an address like https://host:port/v1 is expected")
    if parts.username or parts.password or parts.query:
        raise UserError(
            f"configuration, rewrite.openai.base_url: an address without user name, password and query is expected: "
            f"put the key into the environment variable {KEY}"
        )
    return parts.hostname


def is_private(name: str) -> bool:
    """Whether every address of a host is on loopback or in a private network. Raises UserError for an unknown host."""
    try:
        address_texts = {entry[4][0] for entry in socket.getaddrinfo(name, None)}
    except OSError:
        raise UserError(f"configuration, rewrite.openai.base_url: the host {name!r} is not known: check it") from None
    addresses = [ipaddress.ip_address(str(address).partition("%")[0]) for address in address_texts]
    mapped = [getattr(address, "ipv4_mapped", None) or address for address in addresses]
    return bool(mapped) and all(any(address in block for block in PRIVATE) for address in mapped)


def check(settings: dict[str, Any], *, credentialed: bool) -> bool:
    """Whether the endpoint is private.

    Raises UserError where reports must not go there, and, for a public endpoint, where the name of the model holds no
    date or the environment has no key.
    """
    name = host(settings["base_url"])
    private = settings["base_url"] is not None and is_private(name)
    if credentialed and not private and settings["zero_data_retention_confirmed_by"] is None:
        raise UserError(
            f"rewrite: the endpoint {name} is on a public network, and the data agreement of MIMIC forbids sending its "
            "text through an API that may keep it (PhysioNet, 24 September 2025): serve a model on your own machines "
            "and set rewrite.openai.base_url to it (docs/serving.md), or, where your contract excludes any retention, "
            "set rewrite.openai.zero_data_retention_confirmed_by to {name: …, date: …}"
        )
    if not private and not DATED.search(settings["model"]):
        raise UserError(
            f"configuration, rewrite.openai.model: {settings['model']!r} may be another model tomorrow: "
            "give the dated name, such as gpt-4o-2024-11-20"
        )
    if not private and not os.environ.get(KEY):
        raise UserError(f"rewrite: the endpoint {name} needs a key: set {KEY} in the environment")
    return private


def client(settings: dict[str, Any], *, private: bool) -> Any:
    """An ``openai.AsyncOpenAI`` that talks to the endpoint alone: no redirect, and no proxy to a private endpoint."""
    import openai

    for name in ("openai", "httpx2", "httpcore2"):  # at level DEBUG they print keys and texts
        logging.getLogger(name).setLevel(logging.WARNING)
    transport = openai.DefaultAsyncHttpxClient(
        follow_redirects=False, trust_env=not private, timeout=settings["timeout_seconds"]
    )
    return openai.AsyncOpenAI(
        api_key=os.environ.get(KEY) or "none",
        base_url=settings["base_url"] or OPENAI,
        http_client=transport,
        timeout=settings["timeout_seconds"],
        max_retries=0,
    )
