"""Shape of a probe -> words of the model."""

from collections.abc import Iterator
from dataclasses import replace

from pltfrms.model.services.probes import ProbeDns, ProbeHttp, ProbeTls, ProbeUdp
from pltfrms.model.services.service import Probe, ProbeKind, RoleSpec
from pltfrms.specfile.findings import Finding, Where
from pltfrms.specfile.shapes.probe import (
    DNS_PORT,
    EpochShape,
    LivenessShape,
    ProbeShape,
    QuestionShape,
    RoleShape,
    TlsShape,
)

_KINDS = ", ".join(ProbeKind)
_FIELDS = {
    "port": {ProbeKind.HTTP, ProbeKind.DNS},
    "host": {ProbeKind.HTTP},
    "headers": {ProbeKind.HTTP},
    "status": {ProbeKind.HTTP},
    "body": {ProbeKind.HTTP},
    "tls": {ProbeKind.HTTP, ProbeKind.TCP, ProbeKind.GRPC},
    "grace_max": {ProbeKind.HTTP, ProbeKind.EXEC, ProbeKind.DNS, ProbeKind.GRPC},
}
"""Which kinds have a field, if not all have it."""


def build_probe(shape: LivenessShape, where: Where) -> tuple[Probe, list[Finding]]:
    """Return the probe, and what is wrong with its text."""
    asked, findings = _question(shape, where)
    announces = shape if isinstance(shape, ProbeShape) else None
    probe = replace(
        asked,
        interval_ms=shape.interval,
        rise=announces.rise if announces else asked.rise,
        fall=shape.fall,
        grace_ms=shape.grace,
        grace_max_ms=shape.grace_max or 0,
        only_announces=announces is not None and not announces.restart,
    )
    return probe, findings


def build_role(name: str, shape: RoleShape) -> tuple[RoleSpec, list[Finding]]:
    """Return a role, and what is wrong with its text."""
    where = ("roles", name)
    asked, findings = _question(shape, where)
    probe = replace(
        asked, interval_ms=shape.interval, rise=1, fall=shape.fall, only_announces=True
    )
    if shape.epoch is not None:
        findings += _epoch(shape.epoch, asked.kind, (*where, "epoch"))
        header = shape.epoch.header
        epoch = header.replace(".", ":") or f".{shape.epoch.field}"  # no header has a dot
        probe = replace(probe, epoch=epoch)
    role = RoleSpec(name=name, probe=probe, shared=shape.shared, ports=tuple(shape.ports))
    return role, findings


def _epoch(shape: EpochShape, kind: ProbeKind, where: Where) -> Iterator[Finding]:
    if kind is not ProbeKind.HTTP:
        what = f"epoch belongs to http, not to {kind.value}"
        yield Finding(where, what, "leave it out")
    if bool(shape.header) == bool(shape.field):
        what = "must have exactly one of header and field"
        yield Finding(where, what, "such as X-Epoch, or {field: timeline}", "")


def _question(shape: QuestionShape, where: Where) -> tuple[Probe, list[Finding]]:
    """Return what is asked, and what is wrong with its text."""
    kinds = [kind for kind in ProbeKind if getattr(shape, kind.value) is not None]
    findings = list(_kinds(shape, kinds, where))
    # Without any kind it is refused already; `exec true` has nothing else to complain about.
    kind = kinds[0] if kinds else ProbeKind.EXEC
    probe = Probe(
        kind=kind,
        port=_port(shape, kind),
        path=shape.http if shape.http is not None else "/",
        command=tuple(shape.exec or ()) if kinds else ("true",),
        timeout_ms=shape.timeout,
        http=_http(shape),
        tls=_tls(shape.tls) if shape.tls is not None else None,
        udp=ProbeUdp(send=shape.udp.send, expect=shape.udp.expect) if shape.udp else None,
        dns=ProbeDns(**shape.dns.model_dump()) if shape.dns else None,
        grpc_service=shape.grpc.service if shape.grpc else "",
    )
    return probe, findings


def _kinds(shape: QuestionShape, kinds: list[ProbeKind], where: Where) -> Iterator[Finding]:
    if len(kinds) != 1:
        said = " and ".join(kind.value for kind in kinds) or "none"
        what = f"must have exactly one of {_KINDS}, not {said}"
        absent = None if kinds else ""
        yield Finding(where, what, "such as {http: /healthz, port: 80}", absent)
    for field, owners in _FIELDS.items():
        if kinds and getattr(shape, field, None) and not owners & set(kinds):
            names = " and ".join(kind.value for kind in ProbeKind if kind in owners)
            what = f"{field} belongs to {names}, not to {kinds[0].value}"
            hint = "tcp: 80 names its own port" if field == "port" else "leave it out"
            yield Finding((*where, field), what, hint)


def _port(shape: QuestionShape, kind: ProbeKind) -> int:
    if kind is ProbeKind.TCP and shape.tcp is not None:
        return shape.tcp
    own = shape.udp if kind is ProbeKind.UDP else shape.grpc
    if own is not None and kind in {ProbeKind.UDP, ProbeKind.GRPC}:
        return own.port
    return shape.port or (DNS_PORT if kind is ProbeKind.DNS else 0)


def _http(shape: QuestionShape) -> ProbeHttp | None:
    http = ProbeHttp(
        host=shape.host,
        headers=tuple(shape.headers.items()),
        status=tuple(shape.status),
        body=shape.body,
    )
    return http if http != ProbeHttp() else None


def _tls(shape: TlsShape) -> ProbeTls:
    return ProbeTls(name=shape.name, ca=shape.ca, unverified=not shape.verify)
