"""How an agent keeps its certificate, and that nothing else depends on it."""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from pltfrms.agent.control.certificate import Certificate, Makers
from pltfrms.agent.identity import conversations
from pltfrms.drivers.clock import SystemClock
from pltfrms.drivers.controlplane.agent_client import HttpControlPlane
from pltfrms.drivers.identity.files import IdentityFile
from pltfrms.errors import UnavailableError
from pltfrms.model.identity.lives import DAY_MS
from pltfrms.model.identity.words import (
    Certified,
    NonceReply,
    RenewalAsk,
    ReturnAsk,
    controllers_server_name,
)
from pltfrms.model.messages.api import Heartbeat
from pltfrms.model.network.topology import FurtherRole, Role, controller_url
from pltfrms.model.running.plan import Target
from pltfrms.model.running.state import MachineStatus
from tests.drivers.identity.authority import Office
from tests.strategies import make_platform

NOW_MS = 1_900_000_000_000
PLATFORM = make_platform({"fra": 2})
CONTROLLERS = PLATFORM.machines_of(Role.CONTROLLER)


class SetClock(SystemClock):
    """A wall clock that tests set."""

    def __init__(self) -> None:
        self.now_ms = NOW_MS

    def unix_ms(self) -> int:
        return self.now_ms


@dataclass
class Desk:
    """Controllers that make certificates, or do not answer; notes what was asked."""

    office: Office
    away: bool = False
    controller: bool = False
    """Whether who asks is one, by what controllers know."""
    asked: list[str] = field(default_factory=list)

    async def renew(self, ask: RenewalAsk) -> Certified:
        return self._made("renew", ask)

    async def nonce(self, machine: str) -> NonceReply:
        self.asked.append("nonce")
        if self.away:
            raise UnavailableError("no controller answers")
        return NonceReply(nonce=f"nonce of {machine}")

    async def give_back(self, ask: ReturnAsk) -> Certified:
        assert ask.signature == f"signed: pltfrms return fra-n1 {ask.nonce}"
        return self._made("return", ask)

    def _made(self, what: str, ask: RenewalAsk | ReturnAsk) -> Certified:
        self.asked.append(what)
        if self.away:
            raise UnavailableError("no controller answers")
        return self.office.signer.issue(ask.request, ask.machine, 1, controller=self.controller)


class Table:
    """A machine's certificate, 30 days long from `NOW_MS` on, and who may renew it."""

    def __init__(self, state: Path) -> None:
        self.clock = SetClock()
        self.office = Office(PLATFORM.name, NOW_MS)
        self.file = self.office.identity(state, "fra-n1")
        self.desk = Desk(self.office)
        self.changes = 0
        self.signers = {"fra-c1 authority"}
        self.name = ""
        makers = Makers(
            known=self.desk,
            stranger=self.desk,
            signs=lambda each: each in self.signers,
            name=lambda: self.name,
        )
        self.certificate = Certificate(self.file, self.clock, makers, self._sign, self._changed)

    async def _sign(self, key: str, text: str) -> str:
        assert key.startswith("-----BEGIN PRIVATE KEY-----")
        return f"signed: {text}"

    def _changed(self) -> None:
        self.changes += 1

    def look(self, days: float) -> list[str]:
        """Look so long after the certificate was made; return what controllers were asked."""
        self.clock.now_ms = NOW_MS + int(days * DAY_MS)
        self.desk.asked.clear()
        asyncio.run(self.certificate.look())
        return self.desk.asked


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table(tmp_path)


def test_a_young_certificate_is_left_alone(table: Table) -> None:
    assert table.look(0) == table.look(9) == []
    assert table.changes == 0


def test_an_older_one_is_renewed_and_shown(table: Table) -> None:
    table.office.now_ms += 22 * DAY_MS
    assert table.look(22) == ["renew"]
    assert table.changes == 1
    assert table.look(22) == []


def test_after_two_months_without_controllers_it_comes_back_by_its_key(table: Table) -> None:
    table.desk.away = True
    for day in (21, 29, 31, 60):
        before = table.file.path.read_bytes()
        with pytest.raises(UnavailableError, match="no controller answers"):
            table.look(day)
        assert table.file.path.read_bytes() == before
    table.desk.away = False
    table.office.now_ms += 61 * DAY_MS
    assert table.look(61) == ["nonce", "return"]
    assert table.file.read().life.holds(table.clock.now_ms)


def test_in_1970_nobody_is_asked_and_the_clock_is_named(table: Table) -> None:
    with pytest.raises(UnavailableError, match="have it follow NTP"):
        table.look(-NOW_MS / DAY_MS)
    assert table.desk.asked == []


def test_ten_years_ahead_what_controllers_make_by_their_clock_is_kept(table: Table) -> None:
    assert table.look(3650) == ["nonce", "return"]
    assert table.look(0) == []


def test_what_a_controller_ahead_of_time_makes_does_not_replace_a_good_one(
    table: Table,
) -> None:
    before = table.file.path.read_bytes()
    table.office.now_ms = NOW_MS + 34 * DAY_MS
    with pytest.raises(UnavailableError, match="not good now"):
        table.look(22)
    assert table.file.path.read_bytes() == before
    table.office.now_ms = NOW_MS + 22 * DAY_MS
    assert table.look(22) == ["renew"]


def test_a_certificate_that_somebody_else_renewed_is_shown(table: Table) -> None:
    own = table.file.read()
    made = table.office.signer.issue(own.request, "fra-n1", 1, controller=False)
    table.file.renew(made, NOW_MS)
    assert table.look(0) == []
    assert table.changes == 1


def test_a_certificate_of_an_authority_that_is_gone_is_renewed_at_once(table: Table) -> None:
    assert table.look(1) == []
    table.signers = {"fra-c2 authority"}
    table.office.sign_as("fra-c2")
    assert table.look(1) == ["renew"]
    assert table.file.issuer() == "fra-c2 authority"
    assert table.look(1) == []


def test_who_becomes_a_controller_has_the_name_of_controllers_at_once(table: Table) -> None:
    assert table.look(1) == []
    table.name = controllers_server_name(PLATFORM.name)
    assert table.look(1) == ["renew"], "whom it asks may not know yet"
    table.desk.controller = True
    assert table.look(1) == ["renew"]
    assert table.look(1) == []


# ---- how the machine speaks ----------------------------------------------------------------


def test_a_machine_without_an_identity_speaks_as_before(tmp_path: Path) -> None:
    talk = conversations(IdentityFile(tmp_path), PLATFORM, "fra-n1")
    assert isinstance(talk.control_plane, HttpControlPlane)
    assert (talk.certificate, talk.glass) == (None, None)
    assert all(url.startswith("http://") for url in talk.control_plane._controllers)


@pytest.mark.parametrize("known", [False, True])
def test_it_asks_the_controllers_that_the_platform_has_now(
    tmp_path: Path, *, known: bool
) -> None:
    file = Office(PLATFORM.name, NOW_MS).identity(tmp_path, "fra-n1")
    talk = conversations(file if known else IdentityFile(tmp_path / "no"), PLATFORM, "fra-n1")
    old = CONTROLLERS[0]
    new = replace(old, name="fra-c9", id=9)
    others = tuple(each for each in PLATFORM.machines if each.name != old.name)
    talk.follow(replace(PLATFORM, machines=(*others, new)))
    assert isinstance(talk.control_plane, HttpControlPlane)
    order = talk.control_plane._failover.order()
    url = controller_url(PLATFORM, new, secure=known)
    assert url in order
    assert controller_url(PLATFORM, old, secure=known) not in order
    tls = talk.control_plane._controllers[url]._tls
    expected = f"fra-c9.machine.{PLATFORM.name}.pltfrms.internal" if known else ""
    assert (tls.name if tls else "") == expected
    talk.follow(replace(PLATFORM, machines=(*others, replace(new, name="fra-c10"))))
    tls = talk.control_plane._controllers[url]._tls
    assert (tls.name if tls else "") == expected.replace("c9", "c10"), "the same address"


@pytest.mark.parametrize("known", [False, True])
def test_it_also_asks_the_controllers_that_it_was_told_of_until_it_hears(
    tmp_path: Path, *, known: bool
) -> None:
    """All controllers of its last target may be gone since."""
    place = tmp_path if known else tmp_path / "no"
    office = Office(PLATFORM.name, NOW_MS)
    file = office.identity(tmp_path, "fra-n1")
    plain = tuple(each for each in PLATFORM.machines if each not in CONTROLLERS)
    new = replace(CONTROLLERS[0], name="fra-c9", id=9)
    told = replace(PLATFORM, machines=(*plain, new))
    talk = conversations(IdentityFile(place), PLATFORM, "fra-n1", told)
    assert isinstance(talk.control_plane, HttpControlPlane)
    urls = [controller_url(PLATFORM, each, secure=known) for each in (*CONTROLLERS, new)]
    assert set(talk.control_plane._failover.order()) == set(urls)
    if talk.certificate:
        office.sign_as("fra-c9")
        own = file.read()
        file.renew(office.signer.issue(own.request, "fra-n1", 1, controller=False), NOW_MS)
        assert talk.certificate._makers.signs("fra-c9 authority")
        assert talk.certificate._makers.signs("fra-c1 authority")
        assert not talk.certificate._makers.signs("fra-c8 authority")
    talk.follow(PLATFORM)
    assert set(talk.control_plane._failover.order()) == set(urls[:-1])
    if talk.certificate:
        assert not talk.certificate._makers.signs("fra-c9 authority")


def test_it_expects_the_name_of_controllers_while_it_is_one(tmp_path: Path) -> None:
    file = Office(PLATFORM.name, NOW_MS).identity(tmp_path, "fra-n1")
    talk = conversations(file, PLATFORM, "fra-n1")
    assert talk.certificate
    assert talk.certificate._makers.name() == ""
    node = PLATFORM.machine("fra-n1")
    both = replace(node, further=(FurtherRole(role=Role.CONTROLLER, id=9),))
    talk.follow(replace(PLATFORM, machines=(*CONTROLLERS, both)))
    assert talk.certificate._makers.name() == controllers_server_name(PLATFORM.name)


def test_a_machine_with_an_identity_speaks_by_tls_alone(tmp_path: Path) -> None:
    file = Office(PLATFORM.name, NOW_MS).identity(tmp_path, "fra-n1")
    talk = conversations(file, PLATFORM, "fra-n1")
    assert isinstance(talk.control_plane, HttpControlPlane)
    lines = talk.control_plane._controllers
    assert all(url.startswith("https://") for url in lines)
    assert {each._tls.name for each in lines.values() if each._tls} == {
        f"{each.name}.machine.{PLATFORM.name}.pltfrms.internal" for each in CONTROLLERS
    }
    assert talk.glass
    assert talk.glass.verify_mode is ssl.CERT_REQUIRED
    assert talk.glass.minimum_version is ssl.TLSVersion.TLSv1_3


def _readable(file: IdentityFile) -> None:
    file.path.chmod(0o644)


def _torn(file: IdentityFile) -> None:
    file.path.write_text(file.path.read_text()[:900])


@pytest.mark.parametrize("spoil", [_readable, _torn])
def test_a_machine_whose_identity_is_spoilt_goes_on_and_speaks_with_nobody(
    tmp_path: Path, spoil: Callable[[IdentityFile], None]
) -> None:
    file = Office(PLATFORM.name, NOW_MS).identity(tmp_path, "fra-n1")
    spoil(file)
    talk = conversations(file, PLATFORM, "fra-n1")
    current = Target(machine="fra-n1", generation=3, platform=PLATFORM)

    async def scenario() -> None:
        beat = Heartbeat(status=MachineStatus(machine="fra-n1"))
        with pytest.raises(UnavailableError, match=r"chmod 600|join again"):
            await talk.control_plane.heartbeat(beat)
        with pytest.raises(UnavailableError, match=r"chmod 600|join again"):
            await talk.control_plane.target(current, 3, 0)
        await talk.control_plane.close()

    asyncio.run(scenario())
    assert talk.glass
    assert talk.certificate
