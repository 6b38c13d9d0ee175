"""What a rollout has instances asked, and what their answers say of its version. Pure.

What is not known is neither good nor bad. It has its own name and words.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from hashlib import blake2b
from itertools import chain
from typing import Final

from pltfrms.model.running.inquiries import Inquiry, Tally, sum_of
from pltfrms.model.running.plan import Allocation
from pltfrms.model.services.service import (
    Compare,
    Probe,
    ProbeKind,
    Rollout,
    RolloutState,
    Service,
)
from pltfrms.planner.placement.drafting.draft import Draft

TRIAL_ASKS: Final = 3
"""A running instance fails a new probe that fails so often, and never succeeds."""
_TRIAL_MS: Final = 200
_TRIAL_AT_ONCE: Final = 1
"""A probe may be a command that takes long: those that serve shall not bear many of it."""
_COMPARE_AT_ONCE: Final = 32
_TELL_MS: Final = 1000
_TELL_MS_EACH: Final = 20
"""All machines of a large platform together tell answers so much apart: what is told is
written, read by each controller, and planned by."""
_FAILED_MIN: Final = 3
"""Failed requests that may be bad luck are fewer."""
_SHOWN: Final = 3


class Heard(StrEnum):
    """What answers of instances say of a version."""

    GOOD = "good"
    BAD = "bad"
    UNKNOWN = "unknown"
    """There are too few answers yet, or somebody says nothing."""
    NOBODY = "nobody"
    """There is nobody to be asked, or to be compared with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hearing:
    """What was heard, and in words."""

    heard: Heard
    words: str


def inquiry_of(service: Service) -> Inquiry | None:
    """Return what instances of a service are to be asked now; None: nothing."""
    rollout = service.rolling
    if rollout is None or rollout.paused:
        return None
    if rollout.state is RolloutState.TRIAL:
        versions: tuple[int, ...] = (rollout.from_version,)
        probe = (rollout.asks_liveness and service.spec.liveness) or service.spec.probe
        interval_ms, at_once = _TRIAL_MS, _TRIAL_AT_ONCE
    else:
        compare, last = comparison_of(service), rollout.stage >= len(rollout.stages) - 1
        if compare is None or last or rollout.state is not RolloutState.BAKING:
            return None
        versions = (rollout.from_version, rollout.version)
        probe = _request(compare, service.spec.probe)
        interval_ms, at_once = compare.interval_ms, _COMPARE_AT_ONCE
    return Inquiry(
        id=_id(versions, rollout, probe),
        service=service.name,
        versions=versions,
        probe=probe,
        interval_ms=interval_ms,
        at_once=at_once,
    )


def told_by(inquiry: Inquiry, machine_count: int) -> Inquiry:
    """Return an inquiry with how often each of so many machines tells its answers."""
    return replace(inquiry, tell_ms=max(_TELL_MS, _TELL_MS_EACH * machine_count))


def _request(compare: Compare, probe: Probe) -> Probe:
    """Return what is asked of both versions; on the port of the probe, as the probe does it."""
    alike = compare.port in {0, probe.tcp_port}
    http = replace(probe.http, status=(), body="") if alike and probe.http else None
    return Probe(
        kind=ProbeKind.HTTP,
        port=compare.port or probe.tcp_port,
        path=compare.path,
        timeout_ms=compare.timeout_ms,
        http=http,
        tls=probe.tls if alike else None,
    )


def _id(versions: tuple[int, ...], rollout: Rollout, probe: Probe) -> str:
    """Return the id of an inquiry: what is asked for another stage, or differs, has another."""
    made_of = (versions, rollout.version, rollout.stage, rollout.since_ms, probe)
    return blake2b(repr(made_of).encode(), digest_size=6).hexdigest()


def comparison_of(service: Service) -> Compare | None:
    """Return by what the versions of a service are compared; None: they are not."""
    return service.spec.rollout.compare if service.spec.rollout else None


# ---- trial ---------------------------------------------------------------------------------


def try_probe(draft: Draft, service: Service) -> Hearing:
    """Return whether a new probe would leave anything of what runs; of liveness, half of it.

    Who fails a liveness probe is restarted.
    """
    rollout, inquiry = service.rolling, inquiry_of(service)
    if rollout is None or inquiry is None:
        return Hearing(heard=Heard.UNKNOWN, words="nothing is asked now")
    version = rollout.from_version
    if service.spec.rollout and service.spec.rollout.untried:
        return Hearing(heard=Heard.NOBODY, words="its spec says that nobody is asked")
    there = _serving(draft, service, version)
    if not there:
        words = f"no instance of version {version} serves, so nobody is asked"
        return Hearing(heard=Heard.NOBODY, words=words)
    tallies = [_tally(draft, each, inquiry) for each in there]
    passed = sum(each.answered > 0 for each in tallies)
    failed = sum(_fails_trial(each) for each in tallies)
    enough = -(-len(there) // 2) if rollout.asks_liveness else 1
    if passed >= enough:
        words = f"{passed} of {len(there)} instances of version {version} pass it so far"
        return Hearing(heard=Heard.GOOD, words=words)
    if failed <= len(there) - enough:
        words = f"{failed} of {len(there)} instances of version {version} fail it so far"
        silent = _silent(there, tallies)
        return Hearing(heard=Heard.UNKNOWN, words=f"{words}{silent}")
    return Hearing(heard=Heard.BAD, words=_refusal(service, rollout, tallies))


def _fails_trial(tally: Tally) -> bool:
    return tally.failed >= TRIAL_ASKS and not tally.answered


def _refusal(service: Service, rollout: Rollout, tallies: Sequence[Tally]) -> str:
    failing = [each for each in tallies if _fails_trial(each)]
    several, all_ = len(tallies) > 1, len(failing) == len(tallies)
    many = f"all {len(tallies)}" if all_ else f"{len(failing)} of {len(tallies)}"
    who = f"{many} running instances" if several else "the running instance"
    does = "liveness probe would restart" if rollout.asks_liveness else "probe fails on"
    asked = min(each.asked for each in failing)
    return (
        f"its {does} {who} of version {rollout.from_version}, asked {asked} times"
        f"{' each' if several else ''}: {failing[0].failure}; if only version "
        f"{service.version} can pass it, say rollout: {{trial: false}}"
    )


# ---- comparison ----------------------------------------------------------------------------


def compare_versions(draft: Draft, service: Service) -> Hearing:
    """Return whether a version answers worse than the one before while its stage bakes."""
    rollout, inquiry, by = service.rolling, inquiry_of(service), comparison_of(service)
    if rollout is None or by is None:
        return Hearing(heard=Heard.NOBODY, words="nothing is compared")
    version = rollout.from_version
    old_ones = _serving(draft, service, version)
    if not old_ones:
        words = f"no instance of version {version} serves any more, so nothing is compared"
        return Hearing(heard=Heard.NOBODY, words=words)
    if inquiry is None:
        return Hearing(heard=Heard.NOBODY, words="nothing is compared in its last stage")
    new_ones = _serving(draft, service, rollout.version)
    told = [_tally(draft, each, inquiry) for each in new_ones]
    new = sum_of(inquiry.id, told)
    old = sum_of(inquiry.id, (_tally(draft, each, inquiry) for each in old_ones))
    worse = _worse(by, version, old, new) if min(old.asked, new.asked) >= by.samples else ""
    if worse:
        return Hearing(heard=Heard.BAD, words=worse)
    if min(old.asked, new.asked) < by.samples or any(not each.asked for each in told):
        few = (
            f"{new.asked} requests to version {rollout.version} and {old.asked} to version "
            f"{version} are known, of {by.samples} that are needed"
        )
        words = f"{few}{_silent(new_ones, told)}"
        return Hearing(heard=Heard.UNKNOWN, words=words)
    both = old.answered and new.answered
    numbers = (_p95s if both else _failures)(version, old, new)
    words = f"no worse than version {version}: {numbers}"
    return Hearing(heard=Heard.GOOD, words=words)


def is_compared(service: Service) -> bool:
    """Return whether instances are asked now to compare versions."""
    rolling = service.rolling
    trial = rolling is None or rolling.state is RolloutState.TRIAL
    return not trial and inquiry_of(service) is not None


def tallies_of(draft: Draft, service: Service) -> tuple[tuple[int, Tally], ...]:
    """Return what each version has answered to the comparison, as far as it is known."""
    inquiry = inquiry_of(service)
    if inquiry is None or not is_compared(service):
        return ()
    found = (
        (version, [_tally(draft, each, inquiry) for each in _serving(draft, service, version)])
        for version in inquiry.versions
    )
    return tuple((version, sum_of(inquiry.id, tallies)) for version, tallies in found)


def _worse(by: Compare, version: int, old: Tally, new: Tally) -> str:
    """Say in which way the new one is worse; empty: it is not."""
    more = new.failed_share - old.failed_share
    if new.failed >= _FAILED_MIN and more * 100 > by.errors_percent:
        return f"{_failures(version, old, new)}: {new.failure}"
    enough = min(old.answered, new.answered) >= by.samples
    slower = new.p95_ms > old.p95_ms * by.times and new.p95_ms > old.p95_ms + by.margin_ms
    return _p95s(version, old, new) if enough and slower else ""


def _failures(version: int, old: Tally, new: Tally) -> str:
    return (
        f"{new.failed} of {new.asked} requests failed against {old.failed} of {old.asked} of "
        f"version {version}"
    )


def _p95s(version: int, old: Tally, new: Tally) -> str:
    many = (
        f"{new.asked} requests each"
        if old.asked == new.asked
        else f"of {new.asked} and {old.asked} requests"
    )
    return f"p95 {new.p95_ms:.0f} ms against {old.p95_ms:.0f} ms of version {version}, {many}"


# ---- whom to ask ---------------------------------------------------------------------------


def _serving(draft: Draft, service: Service, version: int) -> list[Allocation]:
    """Return the allocations of a version that serve for all we know."""
    found = chain.from_iterable(
        allocations
        for datacenter in draft.wanted(service)
        for _, allocations in sorted(draft.replicas(service.name, datacenter).items())
    )
    return [each for each in found if each.version == version and draft.may_serve(each)]


def _tally(draft: Draft, allocation: Allocation, inquiry: Inquiry) -> Tally:
    """Return what one has answered; to another inquiry does not count."""
    said = draft.snapshot.instance(allocation.id)
    tally = said.tally if said else None
    return tally if tally and tally.inquiry == inquiry.id else Tally(inquiry=inquiry.id)


def _silent(asked: Iterable[Allocation], tallies: Iterable[Tally]) -> str:
    """Name some of those of which nothing is heard."""
    pairs = zip(asked, tallies, strict=True)
    names = [each.id for each, tally in pairs if not tally.asked]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"; nothing is heard of {', '.join(names[:_SHOWN])}{more}" if names else ""
