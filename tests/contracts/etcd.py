"""A real etcd cluster on loopback, for tests."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from ipaddress import IPv4Address
from pathlib import Path
from urllib.parse import urlsplit

from pltfrms.drivers.identity.store_files import StoreFiles
from pltfrms.drivers.store.posts import Tls
from pltfrms.render.etcd import StoreFaces, by_tls

USER = 20_000


def free_ports(count: int) -> list[int]:
    """Return TCP ports of 127.0.0.1 that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]


def store_files(state: Path) -> StoreFiles:
    """Return what members show that answer on loopback."""
    files = StoreFiles(state)
    files.begin("example")
    files.furnish_member("m", tuple(IPv4Address(f"127.0.0.{last}") for last in (1, 2, 3)))
    return files


class EtcdCluster:
    """Three members; any can be killed, frozen and thawed."""

    def __init__(
        self,
        directory: Path,
        size: int = 3,
        quota_bytes: int = 0,
        program: str = "etcd",
        *,
        files: StoreFiles | None = None,
    ) -> None:
        """Speak by TLS if there are files."""
        ports = free_ports(2 * size)
        self.files = files
        self.scheme = "https" if files else "http"
        self.endpoints = tuple(f"{self.scheme}://127.0.0.1:{port}" for port in ports[:size])
        self._peers = tuple(f"{self.scheme}://127.0.0.1:{port}" for port in ports[size:])
        self.directory = directory
        self.tls: Tls | None = files.context if files else None
        self._quota_bytes = quota_bytes
        self._program = program
        self.as_users = False
        """Each member as a user of its own, `USER` and on, so that nftables tell them apart."""
        self._members: list[subprocess.Popen[bytes]] = []

    @property
    def peers(self) -> tuple[str, ...]:
        return self._peers

    def secure(self, files: StoreFiles) -> None:
        """Have members that start from now on speak by TLS."""
        self.files, self.tls, self.scheme = files, files.context, "https"
        self.endpoints = tuple(each.replace("http:", "https:") for each in self.endpoints)
        self._peers = tuple(each.replace("http:", "https:") for each in self._peers)

    def spread(self) -> None:
        """Have members reach each other at an address of each."""
        self._peers = tuple(
            each.replace("127.0.0.1", f"127.0.0.{number + 1}")
            for number, each in enumerate(self._peers)
        )

    def settle(self, *peers: str) -> None:
        """Have members reach each other where a platform's do; in a network of one's own."""
        for peer in peers:
            address = f"{urlsplit(peer).hostname}/128"
            words = ("ip", "address", "add", address, "dev", "lo", "nodad")
            subprocess.run(words, check=True, timeout=10)
        self._peers = peers

    def start(self) -> None:
        for number in range(len(self.endpoints)):
            self._members.append(self._start_member(number))
        deadline = time.monotonic() + 30
        while not all(_healthy(endpoint, self.tls) for endpoint in self.endpoints):
            if time.monotonic() > deadline:
                raise TimeoutError(f"etcd has not started, see {self.directory}")
            time.sleep(0.05)

    def join(self, peer: str) -> None:
        """Start the member that was added for `peer`, with all that were there at first."""
        number = len(self._members)
        (client,) = (f"{self.scheme}://127.0.0.1:{port}" for port in free_ports(1))
        self.endpoints, self._peers = (*self.endpoints, client), (*self._peers, peer)
        self._members.append(self._start_member(number, "existing"))

    def kill(self, number: int) -> None:
        self._members[number].kill()
        self._members[number].wait()

    def end(self, number: int) -> None:
        """End a member as a service manager does: what it knows is on its disk then."""
        self._members[number].terminate()
        self._members[number].wait()

    def lose(self, number: int) -> None:
        """Lose the disk of a member that was killed."""
        shutil.rmtree(self.directory / f"m{number}")

    def wait_for_end(self, number: int) -> None:
        """Wait until a member has ended by itself."""
        self._members[number].wait(timeout=60)

    def has_ended(self, number: int) -> bool:
        """Whether a member has ended, by itself or not."""
        return self._members[number].poll() is not None

    def start_again(self, number: int, *, wait: bool = True) -> None:
        """Start a member that has ended, with its data, and wait until it answers."""
        self._members[number] = self._start_member(number, "existing")
        if not wait:
            return
        deadline = time.monotonic() + 30
        while not _healthy(self.endpoints[number], self.tls):
            if time.monotonic() > deadline:
                raise TimeoutError(f"member {number} has not started, see {self.directory}")
            time.sleep(0.05)

    def freeze(self, number: int) -> None:
        self._members[number].send_signal(signal.SIGSTOP)

    def thaw(self, number: int) -> None:
        self._members[number].send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Kill all, and leave no data: etcd reserves 128 MiB for each member."""
        for number in range(len(self._members)):
            self.kill(number)
            shutil.rmtree(self.directory / f"m{number}", ignore_errors=True)

    def _give(self, number: int, user: int) -> None:
        data = self.directory / f"m{number}"
        data.mkdir(mode=0o700, exist_ok=True)
        for path in (data, *data.rglob("*")):
            os.chown(path, user, user)

    def cut(self, number: int) -> None:
        """Cut a member off from the others, not from clients; in a network of one's own."""
        ports = ", ".join({peer.rpartition(":")[2] for peer in self._peers})
        rules = (
            "table inet cut { chain output { type filter hook output priority 0; "
            f"meta skuid {USER + number} tcp dport {{ {ports} }} drop; "
            f"meta skuid {USER + number} tcp sport {{ {ports} }} drop; }}; }}"
        )
        subprocess.run(["nft", "-f", "-"], input=rules.encode(), check=True, timeout=10)

    def mend(self) -> None:
        """End what `cut` did."""
        subprocess.run(["nft", "delete", "table", "inet", "cut"], check=True, timeout=10)

    def _start_member(self, number: int, state: str = "new") -> subprocess.Popen[bytes]:
        cluster = ",".join(f"m{index}={peer}" for index, peer in enumerate(self._peers))
        client, peer = self.endpoints[number], self._peers[number]
        options = {
            "name": f"m{number}",
            "data-dir": str(self.directory / f"m{number}"),
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": cluster,
            "initial-cluster-state": state,
            "heartbeat-interval": "50",
            "election-timeout": "500",
            "logger": "zap",
            "quota-backend-bytes": str(self._quota_bytes),
        }
        command = [self._program, *(f"--{name}={value}" for name, value in options.items())]
        if self.files:
            faces = StoreFaces(own=self.files.member, trusted=self.files.trusted)
            command += by_tls(faces)
        if self.as_users:
            user = str(USER + number)
            command = [
                "setpriv",
                f"--reuid={user}",
                f"--regid={user}",
                "--clear-groups",
                *command,
            ]
            self._give(number, USER + number)
        with (self.directory / f"m{number}.log").open("wb") as log:
            return subprocess.Popen(command, stdout=log, stderr=log)


def _healthy(endpoint: str, tls: Tls | None) -> bool:
    try:
        url, context = f"{endpoint}/health", tls() if tls else None
        with urllib.request.urlopen(url, timeout=1, context=context) as response:  # noqa: S310 - loopback
            return b'"true"' in response.read()
    except (urllib.error.URLError, OSError):
        return False
