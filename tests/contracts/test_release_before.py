"""This release and the one before it over one store, each by its own code.

Where the clone has no history, this release stands for the one before, too.
"""

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from pltfrms.codec import decode, encode
from pltfrms.controller.records.state import (
    PLATFORM_KEY,
    PREFIX,
    Reader,
    service_key,
    status_key,
)
from pltfrms.drivers.store.ports import KeyValue, Listing, Put
from pltfrms.model.messages.api import Heartbeat
from pltfrms.model.running.inquiries import Tally
from pltfrms.model.running.state import MachineStatus
from pltfrms.model.services.service import Service
from tests.controller.cluster import Cluster
from tests.controller.test_cluster import PLATFORM, bring_up
from tests.machines.bed import ROOT
from tests.machines.packages import has_history, unpack_sources
from tests.release import Errand, run_in
from tests.simulation.virtual import run_virtual
from tests.versions import make_rich_status, with_unknown_fields

SECONDS = 15.0
Entries = Mapping[str, str]


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources of the release before."""
    if not has_history():
        return ROOT
    root = tmp_path_factory.mktemp("before")
    unpack_sources(root)
    return root


@pytest.fixture(scope="module")
def ours() -> Entries:
    """What this release keeps of a platform in which a service runs."""

    async def story() -> Entries:
        cluster = Cluster(PLATFORM)
        cluster.start()
        await bring_up(cluster)
        await cluster.clock.sleep(3)
        entries = cluster.state.list("/").entries
        return {each.key: each.value.decode() for each in entries if not each.lease}

    return run_virtual(story())


def gone_on_with(entries: Entries) -> Entries:
    """Return what becomes of a store if this release goes on with it."""

    async def story() -> Entries:
        cluster = Cluster(PLATFORM)
        for key, value in entries.items():
            cluster.state.commit([Put(key=key, value=value.encode())], ())
        cluster.start()
        await cluster.until(lambda: cluster.settled("web"), 60)
        await cluster.clock.sleep(SECONDS)
        assert cluster.settled("web")
        return {each.key: each.value.decode() for each in cluster.state.list("/").entries}

    return run_virtual(story())


def unreadable(entries: Entries) -> tuple[str, ...]:
    """Return what of a store this release does not read, of all that is wanted."""
    found = tuple(
        KeyValue(key=key, value=value.encode(), mod_revision=1)
        for key, value in sorted(entries.items())
        if key.startswith(PREFIX)
    )
    stored = Reader().read(Listing(revision=1, entries=found))
    assert {*stored.statuses} == {each.name for each in PLATFORM.managed}
    return stored.unreadable


def wanted(entries: Entries) -> Entries:
    """Return what is wanted, without what is told."""
    told = ("/pltfrms/machines/", "/pltfrms/controllers/", "/pltfrms-events/")
    return {key: value for key, value in entries.items() if not key.startswith(told)}


def test_the_release_before_reads_what_this_one_keeps_and_goes_on(
    before: Path, ours: Entries
) -> None:
    said = run_in(before, Errand(entries=ours))
    assert (said.unreadable, said.statuses) == (
        (),
        tuple(sorted(e.name for e in PLATFORM.managed)),
    )
    quiet = run_in(before, Errand(entries=ours, seconds=SECONDS))
    assert quiet.settled
    assert wanted(quiet.entries) == wanted(ours), "it wants nothing else"
    after = run_in(before, Errand(entries=ours, seconds=SECONDS, replicas=3))
    assert (after.refused, after.settled) == ("", True)
    assert unreadable(after.entries) == ()


def test_this_release_goes_on_with_what_the_one_before_has_placed(
    before: Path, ours: Entries
) -> None:
    begun = {key: ours[key] for key in (PLATFORM_KEY, service_key("web"), "/pltfrms/commit")}
    theirs = run_in(before, Errand(entries=begun, seconds=SECONDS)).entries
    assert unreadable(theirs) == ()
    assert wanted(gone_on_with(theirs)) == wanted(theirs), "it wants nothing else"


def news_of(service: str) -> dict[str, str]:
    """Return a service in words that the release before does not have, by what is new."""
    known = decode(Service, service)
    found = {
        "group": replace(known, spec=replace(known.spec, group="shop")),
        "labels": replace(known, spec=replace(known.spec, labels=(("team", "shop"),))),
        "liveness": replace(known, spec=replace(known.spec, liveness=known.spec.probe)),
    }
    return {what: encode(word).decode() for what, word in found.items()} | {
        what: text.decode() for what, text in with_unknown_fields(known)
    }


@pytest.mark.parametrize("what", ["group", "labels", "liveness", "Service", "ServiceSpec"])
def test_the_release_before_leaves_alone_what_it_does_not_know(
    before: Path, ours: Entries, what: str
) -> None:
    if before == ROOT and what[0].islower():
        pytest.skip("this release knows it, and there is no history")
    key = service_key("web")
    newer = {**ours, key: news_of(ours[key])[what]}
    said = run_in(before, Errand(entries=newer, seconds=SECONDS, replicas=3, dead="fra-n1"))
    assert said.unreadable == (key,)
    assert f"{key} cannot be read" in said.refused
    assert wanted(said.entries) == wanted(newer), "byte for byte, and a dead node moves nothing"


def test_what_a_controller_of_the_release_before_leaves_out_of_a_status_is_not_known(
    before: Path, ours: Entries
) -> None:
    status = make_rich_status()
    instance = replace(
        status.instances[0], tally=Tally(inquiry="i"), cpu_percent=7, unwell=True
    )
    status = replace(status, version="9", recovery="w", missed=(), instances=(instance,))
    beat = encode(Heartbeat(status=status, heard=3)).decode()
    said = run_in(before, Errand(entries=ours, seconds=1, heartbeat=beat))
    kept = decode(MachineStatus, said.entries[status_key(status.machine)])
    assert kept.instances[0].allocation == instance.allocation
    assert_only_left_out(status, kept)


def assert_only_left_out(sent: Any, kept: Any) -> None:
    """Check that what differs is as if it had never been said."""
    for field in fields(sent):
        one, other = getattr(sent, field.name), getattr(kept, field.name)
        if isinstance(one, tuple) and one and is_dataclass(one[0]):
            for pair in zip(one, other, strict=True):
                assert_only_left_out(*pair)
        elif is_dataclass(one) and other:
            assert_only_left_out(one, other)
        elif one != other:
            made = field.default_factory
            default = field.default if made is MISSING else made()
            assert other == default, field.name


def test_a_store_of_this_release_that_the_one_before_went_on_with_is_this_ones_again(
    before: Path, ours: Entries
) -> None:
    there = run_in(before, Errand(entries=ours, seconds=SECONDS, replicas=3))
    assert decode(Service, there.entries[service_key("web")]).spec.per_datacenter == 3
    again = gone_on_with(there.entries)
    assert wanted(again) == wanted(there.entries)
