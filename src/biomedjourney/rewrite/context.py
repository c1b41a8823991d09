"""Whether a server reads prompts to their ends: some cut off what is longer than their context, without a word."""

from typing import Any

CUT_SHARE = 0.5  # of the estimate; the tokenizers of GPT-4, Llama 3 and Llama 4 count 0.83 to 0.89 of it
# A server may leave out of its count what it has in a cache. Then it counts the reports of the pair, which have 0.7 to
# 0.9 of their estimate, and a few tokens of the chat's format; or next to nothing where an interrupted run asked it.
LEAST_OWN, MOST_OWN, FORMAT, NEXT_TO_NOTHING = 0.5, 1.2, 16, 64
CLEARLY_MISSING = 128  # tokens of the pair's own reports
SAME_COUNTS, DIFFERENT_SIZES = 3, 1.1  # so many prompts, whose sizes have this ratio, do not count alike by chance


def tokens_read(usage: Any) -> int:
    """The tokens of a prompt that a server counts as read, with those from a cache; 0 where it says nothing."""
    count = counted(usage, "prompt_tokens") or 0
    from_cache = counted(getattr(usage, "prompt_tokens_details", None), "cached_tokens") or 0
    return count + from_cache if from_cache > count else count  # a count that holds the cached ones is not below them


def counted(usage: Any, name: str) -> int | None:
    count = getattr(usage, name, None)
    return count if isinstance(count, int) and count >= 0 else None


class Context:
    """Judges a server by its first replies to distinct prompts."""

    def __init__(self) -> None:
        self.reads_whole = False  # it has counted a whole prompt
        self._low_counts: set[int] = set()
        self._low_sizes: list[int] = []  # of the prompts' own parts, as long as all of them have one count

    def is_cut(self, count: int, whole: int, own: int) -> bool:
        """Whether a prompt was cut: ``count`` tokens were read of about ``whole``, ``own`` of them in no other prompt.

        After a reply that counts a whole prompt, a low count is the work of a cache, unless a good part of the
        prompt's own tokens is missing too. Before, a low count is a cut, unless it is what a cache that is warm from
        an earlier run would leave, and not the same for prompts of different sizes.
        """
        if count >= CUT_SHARE * whole:
            self.reads_whole = True
            return False
        if count <= NEXT_TO_NOTHING:
            return False
        if self.reads_whole:
            return count < LEAST_OWN * own - CLEARLY_MISSING
        if not LEAST_OWN * own <= count <= MOST_OWN * own + FORMAT:
            return True
        self._low_counts.add(count)
        if len(self._low_counts) > 1:
            return False
        self._low_sizes.append(own)
        sizes = self._low_sizes
        return len(sizes) >= SAME_COUNTS and max(sizes) > DIFFERENT_SIZES * min(sizes)
