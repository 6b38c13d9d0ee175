"""What runs on a machine of the emulated internet: its BGP daemon, and what that needs."""

import json
from collections.abc import Iterable, Mapping

from pltfrms.lab.parts import Unit
from pltfrms.model.network.lab import Daemon, Lab, LabRoa
from pltfrms.model.network.peering import RtrCache
from pltfrms.model.network.topology import Platform
from pltfrms.render.emulated.internet import FRR_DISCARD, render_companions, render_internet
from pltfrms.render.external import render_external_daemons

BIRD_CONFIG = "/run/pltfrms/bird.conf"
BIRD_SOCKET = "/run/pltfrms/bird.ctl"
ROAS_FILE = "/etc/pltfrms/roas.json"

BIRD = Unit(
    name="bird",
    command=("bird", "-f", "-c", BIRD_CONFIG, "-s", BIRD_SOCKET),
    needs=BIRD_CONFIG,
    runs_first=True,
)
_FRR_CONFIG = "/run/pltfrms/frr-{}.conf"
_FRR_ZEBRA_SOCKET = "/run/frr/zserv.api"
_GOBGP_CONFIG = "/run/pltfrms/gobgp.toml"
_OPENBGPD_CONFIG = "/run/pltfrms/openbgpd.conf"


def _frr(daemon: str, *options: str, needs: str = _FRR_ZEBRA_SOCKET) -> Unit:
    command = (f"/usr/lib/frr/{daemon}", "-f", _FRR_CONFIG.format(daemon), "--log", "stdout")
    return Unit(name=daemon, command=(*command, *options), needs=needs)


def _end(names: str) -> tuple[str, ...]:
    """Return the command that ends daemons; one that does not run reads its files anyway."""
    return ("sh", "-c", f"pkill -x '{names}' || [ $? = 1 ]")


_UNITS: Mapping[Daemon, tuple[Unit, ...]] = {
    Daemon.BIRD: (BIRD,),
    # zebra writes the kernel's routes, bfdd speaks BFD; -P 0: no terminal over TCP.
    Daemon.FRR: (
        _frr("zebra", "-P", "0", needs=""),
        _frr("bfdd", "-P", "0"),
        _frr("bgpd", "-P", "0"),
    ),
    Daemon.GOBGP: (
        Unit(
            name="gobgpd",
            command=("gobgpd", "-f", _GOBGP_CONFIG, "-p", "--pprof-disable"),
        ),
    ),
    Daemon.OPENBGPD: (
        Unit(name="openbgpd", command=("/usr/sbin/bgpd", "-d", "-f", _OPENBGPD_CONFIG)),
    ),
}
_CONFIG: Mapping[Daemon, str] = {
    Daemon.BIRD: BIRD_CONFIG,
    Daemon.FRR: _FRR_CONFIG.format("bgpd"),
    Daemon.GOBGP: _GOBGP_CONFIG,
    Daemon.OPENBGPD: _OPENBGPD_CONFIG,
}
_PREPARE: Mapping[Daemon, tuple[tuple[str, ...], ...]] = {
    # FRR drops its privileges before it makes its sockets there.
    Daemon.FRR: (
        ("install", "-d", "-o", "frr", "-g", "frr", "/run/frr"),
        *(("ip", "route", "add", "blackhole", address) for address in FRR_DISCARD.values()),
    ),
    # OpenBGPD refuses a text with passwords that others may read, and jails itself there.
    Daemon.OPENBGPD: (
        ("chmod", "600", _OPENBGPD_CONFIG),
        ("install", "-d", "/run/openbgpd"),
    ),
}
# BIRD keeps the sessions that are not changed; the others begin anew, restarted as on failure.
_RELOAD: Mapping[Daemon, tuple[str, ...]] = {
    Daemon.BIRD: ("birdc", "-s", BIRD_SOCKET, "configure"),
    Daemon.FRR: _end("zebra|bfdd|bgpd"),
    Daemon.GOBGP: _end("gobgpd"),
    Daemon.OPENBGPD: _end("bgpd"),
}


def speaker_units(daemon: Daemon) -> tuple[Unit, ...]:
    """Return the units of a machine where this daemon speaks BGP."""
    return _UNITS[daemon]


def speaker_files(platform: Platform, lab: Lab, machine: str) -> tuple[tuple[str, str], ...]:
    """Return the configuration files (path, text) of a machine of the emulated internet."""
    companions = render_companions(platform, lab, machine)
    return (
        (_CONFIG[lab.daemon(machine)], render_internet(platform, lab, machine)),
        *((_FRR_CONFIG.format(name), text) for name, text in companions.items()),
    )


def external_files(platform: Platform, machine: str) -> tuple[tuple[str, str], ...]:
    """Return the configuration files (path, text) of an edge that others manage: FRR's."""
    texts = render_external_daemons(platform, machine)
    return tuple((_FRR_CONFIG.format(daemon), text) for daemon, text in texts.items())


def speaker_preparations(daemon: Daemon) -> tuple[tuple[str, ...], ...]:
    """Return the commands that a machine runs at boot before this daemon starts."""
    return _PREPARE.get(daemon, ())


def speaker_reload(daemon: Daemon) -> tuple[str, ...]:
    """Return the command by which this daemon takes changed configuration files."""
    return _RELOAD[daemon]


def rtr_unit(cache: RtrCache) -> Unit:
    """Return the unit that tells routers the ROAs of `ROAS_FILE`.

    It listens on every address, because the agent sets the one that routers ask only later.
    """
    options = ("-checktime=false", "-log.verbose=false", "-metrics.addr", "")
    command = ("stayrtr", "-bind", f":{cache.port}", "-cache", ROAS_FILE, *options)
    return Unit(name="stayrtr", command=command, needs=ROAS_FILE)


def roas_text(roas: Iterable[LabRoa]) -> str:
    """Return ROAs in the JSON that validators export and RTR caches read."""
    listed = [
        {"prefix": str(roa.prefix), "maxLength": roa.max_length, "asn": f"AS{roa.asn}"}
        for roa in roas
    ]
    return json.dumps({"metadata": {}, "roas": listed}, indent=1) + "\n"
