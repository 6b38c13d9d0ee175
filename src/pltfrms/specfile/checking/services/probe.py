"""What makes no sense in a probe, whoever wrote it."""

import re
import ssl
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

from pltfrms.model.services.probes import (
    DNS_RCODES,
    DNS_TYPES,
    ProbeDns,
    ProbeHttp,
    ProbeTls,
    ProbeUdp,
)
from pltfrms.model.services.service import Probe, ProbeKind
from pltfrms.specfile.findings import Finding, Where, check_range, nearest

_MAX_PORT = 65_535
HTTP_PATH = re.compile(r"/[!-~]*\Z")
"""What may be asked for by HTTP."""
_HOST = re.compile(r"[!-.0-~]{1,253}\Z")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}\Z")
_VALUE = re.compile(r"(?:[!-~](?:[ -~]{0,998}[!-~])?)?\Z")
_NOT_OURS = {"host", "connection", "content-length", "transfer-encoding"}
_TLS_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9:-]{1,63}(\.[A-Za-z0-9-]{1,63})*\Z")
_NAME_MAX = 253
_DNS_LABEL = re.compile(r"[!-~]{1,63}\Z")
_TEXT_MAX = 1000
_DATAGRAM_MAX = 1200
"""Fits into one packet on any network."""
_PEM_MAX = 100_000
_ADDRESSES = {"A": IPv4Address, "AAAA": IPv6Address}
_TCP = {ProbeKind.HTTP: "port", ProbeKind.TCP: "tcp", ProbeKind.GRPC: "grpc"}


def check_probe(where: Where, probe: Probe) -> Iterator[Finding]:
    """Find what is wrong with a probe by itself."""
    yield from _check_kind(where, probe)
    if probe.http is not None:
        yield from _check_http(where, probe.http)
    if probe.tls is not None:
        yield from _check_named(where, probe.tls, probe.http or ProbeHttp())
        yield from _check_tls((*where, "tls"), probe.tls)
    yield from _check_times(where, probe)


def probe_notes(where: Where, probe: Probe, ports: tuple[str, ...]) -> Iterator[Finding]:
    """Yield what is no mistake in a probe, but may be one."""
    if probe.kind is ProbeKind.EXEC:
        return
    protocol = "tcp" if probe.tcp_port else "udp"
    if f"{probe.port}/{protocol}" not in ports:
        field = _TCP.get(probe.kind, probe.kind.value)
        what = f"it is asked on {probe.port}/{protocol}, which is not in ports"
        yield Finding((*where, field), what, "right if clients do not use that port")


def same_question(one: Probe, other: Probe) -> bool:
    """Return whether two probes ask for what may depend on others, and for the same.

    To be connected to is all that `tcp` asks for: that depends on nobody else.
    """
    if one.kind is ProbeKind.TCP:
        return False
    return _question(one) == _question(other)


def _question(probe: Probe) -> Probe:
    """Return what is asked, without how often and how patiently."""
    return Probe(
        kind=probe.kind,
        port=probe.port,
        path=probe.path,
        command=probe.command,
        http=probe.http,
        tls=probe.tls,
        udp=probe.udp,
        dns=probe.dns,
        grpc_service=probe.grpc_service,
    )


def _check_kind(where: Where, probe: Probe) -> Iterator[Finding]:
    kind, port = probe.kind, probe.port
    if kind is ProbeKind.HTTP:
        if not 1 <= port <= _MAX_PORT:
            what = f"http needs a port in 1..{_MAX_PORT}, not {port}"
            yield Finding((*where, "port"), what, "such as {http: /healthz, port: 80}")
        if not HTTP_PATH.match(probe.path):
            what = f"{probe.path!r} is not a path"
            yield Finding((*where, "http"), what, "starts with / and has no spaces")
    elif kind is ProbeKind.EXEC:
        yield from _check_command((*where, "exec"), probe.command)
    else:
        own = {ProbeKind.TCP: ("tcp",), ProbeKind.DNS: ("port",)}.get(
            kind, (kind.value, "port")
        )
        yield from check_range((*where, *own), port, 1, _MAX_PORT)
    if kind is ProbeKind.UDP:
        yield from _check_udp((*where, "udp"), probe.udp or ProbeUdp(send=""))
    if kind is ProbeKind.DNS:
        yield from _check_dns((*where, "dns"), probe.dns or ProbeDns(name=""))
    if kind is ProbeKind.GRPC and not _is_short(probe.grpc_service):
        what = f"is not the name of a service of at most {_TEXT_MAX} characters"
        yield Finding((*where, "grpc", "service"), what)


def _check_command(where: Where, command: tuple[str, ...]) -> Iterator[Finding]:
    if not command or not command[0]:
        yield Finding(where, "there is no command", "such as [pg_isready]")
    for index, argument in enumerate(command):
        if "\0" in argument:
            yield Finding((*where, index), "has a character of value 0")


def _check_http(where: Where, http: ProbeHttp) -> Iterator[Finding]:
    if http.host and not _HOST.match(http.host):
        what = f"{http.host[:60]!r} is not the name of a host"
        yield Finding((*where, "host"), what, "such as www.example.net, or with :8080")
    for name, text in http.headers:
        here = (*where, "headers", name)
        if not _HEADER.match(name):
            yield Finding(here, f"{name[:60]!r} is not the name of a header")
        elif name.lower() in _NOT_OURS:
            hint = "host: says it" if name.lower() == "host" else "leave it out"
            yield Finding(here, f"{name} is said by the probe itself", hint)
        elif not _VALUE.match(text):
            what = "has characters that no header may have, or more than 1000"
            yield Finding(here, what, "printable ASCII, without spaces at its ends")
    for index, status in enumerate(http.status):
        yield from check_range((*where, "status", index), status, 200, 599)
    if not _is_short(http.body):
        what = f"is not text of at most {_TEXT_MAX} characters"
        yield Finding((*where, "body"), what)


def _check_named(where: Where, tls: ProbeTls, http: ProbeHttp) -> Iterator[Finding]:
    """Find a host that TLS, which is told the name in it, would not take."""
    if http.host and not tls.name and not _TLS_NAME.match(http.host_name):
        what = f"{http.host_name[:60]!r} is not a name that a certificate has"
        yield Finding((*where, "host"), what, "or say it: tls: {name: www.example.net}")


def _check_tls(where: Where, tls: ProbeTls) -> Iterator[Finding]:
    if tls.name and not _TLS_NAME.match(tls.name):
        what = f"{tls.name[:60]!r} is not a name that a certificate has"
        yield Finding((*where, "name"), what, "such as www.example.net, or an address")
    if tls.unverified and (tls.ca or tls.name):
        what = "says whose certificate it must be, and verify: false that it is not looked at"
        yield Finding(where, what, "keep one of the two")
    if tls.ca:
        yield from _check_ca((*where, "ca"), tls.ca)


def _check_ca(where: Where, text: str) -> Iterator[Finding]:
    hint = "the text of a file that begins with -----BEGIN CERTIFICATE-----"
    if len(text) > _PEM_MAX:
        yield Finding(where, f"is larger than {_PEM_MAX} characters", hint)
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError):
        yield Finding(where, "has no certificate that can be read", hint)


def _check_udp(where: Where, udp: ProbeUdp) -> Iterator[Finding]:
    if not udp.send:
        yield Finding((*where, "send"), "is empty", "say what a healthy one answers to")
    for field, text in (("send", udp.send), ("expect", udp.expect)):
        if any(ord(sign) > 0xFF for sign in text) or len(text) > _DATAGRAM_MAX:  # noqa: PLR2004
            what = f"is not {_DATAGRAM_MAX} bytes at most, one for each character"
            yield Finding((*where, field), what, 'such as "\\x01status"')


def _check_dns(where: Where, dns: ProbeDns) -> Iterator[Finding]:
    name = dns.name.removesuffix(".")
    labels = name.split(".") if name else []
    if not dns.name or len(name) > _NAME_MAX or not all(map(_DNS_LABEL.match, labels)):
        what = f"{dns.name[:60]!r} is not a name that can be asked for"
        yield Finding((*where, "name"), what, "such as www.example.net")
    for field, word, known in (
        ("type", dns.type, DNS_TYPES),
        ("rcode", dns.rcode, DNS_RCODES),
    ):
        if word not in known:
            yield Finding(
                (*where, field), f"{word!r} is not a known word", nearest(word, known)
            )
    made = _ADDRESSES.get(dns.type)
    if dns.answer and made is None:
        what = f"answer is an address, and {dns.type} asks for none"
        yield Finding((*where, "answer"), what, "leave it out, or ask for A or AAAA")
    elif dns.answer and made is not None:
        try:
            made(dns.answer)
        except ValueError:
            what = f"{dns.answer!r} is not an address of {dns.type}"
            yield Finding((*where, "answer"), what, "type: A has IPv4, and AAAA IPv6")


def _is_short(text: str) -> bool:
    return len(text) <= _TEXT_MAX and not any("\ud800" <= sign <= "\udfff" for sign in text)


def _check_times(where: Where, probe: Probe) -> Iterator[Finding]:
    for name, value_ms, high_ms in (
        ("interval", probe.interval_ms, 600_000),
        ("timeout", probe.timeout_ms, 60_000),
        ("grace", probe.grace_ms, 3_600_000),
    ):
        if not 10 <= value_ms <= high_ms:  # noqa: PLR2004 (as the message says)
            what = f"{value_ms}ms is outside 10ms..{high_ms}ms"
            yield Finding((*where, name), what)
    yield from check_range((*where, "rise"), probe.rise, 1, 100)
    yield from check_range((*where, "fall"), probe.fall, 1, 100)
    if probe.grace_ms < probe.timeout_ms:
        what = f"{probe.grace_ms}ms is shorter than one timeout ({probe.timeout_ms}ms)"
        yield Finding((*where, "grace"), what, "no instance could ever start")
    if probe.grace_max_ms and not probe.grace_ms < probe.grace_max_ms <= 86_400_000:  # noqa: PLR2004
        what = f"{probe.grace_max_ms}ms is not more than grace, and 24h at most"
        yield Finding((*where, "grace_max"), what, "how long a start may take in all")
