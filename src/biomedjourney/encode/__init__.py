"""Latents and token states, computed once."""

import hashlib


def text_key(text: str) -> str:
    """The key of a text in the table `texts`: SHA-256 after white space is normalised."""
    return hashlib.sha256(" ".join(text.split()).encode()).hexdigest()
