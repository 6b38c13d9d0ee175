"""Which store a machine follows: a word for each recovery, the newest last. Pure.

Two recoveries of the same store, or of the same backup, both go on from all that was before,
and neither has the word of the other.
"""

from collections.abc import Iterable, Sequence
from typing import Final

WORDS_MAX: Final = 32
ANY: Final = "any"
"""Of a store that a backup was put into: what machines followed before is not known there."""


def word_of(lineage: Sequence[str]) -> str:
    """Return the word of the newest recovery; empty: there was none, as far as is known."""
    return next((word for word in reversed(lineage) if word != ANY), "")


def why_not_followed(known: Sequence[str], offered: Sequence[str]) -> str:
    """Return why who follows `known` does not follow a store of `offered`; empty: he does."""
    word = word_of(known)
    if not word or word in offered or ANY in offered:
        return ""
    return (
        f"it is of another store than that of recovery {word}, which is followed here, or of "
        "another recovery of it: stop one of the two"
    )


def recovered(before: Sequence[str], followed: Iterable[str], word: str) -> tuple[str, ...]:
    """Return the lineage of a store that goes on by the recovery `word`.

    `followed`: the words that machines follow, which are to follow it.
    """
    said = sorted(each for text in followed for each in text.split())
    words = dict.fromkeys((*before, *said, word))
    return tuple(each for each in words if each != ANY)[-WORDS_MAX:]
