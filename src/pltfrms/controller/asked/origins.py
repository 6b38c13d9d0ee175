"""Ask RPKI, before it is announced, about what a change announces for the first time."""

from collections.abc import Iterator, Sequence
from typing import Final

from pltfrms.drivers.glass.client import GlassMachine
from pltfrms.drivers.glass.origins import Origins
from pltfrms.errors import UnavailableError
from pltfrms.model.network.peering import OriginQuestion, Validity
from pltfrms.model.network.topology import Role
from pltfrms.model.running.state import Contact, Snapshot
from pltfrms.planner.changes.origins import Answers, Claim, more_questions, questions

TRIES: Final = 2
"""Edges that are asked one after the other until one answers."""
QUESTIONS_MAX: Final = 2000
"""About one change: more would keep its operator waiting."""


async def ask_origins(
    origins: Origins | None, snapshot: Snapshot, claims: Sequence[Claim]
) -> tuple[Answers, str]:
    """Return what an edge's ROA table says of some claims, and why answers are missing."""
    if not snapshot.platform.origin_validation.caches:
        return {}, "the platform has no RPKI caches (`rpki:`)"
    if origins is None:
        return {}, "this controller asks no edges"
    silence = "no edge is in contact"
    for place in _places(snapshot):
        try:
            return await _ask_one(origins, place, claims)
        except UnavailableError as error:
            silence = str(error)
    return {}, silence


def _places(snapshot: Snapshot) -> Iterator[GlassMachine]:
    platform = snapshot.platform
    here = [
        edge
        for edge in platform.machines_of(Role.EDGE)
        # Only an edge that has sessions with the outside has ROAs.
        if platform.sessions_of(edge.name) and snapshot.contact(edge.name) is Contact.PRESENT
    ]
    for edge in here[:TRIES]:
        address = platform.loopback6(edge)
        yield GlassMachine(machine=edge.name, address=address, asn=platform.asn)


async def _ask_one(
    origins: Origins, place: GlassMachine, claims: Sequence[Claim]
) -> tuple[Answers, str]:
    first = questions(claims)
    answers = dict(await origins.validities(place, first[:QUESTIONS_MAX]))
    more = more_questions(claims, answers)
    answers |= await _more(origins, place, more[: QUESTIONS_MAX - len(answers)])
    return answers, f"only {QUESTIONS_MAX} questions are asked about one change"


async def _more(
    origins: Origins, place: GlassMachine, more: Sequence[OriginQuestion]
) -> dict[OriginQuestion, Validity]:
    return dict(await origins.validities(place, more)) if more else {}
