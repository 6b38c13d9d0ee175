"""Shape of a probe -> words of the model."""

from collections.abc import Iterator

from pltfrms.model.services.probes import ProbeDns, ProbeHttp, ProbeTls, ProbeUdp
from pltfrms.model.services.service import Probe, ProbeKind
from pltfrms.specfile.findings import Finding, Where
from pltfrms.specfile.shapes.probe import DNS_PORT, LivenessShape, ProbeShape, TlsShape

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
    kinds = [kind for kind in ProbeKind if getattr(shape, kind.value) is not None]
    findings = list(_kinds(shape, kinds, where))
    # Without any kind it is refused already; `exec true` has nothing else to complain about.
    kind = kinds[0] if kinds else ProbeKind.EXEC
    usual = Probe(kind=kind)
    announces = shape if isinstance(shape, ProbeShape) else None
    probe = Probe(
        kind=kind,
        port=_port(shape, kind),
        path=shape.http if shape.http is not None else "/",
        command=tuple(shape.exec or ()) if kinds else ("true",),
        interval_ms=shape.interval,
        timeout_ms=shape.timeout,
        rise=announces.rise if announces else usual.rise,
        fall=shape.fall,
        grace_ms=shape.grace,
        grace_max_ms=shape.grace_max or 0,
        only_announces=announces is not None and not announces.restart,
        http=_http(shape),
        tls=_tls(shape.tls) if shape.tls is not None else None,
        udp=ProbeUdp(send=shape.udp.send, expect=shape.udp.expect) if shape.udp else None,
        dns=ProbeDns(**shape.dns.model_dump()) if shape.dns else None,
        grpc_service=shape.grpc.service if shape.grpc else "",
    )
    return probe, findings


def _kinds(shape: LivenessShape, kinds: list[ProbeKind], where: Where) -> Iterator[Finding]:
    if len(kinds) != 1:
        said = " and ".join(kind.value for kind in kinds) or "none"
        what = f"must have exactly one of {_KINDS}, not {said}"
        absent = None if kinds else ""
        yield Finding(where, what, "such as {http: /healthz, port: 80}", absent)
    for field, owners in _FIELDS.items():
        if kinds and getattr(shape, field) and not owners & set(kinds):
            names = " and ".join(kind.value for kind in ProbeKind if kind in owners)
            what = f"{field} belongs to {names}, not to {kinds[0].value}"
            hint = "tcp: 80 names its own port" if field == "port" else "leave it out"
            yield Finding((*where, field), what, hint)


def _port(shape: LivenessShape, kind: ProbeKind) -> int:
    if kind is ProbeKind.TCP and shape.tcp is not None:
        return shape.tcp
    own = shape.udp if kind is ProbeKind.UDP else shape.grpc
    if own is not None and kind in {ProbeKind.UDP, ProbeKind.GRPC}:
        return own.port
    return shape.port or (DNS_PORT if kind is ProbeKind.DNS else 0)


def _http(shape: LivenessShape) -> ProbeHttp | None:
    http = ProbeHttp(
        host=shape.host,
        headers=tuple(shape.headers.items()),
        status=tuple(shape.status),
        body=shape.body,
    )
    return http if http != ProbeHttp() else None


def _tls(shape: TlsShape) -> ProbeTls:
    return ProbeTls(name=shape.name, ca=shape.ca, unverified=not shape.verify)
