"""The rig of `bench/balancer.py`: servers, one edge, and ways to spread the load there."""

import json
import os
import time
from pathlib import Path

from tests.balancer.flows import STREAM_PORT
from tests.balancer.layout import EDGE_PORT, FABRIC, WEB, Instance, addresses
from tests.balancer.rig import Rig

HTTP_PORT = 80
SERVERS = 4
"""Instances behind the load of the first table."""
EDGE = "edge1"
ALL_CPUS = os.sched_getaffinity(0)
EDGE_CPU = min(ALL_CPUS)
OTHER_CPUS = ALL_CPUS - {EDGE_CPU}
_RECEIVE_ON = """
mkdir -p /run/sys; mount -t sysfs none /run/sys
for each in /run/sys/class/net/*/queues/rx-0/rps_cpus; do echo {mask:x} >$each; done
"""
_FORWARD_IN_THREADS = """
for each in {devices}; do
    ethtool -K $each gro on
    echo 1 >/run/sys/class/net/$each/threaded
done
"""
_LARGE_BYTES = 10_240
_NO_WAITING = {"net/ipv4/tcp_max_tw_buckets": "0"}
"""Ended connections would occupy the client's ports: finding a free one takes longer each time,
until there is none."""
_NGINX = """
daemon off; worker_processes 1; pid /run/nginx-{name}.pid; error_log /dev/null;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 10000000;
  sendfile on; open_file_cache max=10;
  server {{
    listen 80 reuseport; listen [::]:80 ipv6only=on reuseport;
    location = / {{ return 200 "ok"; }}
    location = /large {{ alias /run/large; }}
  }}
}}
"""
_HAPROXY = """
global
  maxconn 8000
  nbthread {threads}
defaults
  mode tcp
  balance roundrobin
  timeout connect 2s
  timeout client 30s
  timeout server 30s
"""


class Site:
    """The rig, and ways to spread the load in it."""

    def __init__(self, made: Rig) -> None:
        """Start the servers."""
        self.rig = made
        self._pinned: tuple[str, ...] = ()
        self.instances = made.add_instances(made.nodes)
        self._edge = made.hosts[EDGE]
        self._haproxy = 0
        servers = [each.server for each in self.instances[:SERVERS]]
        for actor in (made.client, self._edge, *servers):
            actor.call("sysctls", _NO_WAITING)
        Path("/run/large").write_bytes(bytes(_LARGE_BYTES))
        for instance in self.instances[:SERVERS]:
            file = Path(f"/run/nginx-{instance.name}.conf")
            file.write_text(_NGINX.format(name=instance.name))
            instance.server.call("spawn", "nginx", "-c", str(file))
        made.start_director()
        made.detach_director()

    def serve_with(self, count: int) -> None:
        """Have so many instances ready."""
        for number, instance in enumerate(self.instances):
            instance.ready = number < count

    def separate_edge(self) -> None:
        """Let the edge work on a core of its own, and nobody else there."""
        for actor in self.rig.actors():
            cpus = {EDGE_CPU} if actor is self._edge else OTHER_CPUS
            script = _RECEIVE_ON.format(mask=sum(1 << cpu for cpu in cpus))
            actor.call("run", "unshare", "--mount", "sh", "-ec", script)
        self._pinned = ("taskset", "--cpu-list", str(EDGE_CPU))

    def forward_in_threads(self) -> None:
        """Let the edge take packets in threads of the kernel, after `separate_edge`.

        A veth does that for senders that do not leave the segmenting to it.
        """
        names = f"{EDGE_PORT} {FABRIC}"
        script = _RECEIVE_ON.format(mask=1 << EDGE_CPU)
        script += _FORWARD_IN_THREADS.format(devices=names)
        self._edge.call("run", "unshare", "--mount", "sh", "-ec", script)
        for actor, far_end in self.rig.far_ends(EDGE):
            for feature in ("tso", "tx-tcp-mangleid-segmentation"):
                actor.call("run", "ethtool", "-K", far_end, feature, "off")

    def enter(self, mode: str) -> None:
        """Let this spread the load over the instances that are ready."""
        self.rig.directed = mode == "director"
        self.rig.apply()
        if mode == "haproxy":
            self._start_haproxy()
        if mode == "nft":
            self._edge.call("run", "nft", "-f", "-", stdin=self._nft_text())

    def leave(self, mode: str) -> None:
        """Undo `enter`."""
        if mode == "haproxy":
            self._edge.call("run", "kill", str(self._haproxy))
            self._wait_for_haproxy(listening=False)
            self._edge.call("ip", [f"addr del {each} dev lo" for each in WEB.prefixes])
        if mode == "nft":
            self._edge.call("run", "nft", "delete", "table", "netdev", "spread")

    def _ready(self) -> list[Instance]:
        return [each for each in self.instances if each.ready]

    def _start_haproxy(self) -> None:
        text = _HAPROXY.format(threads=1 if self._pinned else len(ALL_CPUS))
        for port in (HTTP_PORT, STREAM_PORT):
            text += f"listen p{port}\n"
            text += "".join(f"  bind {each}:{port}\n" for each in addresses(WEB))
            for one in self._ready():
                text += f"  server {one.name} [{one.address}]:{port}\n"
        file = Path("/run/haproxy.cfg")
        file.write_text(text)
        self._edge.call("ip", [f"addr add {each} dev lo" for each in WEB.prefixes])
        self._haproxy = self._edge.call(
            "spawn", *self._pinned, "haproxy", "-db", "-f", str(file)
        )
        self._wait_for_haproxy()

    def _wait_for_haproxy(self, *, listening: bool = True) -> None:
        deadline = time.monotonic() + 5
        listens = ("ss", "-Hltn", f"sport = {STREAM_PORT}")
        while bool(self._edge.call("run", *listens)) is not listening:
            if time.monotonic() > deadline:
                raise RuntimeError(f"haproxy {'does not listen' if listening else 'goes on'}")
            time.sleep(0.05)

    def _nft_text(self) -> str:
        macs = [self._mac(each) for each in self._ready()]
        table = ", ".join(f"{number} : {mac}" for number, mac in enumerate(macs))
        rules = [
            f"{family} daddr {address} ether daddr set jhash {family} saddr . th sport"
            f' mod {len(macs)} seed 1 map {{ {table} }} fwd to "{FABRIC}"'
            for family, address in zip(("ip", "ip6"), addresses(WEB), strict=True)
        ]
        hook = f'type filter hook ingress device "{EDGE_PORT}" priority 0;'
        body = "\n".join(rules)
        return f"table netdev spread {{\nchain in {{\n{hook}\n{body}\n}}\n}}"

    def _mac(self, instance: Instance) -> str:
        host = self.rig.hosts[instance.node.name]
        links = json.loads(host.call("run", "ip", "-j", "link", "show", FABRIC))
        mac: str = links[0]["address"]
        return mac
