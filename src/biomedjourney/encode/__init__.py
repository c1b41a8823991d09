"""Latents and token states, computed once."""
