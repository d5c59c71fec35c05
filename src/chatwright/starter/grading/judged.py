"""What a skill's grader hands back: is it right, is it refused, does it say something useful beyond."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Judged:
    """`accuracy` and `extra` are 0..1; `extra` 0.5 is an addition that could not be verified, 0 none or a false one."""

    accuracy: float
    extra: float = 0.0
    whole: bool = True  # whole sentences rather than a fragment
    notes: tuple[str, ...] = ()
    safety: float = 1.0
    limit: int = 40  # words before length counts against clarity


def wrong(note: str, *, safety: float = 1.0) -> Judged:
    return Judged(0.0, notes=(note,), safety=safety)
