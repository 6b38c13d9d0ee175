"""The tunnels of an edge, in virtual time."""

import dataclasses

from pltfrms.agent.freeze import Frost
from pltfrms.agent.journal import Journal
from pltfrms.agent.network.tunnels import LATER_SECONDS, Tunnels
from pltfrms.agent.problems import Problems
from pltfrms.drivers.wireguard.memory import MemoryWireGuard
from pltfrms.drivers.wireguard.ports import Sight
from pltfrms.model.network.tunnels import tunnel_keys, tunnels_of
from tests.agent.network.tunnel_end import TUNNELED
from tests.render.platforms import SMALL
from tests.simulation.virtual import VirtualClock, run_beside, run_virtual

PERIOD = 30 * 60
SECRET = b"0" * 32
NAME = "bb-ams-e1"


class Edge:
    """An edge whose agent may end, its interfaces not."""

    def __init__(self, name: str = "fra-e1") -> None:
        self.name = name
        self.clock = VirtualClock()
        self.driver = MemoryWireGuard(SECRET)
        self.frozen = False
        self.restart()

    def restart(self) -> None:
        self.journal = Journal(self.name, self.clock, lambda: None)
        self.problems = Problems(lambda: None)
        frost = Frost(lambda: self.frozen)
        self.tunnels = Tunnels(
            self.driver, self.clock, self.journal, self.problems, frost, PERIOD
        )
        self.tunnels.want(TUNNELED, self.name)

    @property
    def told(self) -> list[str]:
        return [event.detail for event in self.journal.oldest(100)]


async def edge_within_an_epoch(name: str = "fra-e1") -> Edge:
    """Return an edge a second after the virtual clock's beginning, where an epoch begins."""
    edge = Edge(name)
    await edge.clock.sleep(1)
    return edge


def epoch_of(edge: Edge, epochs: range) -> int:
    tunnel = tunnels_of(TUNNELED, edge.name)[0]
    keys = {tunnel_keys(SECRET, edge.name, tunnel, epoch).ours: epoch for epoch in epochs}
    return keys[edge.driver.sights[tunnel.interface].key]


def test_a_tunnel_is_made_kept_and_made_again() -> None:
    async def story() -> None:
        edge = Edge()
        await edge.tunnels.reconcile()
        assert list(edge.driver.sights) == [NAME]
        assert edge.driver.clamped == (NAME,)
        first = edge.told
        await edge.tunnels.reconcile()
        assert edge.told == first
        edge.restart()
        await edge.tunnels.reconcile()
        assert edge.told == [], "a new agent finds all as it wants it"
        del edge.driver.sights[NAME]
        await edge.tunnels.reconcile()
        assert any(sentence.startswith(f"made {NAME}") for sentence in edge.told)

    run_virtual(story())


def test_a_tunnel_that_the_platform_has_no_more_is_deleted() -> None:
    async def story() -> None:
        edge = Edge()
        await edge.tunnels.reconcile()
        edge.restart()
        edge.tunnels.want(dataclasses.replace(SMALL, links=()), "fra-e1")
        await edge.tunnels.reconcile()
        assert edge.driver.sights == {}
        assert not edge.driver.clamped
        assert not edge.problems.sentences

    run_virtual(story())


def test_a_tunnel_gives_its_name_to_the_direct_link_that_replaces_it() -> None:
    async def story() -> None:
        edge = Edge()
        await edge.tunnels.reconcile()
        edge.tunnels.want(SMALL, "fra-e1")
        assert SMALL.links[0].interface_at("fra-e1") == NAME
        await edge.tunnels.reconcile()
        assert edge.driver.sights == {}

    run_virtual(story())


def test_a_wireguard_interface_of_others_that_a_session_or_link_runs_over_stays() -> None:
    (peer, *_), (link, *_) = SMALL.peers, SMALL.links
    session = dataclasses.replace(peer.sessions[0], edge="fra-e1", interface="bb-office")
    outside = dataclasses.replace(peer, sessions=(session,))
    direct = dataclasses.replace(link, interfaces=())
    uses = dataclasses.replace(SMALL, peers=(outside,), links=(direct,))

    async def story() -> None:
        edge = Edge()
        theirs = Sight(key="theirs", port=51820, peers=())
        edge.tunnels = Tunnels(
            edge.driver, edge.clock, edge.journal, edge.problems, Frost(lambda: False), PERIOD
        )
        edge.driver.sights = {"bb-office": theirs, NAME: theirs, "bb-old": theirs}
        edge.tunnels.want(uses, "fra-e1")
        await edge.tunnels.reconcile()
        assert edge.driver.sights == {"bb-office": theirs, NAME: theirs}
        # Who no more runs over it lets it be, too.
        edge.tunnels.want(TUNNELED, "fra-e1")
        await edge.tunnels.reconcile()
        assert edge.driver.sights["bb-office"] == theirs

    run_virtual(story())


def test_what_cannot_be_made_is_a_problem_and_the_rest_goes_on() -> None:
    async def story() -> None:
        edge = Edge()
        edge.driver.refuses = "no WireGuard anywhere"
        await edge.tunnels.reconcile()
        assert edge.problems.sentences == (f"tunnel {NAME}: no WireGuard anywhere",)
        edge.driver.refuses = ""
        await edge.tunnels.reconcile()
        assert not edge.problems.sentences

    run_virtual(story())


def test_a_far_end_that_does_not_answer_is_a_problem() -> None:
    async def story() -> None:
        edge = await edge_within_an_epoch()

        async def time_passes() -> None:
            await edge.clock.sleep(60)
            assert edge.problems.sentences == (
                f"handshake {NAME}: no answer from ams-e1 at 192.0.2.2",
            )
            assert len(edge.told) == 2
            edge.driver.handshake(NAME, int(edge.clock.unix_ms() / 1000))
            await edge.clock.sleep(5)
            assert not edge.problems.sentences

        await run_beside(time_passes(), edge.tunnels.run())

    run_virtual(story())


def test_nothing_is_touched_while_frozen() -> None:
    async def story() -> None:
        edge = Edge()
        edge.frozen = True
        await edge.tunnels.reconcile()
        assert edge.driver.sights == {}

    run_virtual(story())


def test_keys_change_at_the_instant_and_go_back_if_nobody_answers() -> None:
    async def story() -> None:
        edge = await edge_within_an_epoch()
        clock = edge.clock

        async def time_passes() -> None:
            await edge.tunnels.reconcile()
            newest = int(clock.unix_ms() / 1000) // PERIOD
            epochs = range(newest - 3, newest + 4)
            assert epoch_of(edge, epochs) == newest
            change = (newest + 1) * PERIOD
            while (left := change - 0.1 - clock.unix_ms() / 1000) > 0:
                edge.driver.handshake(NAME, int(clock.unix_ms() / 1000))
                await clock.sleep(min(100, left))
            assert epoch_of(edge, epochs) == newest
            await clock.sleep(0.2 + LATER_SECONDS)
            assert epoch_of(edge, epochs) == newest + 1
            await clock.sleep(15)
            assert epoch_of(edge, epochs) == newest
            edge.driver.handshake(NAME, int(clock.unix_ms() / 1000))
            await clock.sleep(30)
            assert epoch_of(edge, epochs) == newest
            assert len(edge.told) == 3, "made, fitted, changed; a search is no news"

        await run_beside(time_passes(), edge.tunnels.run())

    run_virtual(story())


def test_the_two_ends_of_a_link_do_not_change_their_keys_at_once() -> None:
    async def changes_after(name: str) -> float:
        edge = await edge_within_an_epoch(name)
        clock = edge.clock
        changed: list[float] = []

        async def time_passes() -> None:
            await edge.tunnels.reconcile()
            newest = int(clock.unix_ms() / 1000) // PERIOD
            epochs = range(newest, newest + 2)
            change = (newest + 1) * PERIOD
            edge.driver.handshake(tunnels_of(TUNNELED, name)[0].interface, change - 90)
            await clock.sleep(change - 1 - clock.unix_ms() / 1000)
            while epoch_of(edge, epochs) == newest:
                await clock.sleep(0.01)
            changed.append(clock.unix_ms() / 1000 - change)

        await run_beside(time_passes(), edge.tunnels.run())
        return changed[0]

    first, later = (run_virtual(changes_after(name)) for name in ("ams-e1", "fra-e1"))
    assert 0 <= first < 0.02
    assert LATER_SECONDS <= later < LATER_SECONDS + 0.02
    assert later - first > 0.1


def test_keys_differ_by_machine_link_epoch_and_secret_and_both_ends_agree() -> None:
    ours, theirs = (tunnels_of(TUNNELED, name)[0] for name in ("fra-e1", "ams-e1"))
    keys = tunnel_keys(SECRET, "fra-e1", ours, 7)
    mirrored = tunnel_keys(SECRET, "ams-e1", theirs, 7)
    assert (keys.ours, keys.theirs) == (mirrored.theirs, mirrored.ours)
    other_link = dataclasses.replace(ours, link="x")
    assert (
        len(
            {
                keys.ours,
                keys.theirs,
                tunnel_keys(SECRET, "fra-e1", ours, 8).ours,
                tunnel_keys(SECRET, "fra-e1", other_link, 7).ours,
                tunnel_keys(b"1" * 32, "fra-e1", ours, 7).ours,
            }
        )
        == 5
    )
    assert keys.ours not in repr(keys)
