"""Guessing ahead: an answer often repeats what stands before it (a name, a quotation, code that is edited).

Where the last two tokens have stood together before, the tokens that followed them then are guessed to follow now and
read in the same pass as the last token. A guess counts where the token that is then drawn is the same, so that the
answer is the one that would have been drawn anyway, in every bit; only fewer passes are made (prompt lookup decoding,
Saxena 2023; verified by drawing as in Leviathan et al. 2023).
"""

from __future__ import annotations

from collections.abc import Sequence

TRIALS = 24
"""Guesses after which a text that repeats nothing is left alone."""

LEAST_RIGHT = 0.25
"""Share of right guesses below which reading them costs more than they save."""


class Lookup:
    """Where each pair of tokens of one growing text stood last, and how often guessing was right."""

    def __init__(self) -> None:
        self._after: dict[tuple[int, int], int] = {}
        self._known = 2
        self.guessed = self.right = 0

    def count(self, right: bool) -> None:
        """How a guess turned out."""
        self.guessed += 1
        self.right += right

    def guess(self, tokens: Sequence[int], most: int) -> list[int]:
        """Up to `most` tokens that may follow; [] where the last two are new or guessing has not paid."""
        if most < 1 or (self.guessed >= TRIALS and self.right < LEAST_RIGHT * self.guessed):
            return []
        for end in range(self._known, len(tokens)):  # the last pair itself is entered when something follows it
            self._after[tokens[end - 2], tokens[end - 1]] = end
        self._known = max(self._known, len(tokens))
        start = self._after.get((tokens[-2], tokens[-1])) if len(tokens) > 1 else None
        if start is None:
            return []
        guessed = list(tokens[start : start + most])
        while len(guessed) < most:  # what followed reaches the end of the text: it goes round in a circle
            guessed.append(guessed[len(guessed) - (len(tokens) - start)])
        return guessed
