"""Brings the prior film onto the current one, and says how well it fits."""

from biomedjourney.register.registration import THRESHOLD, Registration, register

__all__ = ["THRESHOLD", "Registration", "register"]
