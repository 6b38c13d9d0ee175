"""One readable case for each rule of the director's program."""

from dataclasses import replace

from pltfrms.drivers.balancer.director.model import (
    ACK_SLACK,
    REDIRECTED,
    WINDOW_MAX,
    Action,
    Home,
)
from pltfrms.model.running.balancer import ROWS
from tests.drivers.balancer.director.packets import (
    ACK,
    ANOTHER_MAC,
    BARE4,
    CLIENT4,
    CLIENT6,
    ELSEWHERE4,
    ELSEWHERE6,
    FIN,
    ICMP,
    ICMP6,
    IDLE6,
    RST,
    SYN,
    TCP,
    TEAM4,
    TEAM6,
    UDP,
    WEB4,
    WEB6,
    extension,
    fragment6,
    frame,
    icmp,
    instance,
    ip4,
    ip6,
    outer,
    packed,
    tcp,
    udp,
    with_options,
)
from tests.drivers.balancer.director.world import (
    CLOSED_PORT,
    CONNECTION,
    KNOWN_PORT,
    ME,
    OPEN_PORT,
    Alone,
    Case,
    Dropped,
    Expectation,
    Nobody,
    PassedOn,
    Sent,
    Taken,
    row_of,
)

_Row = tuple[str, bytes, Expectation]

# ---- towards an instance -------------------------------------------------------------------

_T4, _T6 = row_of(CLIENT4, (40_000, 80), TCP), row_of(CLIENT6, (40_000, 80), TCP)
_U4, _U6 = row_of(CLIENT4, (40_000, 53), UDP), row_of(CLIENT6, (40_000, 53), UDP)
_MORE, _OFFSET = 0x2000, 0x00B9
_ANSWER4 = ip4(tcp(80, 40_000), source=WEB4, destination=CLIENT4)
_ANSWER6 = ip6(tcp(80, 40_000), source=WEB6, destination=CLIENT6)
_DATAGRAM6 = udp(53, 40_000, bytes(64))


def _ptb4(quoted: bytes) -> bytes:
    return frame(ip4(icmp(3, 4, quoted), ICMP, source=ELSEWHERE4))


def _ptb6(quoted: bytes) -> bytes:
    return frame(ip6(icmp(2, 0, quoted), ICMP6, source=ELSEWHERE6))


def _five(payload: bytes) -> bytes:
    for following in (TCP, 60, 60, 60, 60):
        payload = extension(following, payload)
    return payload


_SENT: list[_Row] = [
    ("TCP goes by addresses and ports", frame(ip4(tcp())), Sent(_T4)),
    ("TCP over IPv6 as well", frame(ip6(tcp())), Sent(_T6)),
    ("a SYN is a new flow", frame(ip4(tcp(flags=SYN))), Sent(_T4, new=1)),
    ("a SYN-ACK is none", frame(ip6(tcp(flags=SYN | ACK))), Sent(_T6)),
    ("UDP goes by ports", frame(ip4(udp(), UDP)), Sent(_U4)),
    ("UDP over IPv6 as well", frame(ip6(udp(), UDP)), Sent(_U6)),
    ("IPv4 options are skipped", frame(with_options(ip4(tcp()), bytes([1] * 8))), Sent(_T4)),
    (
        "echo goes by the client's address alone",
        frame(ip4(icmp(8), ICMP)),
        Sent(row_of(CLIENT4, (0, 0), ICMP)),
    ),
    (
        "echo over IPv6 as well",
        frame(ip6(icmp(128), ICMP6)),
        Sent(row_of(CLIENT6, (0, 0), ICMP6)),
    ),
    (
        "other protocols go by the client's address alone",
        frame(ip4(bytes(20), 47)),
        Sent(row_of(CLIENT4, (0, 0), 47)),
    ),
    (
        "a first fragment goes by the client's address alone",
        frame(ip4(udp(), UDP, fragment=_MORE)),
        Sent(row_of(CLIENT4, (0, 0), UDP), "fragment"),
    ),
    (
        "so does a later one",
        frame(ip4(bytes(8), UDP, fragment=_OFFSET)),
        Sent(row_of(CLIENT4, (0, 0), UDP), "fragment"),
    ),
    (
        "so does a fragment over IPv6",
        frame(ip6(fragment6(UDP, udp(), more=True), 44)),
        Sent(row_of(CLIENT6, (0, 0), UDP), "fragment"),
    ),
    (
        "also when it begins as early as can be",
        frame(ip6(fragment6(UDP, bytes(8), 1), 44)),
        Sent(row_of(CLIENT6, (0, 0), UDP), "fragment"),
    ),
    (
        "also when extension headers come before",
        frame(ip6(extension(44, fragment6(UDP, bytes(8), 185)), 60)),
        Sent(row_of(CLIENT6, (0, 0), UDP), "fragment"),
    ),
    (
        "a fragment that is the whole packet goes by its ports",
        frame(ip6(fragment6(UDP, udp()), 44)),
        Sent(_U6),
    ),
    (
        "four extension headers are skipped",
        frame(ip6(extension(43, extension(60, extension(60, extension(TCP, tcp(), 2)))), 0)),
        Sent(_T6),
    ),
    ("an ICMP error goes by what it quotes", _ptb4(_ANSWER4), Sent(_T4, "icmp_error")),
    ("also over IPv6", _ptb6(_ANSWER6), Sent(_T6, "icmp_error")),
    (
        "eight bytes of TCP are enough to quote",
        _ptb4(_ANSWER4[:28]),
        Sent(_T4, "icmp_error"),
    ),
    (
        "what is quoted may have options",
        _ptb4(with_options(ip4(udp(53, 40_000), UDP, WEB4, CLIENT4), bytes([1] * 4))),
        Sent(_U4, "icmp_error"),
    ),
    (
        "what is quoted may have extension headers",
        _ptb6(ip6(extension(UDP, _DATAGRAM6), 60, WEB6, CLIENT6)),
        Sent(_U6, "icmp_error"),
    ),
    (
        "a first fragment that is quoted has its ports",
        _ptb6(ip6(fragment6(UDP, _DATAGRAM6, more=True), 44, WEB6, CLIENT6)),
        Sent(_U6, "icmp_error"),
    ),
    (
        "a later one has none",
        _ptb4(ip4(bytes(64), UDP, WEB4, CLIENT4, fragment=_OFFSET)),
        Sent(row_of(CLIENT4, (0, 0), UDP), "icmp_error"),
    ),
    (
        "a quoted echo goes like the echo",
        _ptb4(ip4(icmp(0), ICMP, WEB4, CLIENT4)),
        Sent(row_of(CLIENT4, (0, 0), ICMP), "icmp_error"),
    ),
]
_LEFT: list[_Row] = [
    ("what goes elsewhere is left alone", frame(ip4(tcp(), destination=CLIENT4)), Alone()),
    ("also over IPv6", frame(ip6(tcp(), destination=ELSEWHERE6)), Alone()),
    ("what is not IP is left alone", frame(bytes(46), 0x0806), Alone()),
    ("a wrong version is left alone", frame(ip6(tcp()), 0x0800), Alone()),
    ("time to live ends here", frame(ip4(tcp(), ttl=1)), Alone("ttl")),
    ("and the hop limit", frame(ip6(tcp(), hops=0)), Alone("ttl")),
    ("two hops are enough", frame(ip4(tcp(), ttl=2)), Sent(_T4)),
    ("neighbour discovery is never touched", frame(ip6(icmp(135), ICMP6)), Alone()),
    ("nor are router advertisements", frame(ip6(icmp(134), ICMP6)), Alone()),
    ("a service without a table", frame(ip4(tcp(), destination=BARE4)), Alone("no_table")),
    ("a row without anybody", frame(ip6(tcp(), destination=IDLE6)), Nobody()),
    ("a tunnel to a service", frame(ip4(ip4(tcp()), 4)), Alone()),
    ("ports that are cut off", frame(ip4(tcp()))[: 14 + 23], Alone("unreadable")),
    ("more than four extension headers", frame(ip6(_five(tcp()), 60)), Alone("unreadable")),
    (
        "an extension header that leads out of the packet",
        frame(ip6(extension(TCP, tcp(), 0)[:1] + b"\xff" + bytes(30), 60)),
        Alone("unreadable"),
    ),
    ("an ICMP error that quotes too little", _ptb6(_ANSWER6[:42]), Alone("unreadable")),
]
_TUNNEL = outer(ip4(tcp()))
_ENTERING = [
    *(Case(rule, "outside", packet, expected) for rule, packet, expected in (*_SENT, *_LEFT)),
    Case(
        "without a heartbeat all is left alone",
        "inside",
        frame(ip4(tcp())),
        Alone("stale"),
        change=lambda maps: replace(maps, fresh=False),
    ),
    Case(
        "without an address of the instance it is left alone",
        "inside",
        frame(ip4(tcp())),
        Nobody(),
        change=lambda maps: replace(maps, instances={}),
    ),
    Case("inside does the same as outside", "inside", frame(ip6(tcp())), Sent(_T6)),
    Case("an instance's own requests too", "instance_in", frame(ip6(tcp())), Sent(_T6)),
    Case("outer packets from outside are forged", "outside", _TUNNEL, Dropped()),
    Case("outer packets from an instance too", "instance_in", _TUNNEL, Dropped()),
    Case("those from our machines go on", "inside", outer(ip4(tcp()), to=2), Alone()),
    Case(
        "tunnels of others go on",
        "outside",
        frame(ip6(ip4(tcp()), 4, destination=ELSEWHERE6)),
        Alone(),
    ),
    Case("a mark of our own lets pass", "instance_in", _TUNNEL, Alone(), mark=REDIRECTED),
    Case("no mark does from outside", "outside", _TUNNEL, Dropped(), mark=REDIRECTED),
    Case("its own mark says that we sent it", "inside", frame(ip4(tcp())), Sent(_T4), mark=77),
]

# ---- at an instance ------------------------------------------------------------------------


def _team4(packet: bytes, protocol: int = TCP) -> bytes:
    return ip4(packet, protocol, destination=TEAM4)


def _team6(packet: bytes, protocol: int = TCP) -> bytes:
    return ip6(packet, protocol, destination=TEAM6)


def _quoted4(port: int) -> bytes:
    answer = ip4(tcp(OPEN_PORT, port), source=TEAM4, destination=CLIENT4)
    return ip4(icmp(3, 4, answer), ICMP, ELSEWHERE4, TEAM4)


def _quoted6(port: int) -> bytes:
    answer = ip6(tcp(OPEN_PORT, port), source=TEAM6, destination=CLIENT6)
    return ip6(icmp(2, 0, answer), ICMP6, ELSEWHERE6, TEAM6)


def _numbered(received: int, sent: int, flags: int = ACK) -> bytes:
    """Return a packet of the known flow whose numbers are so far from what is next."""
    numbers = ((CONNECTION.receives + received) % 2**32, (CONNECTION.sends + sent) % 2**32)
    return _team4(tcp(KNOWN_PORT, flags=flags, numbers=numbers))


_STRANGE = _team4(tcp())
_KNOWN = _team4(tcp(KNOWN_PORT))
_ARRIVING: list[_Row] = [
    ("a flow that is known is taken", outer(_KNOWN), Taken()),
    ("also over IPv6", outer(_team6(tcp(KNOWN_PORT))), Taken()),
    ("also with options", outer(_team6(extension(TCP, tcp(KNOWN_PORT)), 60)), Taken()),
    ("also what a window ago was next", outer(_numbered(-WINDOW_MAX, -ACK_SLACK)), Taken()),
    ("also what is next a window later", outer(_numbered(WINDOW_MAX - 1, ACK_SLACK)), Taken()),
    ("also a reset without ACK", outer(_numbered(0, 1 << 30, RST)), Taken()),
    ("also who begins anew", outer(_numbered(WINDOW_MAX, 0, SYN)), Taken()),
    ("further away it is of another", outer(_numbered(WINDOW_MAX, 0)), PassedOn(2, 1)),
    ("also before", outer(_numbered(-WINDOW_MAX - 1, 0)), PassedOn(2, 1)),
    ("also a reset", outer(_numbered(WINDOW_MAX, 0, RST)), PassedOn(2, 1)),
    (
        "also an ACK of what was not sent",
        outer(_numbered(0, ACK_SLACK + 1)),
        PassedOn(2, 1),
    ),
    ("also what is long ago", outer(_numbered(0, -ACK_SLACK - 1)), PassedOn(2, 1)),
    ("also a SYN-ACK", outer(_numbered(0, 1 << 30, SYN | ACK)), PassedOn(2, 1)),
    ("what ends a closed flow is taken", outer(_team4(tcp(CLOSED_PORT, flags=FIN))), Taken()),
    ("also an acknowledgement", outer(_team6(tcp(CLOSED_PORT))), Taken()),
    ("also a SYN of the next flow", outer(_team4(tcp(CLOSED_PORT, flags=SYN))), Taken()),
    ("also an ICMP error", outer(_quoted4(CLOSED_PORT)), Taken()),
    ("data is of another flow", outer(_team4(tcp(CLOSED_PORT, more=9))), PassedOn(2, 1)),
    ("also over IPv6", outer(_team6(tcp(CLOSED_PORT, more=9))), PassedOn(2, 1)),
    ("a SYN is taken where somebody listens", outer(_team4(tcp(flags=SYN))), Taken()),
    ("also over IPv6", outer(_team6(tcp(flags=SYN))), Taken()),
    ("where nobody does it is passed on", outer(_team4(tcp(9, 9, SYN))), PassedOn(2, 1)),
    ("what is not known is passed on", outer(_STRANGE), PassedOn(2, 1)),
    ("also over IPv6", outer(_team6(tcp())), PassedOn(2, 1)),
    ("also a reset", outer(_team4(tcp(flags=RST))), PassedOn(2, 1)),
    ("also a SYN-ACK", outer(_team4(tcp(flags=SYN | ACK))), PassedOn(2, 1)),
    ("also with options", outer(_team6(extension(TCP, tcp()), 60)), PassedOn(2, 1)),
    ("also to a port where nobody listens", outer(_team4(tcp(9, 9))), PassedOn(2, 1)),
    ("also after a hop", outer(_STRANGE, hop=1), PassedOn(2, 2)),
    ("also twice", outer(_STRANGE, hop=3), PassedOn(2, 4)),
    ("the last one takes it", outer(_STRANGE, hop=4), Taken("last_hop")),
    ("and after five hops anybody", outer(_STRANGE, hop=5), Taken("last_hop")),
    ("UDP is taken", outer(_team4(udp(), UDP)), Taken()),
    ("fragments are taken", outer(ip4(tcp(), destination=TEAM4, fragment=_MORE)), Taken()),
    ("echo is taken", outer(_team6(icmp(128), ICMP6)), Taken()),
    ("an ICMP error about a known flow is taken", outer(_quoted4(KNOWN_PORT)), Taken()),
    ("also over IPv6", outer(_quoted6(KNOWN_PORT)), Taken()),
    ("about another one it is passed on", outer(_quoted4(40_000)), PassedOn(2, 1)),
    ("also over IPv6", outer(_quoted6(40_000)), PassedOn(2, 1)),
    ("a TCP header that is cut off is taken", outer(_STRANGE[:36]), Taken()),
    ("what is no service is taken", outer(ip4(tcp(), destination=ELSEWHERE4)), Taken()),
    ("a service without a table", outer(ip4(tcp(), destination=BARE4)), Taken()),
    ("what is left of an outer packet is dropped", outer(_KNOWN)[:70], Dropped("failed")),
    ("outer packets to others go on", outer(_STRANGE, to=2), Alone()),
    (
        "other packets to the instance go on",
        frame(ip6(tcp(), TCP, destination=instance(1))),
        Alone(),
    ),
    ("another flow label is forged", outer(_STRANGE, label=0), Dropped()),
    ("a source outside is forged", outer(_STRANGE, source=ELSEWHERE6), Dropped()),
]


def _coming_in(expected: Expectation) -> Expectation:
    """Return what is expected at once, before the way to the device of the instance."""
    if isinstance(expected, Taken):
        return replace(expected, action=Action.REDIRECT)
    return replace(expected, back=False) if isinstance(expected, PassedOn) else expected


_LEAVING = [
    *(Case(rule, "instance_out", packet, expected) for rule, packet, expected in _ARRIVING),
    *(Case(rule, "inside", packet, _coming_in(then)) for rule, packet, then in _ARRIVING),
    Case("without an outer header it goes on", "instance_out", frame(_STRANGE), Alone()),
    Case(
        "a frame to another machine is left alone",
        "inside",
        ANOTHER_MAC + outer(_KNOWN)[6:],
        Alone(),
    ),
    Case(
        "heartbeats do not matter at an instance",
        "instance_out",
        outer(_STRANGE),
        PassedOn(2, 1),
        change=lambda maps: replace(maps, fresh=False),
    ),
    Case(
        "the next higher address is asked",
        "instance_out",
        outer(_STRANGE, to=2),
        PassedOn(3, 1),
        me=Home(packed(instance(2))),
    ),
    Case(
        "in the order of a network, not of a processor",
        "instance_out",
        outer(_STRANGE, to=3),
        PassedOn(0x100, 1),
        change=lambda maps: replace(maps, tables={1: [(0x104, 0x100, 3, 0)] * ROWS}),
        me=Home(packed(instance(3))),
    ),
    Case(
        "who is not in the row asks the next address of it, in a circle",
        "instance_out",
        outer(_STRANGE, to=99),
        PassedOn(1, 1),
        me=Home(packed(instance(99))),
    ),
    Case(
        "what runs in the machine's own namespace takes what it knows, where it comes in",
        "inside",
        outer(_KNOWN),
        Taken(),
        me=replace(ME, is_here=True),
    ),
    Case(
        "and passes on what it does not",
        "inside",
        outer(_team6(tcp())),
        PassedOn(2, 1, back=False),
        me=replace(ME, is_here=True),
    ),
    Case(
        "but takes all where nobody listens: others may",
        "inside",
        outer(_team4(tcp(9, 9, SYN))),
        Taken(),
        me=replace(ME, is_here=True),
    ),
    Case(
        "also at its device",
        "instance_out",
        outer(_STRANGE),
        PassedOn(2, 1),
        me=replace(ME, is_here=True),
    ),
    Case(
        "nobody is asked who has no address",
        "instance_out",
        outer(_STRANGE),
        Taken("last_hop"),
        change=lambda maps: replace(maps, instances={1: maps.instances[1]}),
    ),
]

CASES = [*_ENTERING, *_LEAVING]
