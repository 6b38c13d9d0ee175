"""The shape of a probe. The docstrings are what editors show."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from pltfrms.model.services.probes import DNS_RCODES, DNS_TYPES, ProbeDns
from pltfrms.model.services.roles import ROLE_INTERVAL_MS
from pltfrms.model.services.service import Probe, ProbeKind
from pltfrms.specfile.shapes.shapes import Shape
from pltfrms.specfile.shapes.units import Milliseconds, default, one_of, port_text, said, some

_PROBE = Probe(kind=ProbeKind.TCP)
_DNS = ProbeDns(name=".")
DNS_PORT = 53


class TlsShape(Shape):
    """TLS, and whom it believes."""

    name: str = said()
    """Whose certificate it must be; by default `host`, or the address that is asked."""
    ca: str = said()
    """Certificates that it must be signed by one of, as PEM; by default those that the node's
    system trusts."""
    verify: bool = True
    """Whether it must be signed by anybody, and be of that name."""


class DnsShape(Shape):
    """A question to a name server, over UDP."""

    name: str
    """The name that is asked for, such as www.example.net."""
    type: Annotated[str, *one_of(*DNS_TYPES)] = _DNS.type
    """Type of the record."""
    rcode: Annotated[str, *one_of(*DNS_RCODES)] = _DNS.rcode
    """Code of the answer that is a success."""
    answer: str = said()
    """Address that must be among the answers, for A and AAAA."""


class UdpShape(Shape):
    """One datagram, and what must come back."""

    port: int
    """UDP port that it is sent to."""
    send: str
    """What is sent: a byte for each character, such as "\\x01status"."""
    expect: str = said()
    """What the answer must have in it; by default anything will do."""


def _as_grpc(value: object) -> object:
    return {"port": value} if isinstance(value, int) else value


class GrpcShape(Shape):
    """The health service of gRPC (grpc.health.v1)."""

    port: int
    """TCP port of the server."""
    service: str = said()
    """Which of its services must be serving; by default the server as a whole."""


GrpcEntry = Annotated[
    GrpcShape, BeforeValidator(_as_grpc, json_schema_input_type=int | GrpcShape)
]


def _as_list(value: object) -> object:
    return [value] if isinstance(value, int) else value


StatusList = Annotated[
    list[int], BeforeValidator(_as_list, json_schema_input_type=int | list[int])
]


class QuestionShape(Shape):
    """What is asked: exactly one of http, tcp, exec, udp, dns, grpc."""

    http: str | None = None
    """Path to GET, such as /healthz; any 2xx or 3xx answer is a success. Needs `port`."""
    port: int = 0
    """TCP port for `http`; UDP port for `dns`, which has 53 without it."""
    tcp: int | None = None
    """TCP port to connect to."""
    exec: list[str] | None = None
    """Command run inside the instance; exit code 0 is a success."""
    udp: UdpShape | None = None
    """A datagram to send, and what must come back."""
    dns: DnsShape | None = None
    """What to ask a name server, and what it must answer."""
    grpc: GrpcEntry | None = None
    """TCP port of a server with the health service of gRPC, or {port: ..., service: ...}."""
    host: str = said()
    """For `http`: what `Host` says; by default the address that is asked."""
    headers: dict[str, str] = Field(default_factory=dict)
    """For `http`: further headers of the question."""
    status: StatusList = some()
    """For `http`: which answers are a success, such as 200 or [200, 404]."""
    body: str = said()
    """For `http`: what the answer must have in its first 64 KiB."""
    tls: TlsShape | None = None
    """For `http`, `tcp` and `grpc`: ask with TLS; {} trusts whom the node's system trusts."""
    timeout: Milliseconds = default(_PROBE.timeout_ms, f"{_PROBE.timeout_ms}ms")
    """No answer within this time is a failure."""


class LivenessShape(QuestionShape):
    """A question asked over and over: exactly one of http, tcp, exec, udp, dns, grpc."""

    interval: Milliseconds = default(_PROBE.interval_ms, f"{_PROBE.interval_ms}ms")
    """Time between two questions. A hung instance is noticed after at most
    fall x (interval + timeout)."""
    fall: int = _PROBE.fall
    """Failures in a row before a healthy instance counts as unhealthy and is restarted."""
    grace: Milliseconds = default(_PROBE.grace_ms, f"{_PROBE.grace_ms}ms")
    """A starting instance that has not succeeded once after this long is restarted."""
    grace_max: Milliseconds | None = None
    """While a starting instance answers something new each time (a status, the first line of a
    body, an exit code), `grace` begins anew, for this long in all. By default it does not."""


class ProbeShape(LivenessShape):
    """A question asked over and over: exactly one of http, tcp, exec, udp, dns, grpc."""

    rise: int = _PROBE.rise
    """Successes in a row before an unhealthy instance counts as healthy."""
    restart: bool = True
    """Whether one that fails is restarted, too, and not only withdrawn. With `liveness` that
    alone restarts."""


def _as_epoch(value: object) -> object:
    return {"header": value} if isinstance(value, str) else value


class EpochShape(Shape):
    """Where an answer has the epoch of a role: exactly one of header and field."""

    header: str = said()
    """A header of it, such as X-Epoch."""
    field: str = said()
    """A field of the JSON object in its body, such as timeline."""


EpochEntry = Annotated[
    EpochShape, BeforeValidator(_as_epoch, json_schema_input_type=str | EpochShape)
]


class RoleShape(QuestionShape):
    """Who has a role: exactly one of http, tcp, exec, udp, dns, grpc."""

    interval: Milliseconds = default(ROLE_INTERVAL_MS, f"{ROLE_INTERVAL_MS}ms")
    """Time between two questions. Who hangs has lost the role after at most
    fall x (interval + timeout)."""
    fall: int = 1
    """Failures in a row before an instance has the role no more. One success is enough."""
    epoch: EpochEntry | None = None
    """For `http`: a number in the answer that grows whenever the role moves, as a header (its
    name) or {field: timeline}, of JSON. The highest has the role, whoever else says so."""
    shared: bool = False
    """Whether any number of instances may have it at once. By default one has."""
    ports: list[Annotated[str, BeforeValidator(port_text)]] = some()
    """What it listens on at the addresses of the role, such as 5432/tcp. By default what the
    service does."""
