"""What the agent could not do, and the fence that keeps one broken part from the others."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import structlog

from pltfrms.errors import PltfrmsError
from pltfrms.model.running.texts import shortened

MAX_SENTENCES: Final = 50
_log = structlog.get_logger()


@dataclass(slots=True)
class Tried:
    """Whether what was tried has failed; valid after the `with`."""

    failed: bool = False


class Problems:
    """Sentences by part of the agent. A part that succeeds again has none."""

    def __init__(self, poke: Callable[[], None]) -> None:
        """Call `poke` (which must not block) whenever the sentences change."""
        self._poke = poke
        self._sentences: dict[str, str] = {}

    @property
    def sentences(self) -> tuple[str, ...]:
        """One sentence per part that fails, sorted, at most 50."""
        said = (f"{part}: {sentence}" for part, sentence in sorted(self._sentences.items()))
        return tuple(said)[:MAX_SENTENCES]

    def set(self, part: str, sentence: str) -> None:
        """Say what is wrong with a part; an empty sentence means nothing is."""
        sentence = shortened(sentence)
        if sentence == self._sentences.get(part, ""):
            return
        if sentence:
            _log.warning("problem", part=part, sentence=sentence)
            self._sentences[part] = sentence
        else:
            _log.info("problem solved", part=part, sentence=self._sentences.pop(part))
        self._poke()

    @contextmanager
    def watch(self, part: str) -> Iterator[Tried]:
        """Turn any failure inside into the problem of `part`; success removes it.

        An agent must outlive its own bugs and every input: what already works stays as it is
        (fail static), and the operator reads here what does not.
        """
        outcome = Tried()
        try:
            yield outcome
        except Exception as error:  # noqa: BLE001 - this is the fence; see above
            outcome.failed = True
            sentence = str(error) or type(error).__name__
            if not isinstance(error, PltfrmsError | OSError):  # a bug: the trace is the clue
                sentence = f"{type(error).__name__}: {sentence}"
                if self._sentences.get(part) != sentence:
                    _log.error("failure", part=part, exc_info=True)
            self.set(part, sentence)
        else:
            self.set(part, "")
