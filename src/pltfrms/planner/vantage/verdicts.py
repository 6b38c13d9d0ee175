"""Whether clients are served, by what vantage points say. Pure.

Who says nothing, or said it long ago, is no evidence of anything: that is not known, and never
good or bad.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pltfrms.model.network.topology import Platform
from pltfrms.model.running.vantage import (
    ClientEvidence,
    ClientVerdict,
    HeardVantage,
    Recent,
    ServiceEvidence,
    VantageTally,
)
from pltfrms.model.services.service import Service
from pltfrms.planner.vantage.asking import asks_from, is_load, questions_about

_OLD_ROUNDS: Final = 10
_OLD_MS_MIN: Final = 10_000
_ROW: Final = 2
"""So many questions without an answer, one after the other, are no chance."""
_LOSS: Final = 0.1
"""A larger part of the last questions must not fail."""
RECOVERED: Final = 10
"""So many answers in a row, and what failed before is over. Where a fifth still fails, that
many come by chance one time in ten."""
_NAMED: Final = 3


def old_ms(platform: Platform) -> int:
    """Return after how long a report says nothing of now."""
    return max(_OLD_MS_MIN, _OLD_ROUNDS * platform.vantage.every_ms)


def evidence(
    platform: Platform,
    services: Mapping[str, Service],
    heard: Iterable[HeardVantage],
    watched_ms: int,
) -> ClientEvidence:
    """Return what vantage points say, heard by a controller that has listened for so long."""
    heard, old = tuple(heard), old_ms(platform)
    fresh = [each for each in heard if each.age_ms <= old]
    ours = {each.name for each in platform.machines if asks_from(platform, each)}
    outside = set(platform.vantage.outside)
    known = {each.report.vantage for each in heard}
    late = {each.report.vantage for each in heard if each.age_ms > old} & (ours | outside)
    late |= outside - known if watched_ms > old else set()
    told = _by_service(fresh)
    found = tuple(
        _of_service(told.get(name, ()), platform, services[name], len(ours))
        for name in sorted(services)
    )
    served, sentence = _together(found, len(fresh), len(late))
    return ClientEvidence(
        served=served,
        sentence=sentence,
        services=found,
        points=len(fresh),
        silent=tuple(sorted(late)),
    )


@dataclass(frozen=True, slots=True)
class _Told:
    """What one vantage point says of one question."""

    where: str
    """Datacenter, or the name of who is outside."""
    tally: VantageTally
    verdict: ClientVerdict
    """Whether it is answered."""


def verdict_of(recent: Recent) -> ClientVerdict:
    """Return what the last questions of one vantage point say."""
    if not recent.asked:
        return ClientVerdict.UNKNOWN
    if recent.in_a_row >= min(_ROW, recent.asked):
        return ClientVerdict.NO if recent.asked >= _ROW else ClientVerdict.UNKNOWN
    over = recent.answered_in_a_row >= RECOVERED
    lossy = not over and recent.failed >= _ROW and recent.failed > _LOSS * recent.asked
    return ClientVerdict.PARTLY if lossy else ClientVerdict.YES


def place_of(each: HeardVantage) -> str:
    """Return where a vantage point asks from: its datacenter, else its own name."""
    return each.datacenter or each.report.vantage


def _by_service(heard: Iterable[HeardVantage]) -> Mapping[str, Sequence[_Told]]:
    found = defaultdict(list)
    for each in heard:
        place = place_of(each)
        for tally in each.report.tallies:
            found[tally.service].append(_Told(place, tally, verdict_of(tally.recent)))
    return found


def _of_service(
    told: Sequence[_Told], platform: Platform, service: Service, askers: int
) -> ServiceEvidence:
    name = service.name
    known = [each for each in told if each.verdict is not ClientVerdict.UNKNOWN]
    if not known:
        why = _why_unknown(told, platform, service, askers)
        return ServiceEvidence(service=name, served=ClientVerdict.UNKNOWN, why=why)
    bad = [each for each in known if each.verdict is not ClientVerdict.YES]
    served = ClientVerdict.PARTLY if bad else ClientVerdict.YES
    if all(each.verdict is ClientVerdict.NO for each in known):
        served = ClientVerdict.NO
    places = tuple(sorted({each.where for each in known}))
    return ServiceEvidence(
        service=name,
        served=served,
        why=_why(bad, places, everywhere=served is ClientVerdict.NO),
        asked_from=places,
        answered_by=_answerers(known, platform),
        missed_from=tuple(sorted({each.where for each in bad})),
    )


def _why_unknown(
    told: Sequence[_Told], platform: Platform, service: Service, askers: int
) -> str:
    unable = sorted({each.tally.recent.unable for each in told if each.tally.recent.unable})
    if unable:
        return f"it cannot be asked: {unable[0]}"
    chosen = platform.vantage.services
    if chosen and service.name not in chosen:
        return "it is not among the services that vantage points ask"
    if not questions_about(service):
        return "it has no port that everybody may ask by TCP"
    if is_load(platform, askers, service):
        return "it is scaled by connections, and those of vantage points would be too many"
    return "no vantage point says anything of it now"


def _why(bad: Sequence[_Told], places: Sequence[str], *, everywhere: bool) -> str:
    if not bad:
        return ""
    if everywhere:
        return f"nobody gets an answer, asked from {_names(places)}: {_how(bad[0])}"
    by_place = {each.where: each for each in reversed(bad)}
    words = [f"from {where} {_how(by_place[where])}" for where in sorted(by_place)]
    more = f"; and from {len(words) - _NAMED} more" if len(words) > _NAMED else ""
    return f"{'; '.join(words[:_NAMED])}{more}"


def _how(told: _Told) -> str:
    recent, where = told.tally.recent, f"{told.tally.address} port {told.tally.port}"
    if told.verdict is ClientVerdict.NO:
        return f"{where}: {recent.failure}"
    return f"{where}: {recent.failed} of {recent.asked} not answered: {recent.failure}"


def _answerers(known: Sequence[_Told], platform: Platform) -> Mapping[str, tuple[str, ...]]:
    """Return whose instances answered, by who asked; names are `SERVICE.DATACENTER.N-M`.

    Who answers may say what it likes, so only datacenters that there are count.
    """
    ours = {each.name for each in platform.datacenters}
    said: dict[str, set[str]] = defaultdict(set)
    for each in known:
        said[each.where].update(each.tally.recent.by)
    mine = f"{known[0].tally.service}."
    found = {
        where: ours & {name.split(".")[1] for name in names if name.startswith(mine)}
        for where, names in sorted(said.items())
    }
    return {where: tuple(sorted(names)) for where, names in found.items() if names}


def _together(
    found: Sequence[ServiceEvidence], points: int, late: int
) -> tuple[ClientVerdict, str]:
    by = {word: [each for each in found if each.served is word] for word in ClientVerdict}
    if not found:
        return ClientVerdict.UNKNOWN, "there is no service that clients could ask"
    if not points:
        silent = f", and {late} that should are silent" if late else ""
        return ClientVerdict.UNKNOWN, f"not known: no vantage point says anything now{silent}"
    parts = list(_parts(by))
    if (
        len(by[ClientVerdict.YES]) + len(by[ClientVerdict.UNKNOWN]) == len(found)
        and by[ClientVerdict.YES]
    ):
        places = sorted({place for each in found for place in each.asked_from})
        parts.insert(0, f"served, asked from {_names(places)}")
    bad = next((word for word in (ClientVerdict.NO, ClientVerdict.PARTLY) if by[word]), None)
    return bad or (
        ClientVerdict.YES if by[ClientVerdict.YES] else ClientVerdict.UNKNOWN
    ), "; ".join(parts)


def _parts(by: Mapping[ClientVerdict, Sequence[ServiceEvidence]]) -> Iterator[str]:
    for word in (ClientVerdict.NO, ClientVerdict.PARTLY):
        for each in by[word][:_NAMED]:
            how = "not served" if word is ClientVerdict.NO else "partly served"
            yield f"{each.service} is {how}: {each.why}"
        if len(by[word]) > _NAMED:
            yield f"and {len(by[word]) - _NAMED} more {word}"
    if by[ClientVerdict.UNKNOWN]:
        names = _names([each.service for each in by[ClientVerdict.UNKNOWN]])
        yield f"not known of {names}: {by[ClientVerdict.UNKNOWN][0].why}"


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"
