"""How many rows a step may refuse before it ends."""

from collections import Counter
from collections.abc import Mapping

from biomedjourney.errors import UserError

ALLOWED_ROWS = 10  # however small their share: a small table may hold a few odd rows


class Refusals:
    """Counts the rows that a step refuses, by reason, and ends the step when there are too many.

    ``step`` names the step and ``rows`` what it counts, as in "preprocess" and "films". ``key`` is the setting that
    holds ``largest_share``, a fraction of ``total``. Up to ``allowed`` rows may be refused whatever their share.
    """

    def __init__(
        self, step: str, rows: str, total: int, largest_share: float, key: str, allowed: int = ALLOWED_ROWS
    ) -> None:
        self.step, self.rows, self.total, self.key = step, rows, total, key
        self.largest_share, self.allowed = largest_share, allowed
        self.reasons: Counter[str] = Counter()

    def add(self, reason: str) -> None:
        """Counts one refused row. Raises UserError, with the most frequent reasons, when there are too many."""
        self.reasons[reason] += 1
        self._check(self.allowed, "")

    def add_all(self, reasons: Mapping[str, int], first: str) -> None:
        """Counts refused rows by reason, all at once. ``first`` tells where the first one stands and what it holds.

        Raises UserError, with their number, share and the first one too, when there are too many. All rows are too
        many, however few they are.
        """
        self.reasons.update(reasons)
        count = self.reasons.total()
        allowed = min(self.allowed, self.total - 1)
        self._check(allowed, f"; {count} in all, {100 * count / self.total:.3g}%; the first: {first}")

    def _check(self, allowed: int, details: str) -> None:
        if self.reasons.total() > max(allowed, self.largest_share * self.total):
            often = "; ".join(f"{count} x {reason}" for reason, count in self.reasons.most_common(3))
            raise UserError(
                f"{self.step}: more than {self.largest_share:.1%} of {self.total} {self.rows} were refused "
                f"({often}{details}): remove the cause, or raise {self.key}"
            )
