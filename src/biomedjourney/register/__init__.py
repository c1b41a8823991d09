"""Brings the prior film onto the current one, and scores the fit."""

from biomedjourney.register.registration import THRESHOLD, Registration, register

__all__ = ["THRESHOLD", "Registration", "register"]
