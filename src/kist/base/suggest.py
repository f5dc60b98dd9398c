"""Guesses which known word a mistyped one stands for. Pure; smaller and faster to import than difflib."""

from __future__ import annotations

from collections.abc import Iterable


def distance(first: str, second: str) -> int:
    """Returns how many letters to insert, delete, replace or swap with a neighbour lead from one to the other."""
    before_last: list[int] = []
    last = list(range(len(second) + 1))
    for row, left in enumerate(first, 1):
        current = [row]
        for column, right in enumerate(second, 1):
            cost = min(last[column] + 1, current[-1] + 1, last[column - 1] + (left != right))
            if row > 1 and column > 1 and left == second[column - 2] and first[row - 2] == right:
                cost = min(cost, before_last[column - 2] + 1)
            current.append(cost)
        before_last, last = last, current
    return last[-1]


def closest(word: str, known: Iterable[str]) -> str | None:
    """Returns the known word that `word` most likely stands for, or None when nothing is near.

    A word is near when at most a third of its letters are wrong (at least one may be), or when one of the two begins
    with the other and they share three letters. Ties: the first in the order of `known`.
    """
    best: str | None = None
    best_score = 1 << 30
    for candidate in known:
        score = distance(word.lower(), candidate.lower())
        limit = max(1, max(len(word), len(candidate)) // 3)
        shared = min(len(word), len(candidate))
        if score > limit and not (shared >= 3 and word[:shared].lower() == candidate[:shared].lower()):
            continue
        if score < best_score:
            best, best_score = candidate, score
    return best
