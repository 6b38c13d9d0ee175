"""Three hosters and a client outside, for machines of examples/three-servers.

One namespace with one BIRD is all hosters: it speaks with each server over two hops, sends a
default route, and takes the way through the first hoster where it may choose.
"""

import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.machines.bed import Machine, Namespace, cable, eventually

SITES = {"fra1": 1, "ams1": 2, "lon1": 3}
_CLIENT = ("198.18.1.1/24", "198.18.1.2/24")
_HEAD = """router id 192.0.2.100;
protocol device { scan time 1; }
protocol direct { ipv4; ipv6; }
protocol bfd { multihop { interval 200 ms; multiplier 6; }; }
protocol static default4 { ipv4 { preference 1; }; route 0.0.0.0/0 unreachable; }
protocol static default6 { ipv6 { preference 1; }; route ::/0 unreachable; }
protocol kernel kernel4 { ipv4 { import none; export where source = RTS_BGP; }; }
protocol kernel kernel6 { ipv6 { import none; export where source = RTS_BGP; }; }
"""
_SESSION = """protocol bgp site%(id)d_%(family)d {
  local %(ours)s as %(asn)d;
  neighbor %(theirs)s as 64500;
  multihop 2;
  local role provider;
  bfd on;
  connect retry time 2;
  error wait time 1, 2;
  ipv%(family)d {
    import filter { bgp_local_pref = %(preference)d; accept; };
    export where net.len = 0;
  };
}
"""


class Internet:
    """The hosters, and a client."""

    def __init__(self, directory: Path) -> None:
        """Begin; machines are connected by `connect`."""
        self._hosters, self.client = Namespace(), Namespace()
        cable(self._hosters, "to-client", self.client, "eth0")
        near, far = _CLIENT
        self._hosters.run("ip", "address", "add", near, "dev", "to-client")
        self.client.run("ip", "address", "add", far, "dev", "eth0")
        self.client.run("ip", "route", "add", "default", "via", near.partition("/")[0])
        words = ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        self._hosters.run("sysctl", "-qw", *words)
        self._hosters.run("ip", "link", "set", "lo", "up")
        for number in SITES.values():
            for address in (f"192.0.2.{number}/32", f"2001:db8:f000::{number}/128"):
                self._hosters.run("ip", "address", "add", address, "dev", "lo")
        config, socket = directory / "hosters.conf", directory / "hosters.ctl"
        config.write_text(_HEAD + "".join(map(_sessions, SITES.values())))
        command = self._hosters.enter("bird", "-f", "-c", str(config), "-s", str(socket))
        self._bird = subprocess.Popen(command)
        eventually(socket.exists, "the hosters' BIRD does not run")

    def connect(self, machine: Machine) -> None:
        """Give a machine that has booted its line, its address and a default route."""
        number = SITES[machine.name]
        port = f"to-{machine.name}"
        self._sh(f"ip link delete {port} 2>/dev/null || true")
        cable(self._hosters, port, machine, "eth0")
        four, six = f"203.0.{112 + number}", f"2001:db8:f00{number}:"
        self._sh(
            f"ip address add {four}.1/24 dev {port}; ip address add {six}:1/64 dev {port} nodad"
        )
        machine.sh(
            f"ip address add {four}.10/24 dev eth0; ip route add default via {four}.1; "
            f"ip address add {six}:10/64 dev eth0 nodad; ip route add default via {six}:1"
        )

    def _sh(self, script: str) -> None:
        self._hosters.run("sh", "-euc", script)

    def end(self) -> None:
        """End it."""
        self._bird.kill()
        self._bird.wait()
        self._hosters.end()
        self.client.end()


def _sessions(number: int) -> str:
    of: Mapping[int, tuple[str, str]] = {
        4: (f"192.0.2.{number}", f"203.0.{112 + number}.10"),
        6: (f"2001:db8:f000::{number}", f"2001:db8:f00{number}::10"),
    }
    return "".join(
        _SESSION
        % {
            "id": number,
            "family": family,
            "ours": ours,
            "theirs": theirs,
            "asn": 64600 + number,
            "preference": 200 - number,
        }
        for family, (ours, theirs) in of.items()
    )
