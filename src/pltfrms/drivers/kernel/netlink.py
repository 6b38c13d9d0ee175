"""The kernel's network, over rtnetlink. The one door to pyroute2.

Routes carry their nexthops inline: a deleted nexthop object takes its routes along without a
word to anybody, so BIRD would announce them until its next scan.
"""

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from ipaddress import ip_interface
from pathlib import Path
from typing import Any, Final, TypeVar

from pyroute2.iproute.linux import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from pltfrms.drivers.kernel.devices import RUNNING, UP, flags_of, here_end, mtu_of, why_unusable
from pltfrms.drivers.kernel.found import read_ports
from pltfrms.drivers.kernel.programs.bpf import Side
from pltfrms.drivers.kernel.sysctls import Sysctls
from pltfrms.drivers.kernel.tables.hints import IPV6_ROUTES_GROUP, ROUTING_GROUPS, Hints
from pltfrms.drivers.kernel.tables.host_routes import KernelHostRoutes
from pltfrms.drivers.kernel.tables.leading import LEADS_NOWHERE, leads_on, question, route_of
from pltfrms.drivers.kernel.tables.remembered import Remembered
from pltfrms.drivers.kernel.tables.routes import OUR_PROTOS, RouteChanges, compare, describe
from pltfrms.drivers.kernel.tables.whole import read_whole
from pltfrms.errors import UnavailableError
from pltfrms.model.addresses import Address, Interface
from pltfrms.model.network.ports import SeenPort
from pltfrms.model.running.balancer import OUTER_BYTES
from pltfrms.model.running.machine import DeviceState, NetworkState, Nexthop, Route, Rule

_T = TypeVar("_T")
NEAR_END: Final = "fe80::1/64"
"""Our address on every instance's veth; the instance's default routes lead here."""
FAR_END: Final = "fe80::2/64"
"""The other end's."""

_NEAR_MTU: Final = 1500 + OUTER_BYTES
"""Of our end of a veth: 1500 bytes come in an outer packet, which is taken off there."""
_open_socket: Callable[..., Any] = AsyncIPRoute  # says nothing of its types itself
_FAMILIES: Final = {4: int(socket.AF_INET), 6: int(socket.AF_INET6)}
_UNICAST, _BLACKHOLE, _PROHIBIT = 1, 6, 8
_TO_TABLE = 1
_NODAD = 0x02
_NO_AUTOMATIC_ADDRESS = 1
_CLSACT: Final = {Side.INGRESS: 0xFFFFFFF2, Side.EGRESS: 0xFFFFFFF3}
"""Parents of filters (`struct tcmsg`)."""
_FILTER_PREFERENCE, _FILTER_HANDLE = 53, 1
"""Of the one filter per side of a device that is ours."""


class KernelNetwork:
    """`ports.Network` of the network namespace in which it is used first.

    Things the kernel refuses do not stop the others: they are named in a sentence that
    starts with `refused `.
    """

    def __init__(self, sysctl_root: Path = Path("/proc/sys")) -> None:
        """Do nothing yet: sockets are opened when they are needed."""
        self._sysctls = Sysctls(sysctl_root)
        self._rtnl: Any = None
        self._busy = asyncio.Lock()
        self._connected: set[int] = set()
        """Indexes of devices whose link-local network was seen to be reachable."""
        self._listeners: set[Hints] = set()
        self._remembered: Remembered | None = None

    async def apply_state(self, state: NetworkState) -> tuple[str, ...]:
        """See `ports.Network`. Sysctls come first: some must precede `up` to have an effect."""
        sentences = self._sysctls.apply_all(state.sysctls)
        sentences += await self._memory.unless_settled(
            "state", state, partial(self._apply_told, state), _nothing_done
        )
        return tuple(sentence for sentence in sentences if sentence)

    async def _apply_told(self, state: NetworkState) -> list[str]:
        """Apply that of which the kernel tells when somebody changes it."""
        sentences: list[str] = []
        have = await self._look("addresses", self._addresses)
        for device in state.devices:
            sentences += await self._apply_device(device, have)
        for preference in sorted({rule.preference for rule in state.rules}):
            rules = [rule for rule in state.rules if rule.preference == preference]
            sentences += await self._apply_rules(preference, rules)
        return sentences

    async def apply_routes(
        self, tables: Sequence[int], routes: Sequence[Route]
    ) -> tuple[str, ...]:
        """See `ports.Network`. About 1 ms per change after about 2 ms of looking per table."""
        changes = await self._memory.unless_settled(
            ("changes", *tables),
            tuple(routes),
            partial(self._changes, tables, routes),
            lambda found: not found.put and not found.delete,
        )
        sentences = list(changes.missing)
        sentences += [await self._put_route(route) for route in changes.put]
        sentences += [await self._delete_route(route) for route in changes.delete]
        return tuple(sentence for sentence in sentences if sentence)

    async def _changes(self, tables: Sequence[int], routes: Sequence[Route]) -> RouteChanges:
        have = [
            route
            for table in tables
            for route in await self.routes(table)
            if route.proto in OUR_PROTOS
        ]
        return compare(have, routes, why_unusable)

    async def routes(self, table: int) -> tuple[Route, ...]:
        """See `ports.Network`. The nexthop of a route via an IPv4 router has no `via`."""
        return await self._look(("routes", table), lambda: self._read_routes(table))

    async def _read_routes(self, table: int) -> tuple[Route, ...]:
        four, six = _FAMILIES.values()
        found = await self._read_family(table, four)
        return (*found, *await read_whole(table, lambda: self._read_family(table, six)))

    async def _read_family(self, table: int, family: int) -> list[Route]:
        # Without a `dump_filter` of pyroute2 the kernel itself leaves out other tables
        # (an edge's main table may have a million routes), and says so if there is none.
        words = {"family": family, "table": table, "dump_filter": None}
        try:
            messages = await self._ask("route", "dump", **words)
        except NetlinkError as error:
            if error.code != errno.ENOENT:
                raise
            return []
        return [route_of(message, table, family) for message in messages]

    async def leading(self, address: Address) -> Route | None:
        """See `ports.Network`."""
        return await self._look(("leading", address), lambda: self._match(address))

    async def _match(self, address: Address) -> Route | None:
        words = question(address)
        try:
            (message,) = await self._ask("route", "get", **words)
        except NetlinkError as error:
            if error.code not in LEADS_NOWHERE:
                raise
            return None
        leads = leads_on(message, message.get("multipath"))
        return route_of(message, message.get("table"), words["family"]) if leads else None

    async def attach_instance(self, device: str, pid: int) -> None:
        """See `ports.Network`.

        Raises:
            UnavailableError: the process is gone, or the kernel refuses.
        """
        far_end = {"ifname": "eth0", "net_ns_pid": pid}
        await self._attach(device, far_end, f"process {pid}", {device: (NEAR_END,)})

    async def attach_here(self, device: str, addresses: Sequence[Interface]) -> None:
        """See `ports.Network`; UnavailableError if the kernel refuses."""
        far_end = here_end(device)
        ends = {device: (NEAR_END,), far_end: (FAR_END, *map(str, addresses))}
        await self._attach(device, {"ifname": far_end}, "this machine", ends)

    async def _attach(
        self,
        device: str,
        far_end: Mapping[str, object],
        whom: str,
        ends: Mapping[str, Sequence[str]],
    ) -> None:
        """Make a veth, and what is wanted of those of its ends that are here."""
        await self.detach_instance(device)
        try:
            await self._ask("link", "add", ifname=device, kind="veth", peer=far_end)
            for name, addresses in ends.items():
                mode = f"net/ipv6/conf/{name}/addr_gen_mode"
                self._sysctls.apply(mode, str(_NO_AUTOMATIC_ADDRESS))
                index = socket.if_nametoindex(name)
                await self._ask("link", "set", index=index, mtu=_NEAR_MTU, state="up")
                for address in addresses:
                    await self._ask("addr", "add", **_address_words(index, address))
        except (NetlinkError, OSError) as error:
            await self.detach_instance(device)
            raise UnavailableError(
                f"cannot connect {whom} through {device}: {_why(error)}"
            ) from error

    async def detach_instance(self, device: str) -> None:
        """See `ports.Network`."""
        with contextlib.suppress(OSError):
            index = socket.if_nametoindex(device)
            await self._change("link", "del", "", {"index": index})

    def changes(self) -> AsyncIterator[None]:
        """See `ports.Network`. Nothing that happens after this call is missed."""
        return self._listen(Hints(ROUTING_GROUPS))

    def table_changes(self, table: int) -> AsyncIterator[None]:
        """See `ports.Network`. Nothing that happens after this call is missed."""
        return self._listen(Hints(IPV6_ROUTES_GROUP, table))

    def follow(self, table: int) -> KernelHostRoutes:
        """See `ports.Network`."""
        try:
            return KernelHostRoutes(table)
        except OSError as error:
            raise UnavailableError(f"routes of table {table}: {error.strerror}") from error

    async def ports(self) -> tuple[SeenPort, ...]:
        """See `ports.PortReader`."""
        return await read_ports(self._ask, await self._addresses())

    async def peer_namespace(self, device: str) -> int | None:
        """Return the kernel's number for the network namespace of a veth's far end.

        The number is that of our own namespace; -1 if the far end is in it. None if there
        is no such device.
        """
        try:
            index = socket.if_nametoindex(device)
            messages = await self._ask("link", "get", index=index)
        except (NetlinkError, OSError):
            return None
        namespace = messages[0].get("link_netnsid") if messages else None
        return -1 if namespace is None else int(namespace)

    # ---- programs at devices, for kernels without TCX --------------------------------------

    async def put_filter(self, device: str, side: Side, program_fd: int, name: str) -> None:
        """Let packets of a device pass a BPF program, in one step in the place of our last.

        Raises:
            OSError: the kernel refuses; ENODEV if there is no such device.
        """
        index = socket.if_nametoindex(device)
        try:
            await self._change("tc", "add", "", {"kind": "clsact", "index": index})
            words = {"fd": program_fd, "name": name, "direct_action": True}
            await self._ask("tc", "replace-filter", **_filter_words(index, side), **words)
        except NetlinkError as error:
            raise OSError(error.code, f"tc filter at {device}: {_why(error)}") from error

    async def delete_filter(self, device: str, side: Side) -> None:
        """Undo `put_filter`, if it was done."""
        with contextlib.suppress(OSError):
            index = socket.if_nametoindex(device)
            await self._change("tc", "del-filter", "", _filter_words(index, side))

    async def filter_name(self, device: str, side: Side) -> str:
        """Return the name given to `put_filter`; `` if there is no filter of ours."""
        try:
            index = socket.if_nametoindex(device)
            words = {"index": index, "parent": _CLSACT[side]}
            messages = await self._ask("tc", "dump-filter", **words)
        except (NetlinkError, OSError):
            return ""  # no device, or nobody has put a filter there
        for message in messages:
            options = message.get("options")
            if message["info"] >> 16 == _FILTER_PREFERENCE and options is not None:
                return str(options.get("TCA_BPF_NAME") or "")
        return ""

    async def close(self) -> None:
        """Release sockets. Iterations over `changes` must have been ended by the caller."""
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        if self._remembered is not None:
            self._remembered.close()
            self._remembered = None
        self._sysctls.close()
        self._forget_socket()

    def _listen(self, hints: Hints) -> AsyncIterator[None]:
        self._listeners.add(hints)
        return hints.wait()

    # ---- talking to the kernel -------------------------------------------------------------

    async def _look(self, question: object, ask: Callable[[], Awaitable[_T]]) -> _T:
        """Ask about routes, rules or addresses, unless nothing changed since last time."""
        return await self._memory.answer(question, ask)

    @property
    def _memory(self) -> Remembered:
        if self._remembered is None:
            self._remembered = Remembered()
        return self._remembered

    async def _ask(self, subject: str, verb: str, **words: Any) -> list[Any]:
        """Do one request and return all answers; NetlinkError if the kernel refuses."""
        async with self._busy:
            if self._rtnl is None:
                # Without strict_check the kernel ignores which table is asked for.
                self._rtnl = _open_socket(groups=0, strict_check=True)
            try:
                answer = await getattr(self._rtnl, subject)(verb, **words)
                if isinstance(answer, AsyncIterator):
                    return [message async for message in answer]
                return list(answer)
            except NetlinkError:
                raise
            except BaseException:
                # Answers may still be under way to nobody; a new socket has none.
                self._forget_socket()
                raise

    def _forget_socket(self) -> None:
        if self._rtnl is not None:
            self._rtnl.close()
            self._rtnl = None

    async def _change(
        self, subject: str, verb: str, sentence: str, words: dict[str, Any]
    ) -> str:
        """Do one change and return its sentence; one `refused ...` if the kernel says no."""
        try:
            await self._ask(subject, verb, **words)
        except NetlinkError as error:
            gone = verb == "del" and error.code in {errno.ESRCH, errno.ENODEV, errno.ENOENT}
            exists = verb == "add" and error.code == errno.EEXIST
            return "" if gone or exists else f"refused: {sentence}: {_why(error)}"
        return sentence

    # ---- routes ----------------------------------------------------------------------------

    async def _put_route(self, route: Route) -> str:
        try:
            words = _route_words(route)
        except OSError:
            return f"missing: a device has just gone: {describe(route)}"
        return await self._change("route", "replace", f"put {describe(route)}", words)

    async def _delete_route(self, route: Route) -> str:
        # Without its nexthops: their devices may have gone, and the rest of the key is ours.
        words = _route_words(replace(route, nexthops=()))
        del words["type"]
        return await self._change("route", "del", f"deleted {describe(route)}", words)

    # ---- state -----------------------------------------------------------------------------

    async def _apply_device(
        self, device: DeviceState, have: Mapping[int, set[Interface]]
    ) -> list[str]:
        try:
            index = socket.if_nametoindex(device.name)
            up = flags_of(device.name) & UP
            mtu = mtu_of(device.name)
        except OSError:
            return [f"missing device {device.name}"]
        sentences = [
            await self._change(
                "addr",
                "add",
                f"added {address} to {device.name}",
                _address_words(index, str(address)),
            )
            for address in device.addresses
            if address not in have.get(index, ())
        ]
        if device.mtu and device.mtu != mtu:
            sentence = f"{device.name} has MTU {device.mtu} now"
            size = {"index": index, "mtu": device.mtu}
            sentences.append(await self._change("link", "set", sentence, size))
        if mtu < device.mtu_needed:
            why = f"{device.name} has {mtu}, and full-size packets need {device.mtu_needed}"
            sentences.append(f"missing MTU: {why}; raise it here and on the switches")
        if not up:
            words = {"index": index, "state": "up"}
            sentences.append(await self._change("link", "set", f"{device.name} up", words))
        elif not sentences:
            sentences += await self._connect(device, index)
        return sentences

    async def _connect(self, device: DeviceState, index: int) -> list[str]:
        """Make sure, once per device, that its link-local addresses have their network.

        Without carrier at the wrong instant the kernel keeps an address and forgets its route.
        """
        addresses = [address for address in device.addresses if address.ip.is_link_local]
        if not addresses or index in self._connected or not flags_of(device.name) & RUNNING:
            return []
        try:
            await self._ask("route", "get", dst=str(addresses[0].ip + 1), oif=index)
        except NetlinkError as error:
            if error.code != errno.ENETUNREACH:
                raise
        else:
            self._connected.add(index)
            return []
        sentences: list[str] = []
        for address in addresses:
            words = _address_words(index, str(address))
            sentence = f"added {address} to {device.name} again: it had no route"
            await self._change("addr", "del", "", words)
            sentences.append(await self._change("addr", "add", sentence, words))
        return sentences

    async def _addresses(self) -> Mapping[int, set[Interface]]:
        """Return the addresses of every device by its index, in one dump."""
        found: dict[int, set[Interface]] = {}
        for message in await self._ask("addr", "dump"):
            address = message.get("local") or message.get("address")
            found.setdefault(message["index"], set()).add(
                ip_interface(f"{address}/{message['prefixlen']}")
            )
        return found

    async def _apply_rules(self, preference: int, rules: Iterable[Rule]) -> list[str]:
        """Make the rules of a preference these; a preference of ours belongs to us alone."""
        tables = {rule.table for rule in rules}
        sentences: list[str] = []
        for version, family in _FAMILIES.items():
            plain: set[int] = set()
            for message in await self._look(("rules", family), partial(self._rules, family)):
                if (message.get("priority") or 0) != preference:
                    continue
                table = _table_of_plain_rule(message)
                if table in tables and table not in plain:
                    plain.add(table)
                    continue
                words = f"deleted a foreign IPv{version} rule of preference {preference}"
                sentences.append(await self._delete_rule(message, words))
            for table in sorted(tables - plain):
                words = f"added IPv{version} rule {preference} lookup {table}"
                rule = {"family": family, "priority": preference, "table": table}
                sentences.append(await self._change("rule", "add", words, rule))
        return sentences

    async def _rules(self, family: int) -> list[Any]:
        return await self._ask("rule", "dump", family=family)

    async def _delete_rule(self, message: Any, sentence: str) -> str:
        words = {
            name: message[name]
            for name in ("family", "src_len", "dst_len", "tos", "action", "flags")
        }
        # The kernel deletes the first rule that has all that is said of it: say it all.
        attributes = [pair for pair in message["attrs"] if pair[0] != "FRA_PROTOCOL"]
        return await self._change("rule", "del", sentence, words | {"attrs": attributes})


def _nothing_done(sentences: Iterable[str]) -> bool:
    """Whether there was nothing to do, but for what must come from elsewhere."""
    return all(sentence.startswith("missing ") for sentence in sentences if sentence)


def _why(error: NetlinkError | OSError) -> str:
    if isinstance(error, NetlinkError):
        return str(error.args[-1])
    return str(error.strerror or error)


def _route_words(route: Route) -> dict[str, Any]:
    words: dict[str, Any] = {
        "family": _FAMILIES[route.prefix.version],
        "dst": str(route.prefix),
        "table": route.table,
        "proto": route.proto,
        "priority": route.metric,
    }
    if not route.nexthops:
        return words | {"type": "unreachable"}
    hops = [_hop_words(hop, route.prefix.version) for hop in route.nexthops]
    if len(hops) == 1:
        return words | {name: hops[0][name] for name in hops[0] if name != "hops"}
    return words | {"multipath": hops}


def _hop_words(hop: Nexthop, version: int) -> dict[str, Any]:
    words: dict[str, Any] = {
        "oif": socket.if_nametoindex(hop.device),
        "hops": min(max(hop.weight, 1), 256) - 1,
    }
    if hop.via is None:
        return words
    via = str(hop.via)
    if version == hop.via.version:
        return words | {"gateway": via}
    return words | {"via": {"family": int(socket.AF_INET6), "addr": via}}


def _filter_words(index: int, side: Side) -> dict[str, Any]:
    return {
        "kind": "bpf",
        "index": index,
        "handle": _FILTER_HANDLE,
        "parent": _CLSACT[side],
        "prio": _FILTER_PREFERENCE,
    }


def _address_words(index: int, address: str) -> dict[str, Any]:
    """Return an address for pyroute2; IPv6 without the second of duplicate detection."""
    interface = ip_interface(address)
    words = {
        "index": index,
        "family": _FAMILIES[interface.version],
        "address": str(interface.ip),
        "prefixlen": interface.network.prefixlen,
    }
    return words | ({"flags": _NODAD} if ":" in address else {})


def _table_of_plain_rule(message: Any) -> int | None:
    """Return the table of a rule that matches everything; None if it is more special."""
    special = (
        message["src_len"]
        or message["dst_len"]
        or message["tos"]
        or message["flags"]
        or message["action"] != _TO_TABLE
        or any(message.get(name) for name in ("iifname", "oifname", "fwmark", "ip_proto"))
    )
    return None if special else message.get("table")
