"""Texts that are kept short, so that what they are part of is never too long to be kept.

Texts come from programs, kernels and people, and may have any length. What is said too long
is cut where it enters, and never a reason not to hear the rest.
"""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Final, TypeVar, cast

from pltfrms.model.running.state import MachineStatus

TEXT_MAX: Final = 1000
"""Characters of a sentence that somebody is to read."""
STATUS_BYTES_MAX: Final = 400_000
"""Of a machine's status as JSON: with some events, one transaction of the store."""
EVENT_BYTES_MAX: Final = 10_000
"""Of an event as JSON."""
_TIGHT: Final = 100
_T = TypeVar("_T")


def shortened(text: str, most: int = TEXT_MAX) -> str:
    """Return a text of at most `most` characters; one that was cut says so at its end."""
    if len(text) <= most:
        return text
    end = f"... ({len(text)} characters)"
    return text[: max(most - len(end), 0)] + end


def with_short_texts(word: _T, most: int = TEXT_MAX) -> _T:
    """Return a word of the model in which every text, however deep, is `shortened`."""
    if type(word) is str:
        return cast("_T", shortened(str(word), most))
    if isinstance(word, tuple):
        return cast("_T", tuple(with_short_texts(each, most) for each in word))
    if is_dataclass(word) and not isinstance(word, type):
        old = {field.name: getattr(word, field.name) for field in fields(word)}
        return cast(
            "_T", replace(word, **{key: with_short_texts(old[key], most) for key in old})
        )
    return word


def smaller_statuses(status: MachineStatus) -> Iterator[MachineStatus]:
    """Yield a status as it is, and then with less and less of what is not decided by.

    What is left out is not known. Each but the first has the problem that says so.
    """
    yield status
    short = with_short_texts(status, _TIGHT)
    said = "what it says of itself is too long to be kept"
    yield replace(short, problems=(f"{said}: texts are cut", *short.problems))
    instances = tuple(replace(each, detail="") for each in short.instances)
    bare = MachineStatus(
        machine=status.machine,
        version=short.version,
        boot=short.boot,
        generation=status.generation,
        made_of=status.made_of,
        recovery=short.recovery,
        instances=instances,
        routing=short.routing,
        missed=short.missed,
        vanished=short.vanished,
        problems=(f"{said}: only instances and routing are known",),
    )
    yield bare
    yield replace(bare, instances=(), problems=(f"{said}: nothing else is known",))
