"""Words of the model -> the text of a `service.yaml` that says the same."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from pltfrms.model.services.container import Container
from pltfrms.model.services.names import ZoneUse
from pltfrms.model.services.outgoing import Egress, EgressRule
from pltfrms.model.services.probes import ProbeHttp, ProbeTls
from pltfrms.model.services.roles import ROLE_INTERVAL_MS
from pltfrms.model.services.secrets import SecretUse
from pltfrms.model.services.service import (
    Compare,
    Probe,
    ProbeKind,
    RoleSpec,
    RolloutSpec,
    Run,
    Scale,
    ServiceSpec,
    Stage,
)
from pltfrms.model.services.storage import STOP_GRACE_MS, IoLimits, Storage, VolumeSpec

_DEFAULT: Final = ServiceSpec(
    name="", run=Run(process=()), probe=Probe(kind=ProbeKind.TCP), per_datacenter=1
)
_PLAIN: Final = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*\Z")
_NOT_TEXT: Final = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
_ROWS: Final = re.compile(r"(?! )(?:(?:\x20*[\x21-\x7e][\x20-\x7e]*)?\n)+\Z")
"""What can stand as a block: rows with something in them, or empty ones. By how far the first
one is indented YAML knows what belongs to it."""
_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}
_LATIN: Final = 0x100
_WIDE: Final = 0x10000


def service_text(spec: ServiceSpec) -> str:
    """Return the text of a file that says exactly this service, without what is the default."""
    return "\n".join((f"service: {_text(spec.name)}", *_lines(spec))) + "\n"


def _lines(spec: ServiceSpec) -> Iterator[str]:
    yield "run:"
    keeps = bool(spec.storage and spec.storage.volumes)
    grace_ms = STOP_GRACE_MS if keeps else _DEFAULT.run.stop_grace_ms
    lines = _adopted(spec.run) if spec.run.adopted else _run(spec.run, grace_ms)
    yield from (f"  {line}" for line in lines)
    yield f"replicas: {_flow(_replicas(spec))}"
    if spec.ports:
        yield f"ports: [{', '.join(_port(spec, each) for each in spec.ports)}]"
    if spec.egress != Egress():
        yield f"egress: {_egress(spec.egress)}"
    if spec.weight != _DEFAULT.weight:
        yield f"weight: {spec.weight}"
    if spec.aggregates:
        yield f"aggregate: {_list(spec.aggregates)}"
    if spec.addresses:
        yield f"addresses: {_list(map(str, spec.addresses))}"
    if spec.drain_ms != _DEFAULT.drain_ms:
        yield f"drain: {_time(spec.drain_ms)}"
    yield f"probe: {_flow(_probe(spec.probe))}"
    if spec.liveness is not None:
        yield f"liveness: {_flow(_probe(spec.liveness))}"
    yield from _roles(spec)
    yield from _labels(spec)
    yield from _policies(spec)


def _roles(spec: ServiceSpec) -> Iterator[str]:
    if spec.roles:
        yield "roles:"
    yield from (f"  {_text(role.name)}: {_flow(_role(role))}" for role in spec.roles)


def _labels(spec: ServiceSpec) -> Iterator[str]:
    if spec.group:
        yield f"group: {_text(spec.group)}"
    if spec.labels:
        yield f"labels: {_flow((_text(name), _text(text)) for name, text in spec.labels)}"


def _policies(spec: ServiceSpec) -> Iterator[str]:
    if spec.capacity is not None:
        said = (("requests", spec.capacity.requests), ("load", spec.capacity.load))
        yield f"capacity: {_flow((name, f'{number}/s') for name, number in said)}"
    if spec.batch:
        yield "batch: true"
    if spec.scale is not None:
        yield f"scale: {_flow(_scale(spec.scale))}"
    if spec.rollout is not None:
        yield f"rollout: {_flow(_rollout(spec.rollout))}"
    if spec.storage is not None:
        yield from _storage(spec.storage)
    if spec.hooks:
        yield "hooks:"
    for each in spec.hooks:
        words = (("run", _list(each.command)), ("timeout", _time(each.timeout_ms)))
        yield f"  {each.moment}: {_flow(words)}"


def _storage(storage: Storage) -> Iterator[str]:
    if storage.volumes:
        yield "volumes:"
    for volume in storage.volumes:
        yield f"  {_text(volume.name)}: {_flow(_volume(volume))}"
    if storage.host_paths:
        yield "host_paths:"
    for each in storage.host_paths:
        said = (("source", each.source), ("path", each.path))
        yield f"  - {_flow((field, _text(path)) for field, path in said)}"


def _volume(volume: VolumeSpec) -> Iterator[tuple[str, str]]:
    yield "path", _text(volume.path)
    yield "size", _size(volume.size_bytes)
    if volume.owner:
        yield "owner", _text(volume.owner)
    if volume.lost_after_ms is not None:
        yield "lost_after", _time(volume.lost_after_ms)


def _scale(scale: Scale) -> Iterator[tuple[str, str]]:
    yield from (("min", str(scale.min)), ("max", str(scale.max)))
    if scale.cpu is not None:
        yield "cpu", repr(scale.cpu)
    if scale.connections is not None:
        yield "connections", f"{scale.connections}/s"


def _run(run: Run, grace_ms: int) -> Iterator[str]:
    if run.container is None:
        yield f"process: {_list(run.process)}"
    else:
        yield from _container(run.container)
    kinds = ("files", run.files), ("binary", run.binary), ("environment", run.environment)
    for field, texts in kinds:
        if texts:
            yield f"{field}:"
        for name, text in texts:
            yield from (f"  {line}" for line in _block(name, text))
    yield from _modes(run)
    yield from _secrets(run)
    yield from _zones(run.zones)
    if run.peers_signal:
        yield f"peers_signal: {run.peers_signal}"
    if run.store is not None:
        words = (("end_leases", "true"),) if run.store.end_leases else ()
        yield f"store: {_flow((('secret', _text(run.store.secret)), *words))}"
    yield from _amounts(run, grace_ms)


def _amounts(run: Run, grace_ms: int) -> Iterator[str]:
    usual = _DEFAULT.run
    if run.cpu != usual.cpu:
        yield f"cpu: {run.cpu!r}"
    if run.memory_bytes != usual.memory_bytes:
        yield f"memory: {_size(run.memory_bytes)}"
    if run.io is not None:
        yield f"io: {_flow(_io(run.io))}"
    if run.stop_grace_ms != grace_ms:
        yield f"stop_grace: {_time(run.stop_grace_ms)}"


def _io(io: IoLimits) -> Iterator[tuple[str, str]]:
    for name, size in (("read", io.read_bytes), ("write", io.write_bytes)):
        if size:
            yield name, _size(size)
    for name, count in (("reads", io.reads), ("writes", io.writes)):
        if count:
            yield name, str(count)


def _adopted(run: Run) -> Iterator[str]:
    if run.adopted and run.adopted.unit:
        yield f"systemd: {_text(run.adopted.unit)}"
        return
    every = {each.node: _list(map(str, each.addresses)) for each in run.elsewhere}
    if not every:
        yield "external: true"
    elif "" in every:
        yield f"external: {{address: {every['']}}}"
    else:
        pairs = ((_text(node), addresses) for node, addresses in every.items())
        yield f"external: {{nodes: {_flow(pairs)}}}"


def _modes(run: Run) -> Iterator[str]:
    if run.modes:
        modes = ((_text(name), f'"{mode:04o}"') for name, mode in run.modes)
        yield f"modes: {_flow(modes)}"


def _secrets(run: Run) -> Iterator[str]:
    if run.secrets:
        yield "secrets:"
    for use in run.secrets:
        yield f"  {_text(use.name)}: {_flow(_secret(use))}"


def _zones(use: ZoneUse | None) -> Iterator[str]:
    if use is not None:
        lists = ("reload", use.reload), ("servers", use.servers)
        yield f"zones: {_flow((name, _list(words)) for name, words in lists if words)}"


def _secret(use: SecretUse) -> Iterator[tuple[str, str]]:
    usual = SecretUse(name="")
    for field, text in (("variable", use.variable), ("file", use.file)):
        if text:
            yield field, _text(text)
    if use.mode != usual.mode:
        yield "mode", f'"{use.mode:04o}"'
    if use.generate:
        yield "generate", use.generate.value
    if use.registry:
        yield "registry", "true"
    elif use.on_change is not usual.on_change:
        yield "on_change", use.on_change.value


def _container(box: Container) -> Iterator[str]:
    yield f"image: {_text(box.image)}"
    for field, words in (("command", box.command), ("args", box.args)):
        if words:
            yield f"{field}: {_list(words)}"
    if box.user:
        yield f"user: {_text(box.user)}"
    if not box.read_only:
        yield "read_only: false"
    if box.capabilities:
        yield f"capabilities: {_list(box.capabilities)}"
    if box.ulimits:
        yield f"ulimits: {_flow((name, str(limit)) for name, limit in box.ulimits)}"


def _block(name: str, text: str) -> Iterator[str]:
    """Yield a text under its name: as rows, if they say the same."""
    if "\n" not in text or not _ROWS.match(text):
        yield f"{_text(name)}: {_text(text)}"
        return
    rows = text.split("\n")[:-1]
    if not rows[0] or not rows[-1]:  # a block would lose empty rows at its ends
        yield f"{_text(name)}: {_text(text)}"
        return
    yield f"{_text(name)}: |"
    yield from (f"  {row}" if row else "" for row in rows)


def _replicas(spec: ServiceSpec) -> Iterator[tuple[str, str]]:
    if spec.per_datacenter:
        yield "per_datacenter", str(spec.per_datacenter)
    if spec.total:
        yield "total", str(spec.total)
    yield from ((_text(name), str(count)) for name, count in spec.counts)
    if spec.datacenters:
        yield "datacenters", _list(spec.datacenters)
    if spec.max_per_node != _DEFAULT.max_per_node:
        yield "max_per_node", str(spec.max_per_node)
    if spec.nodes:
        yield "nodes", _list(spec.nodes)


def _probe(probe: Probe) -> Iterator[tuple[str, str]]:
    usual = _DEFAULT.probe
    yield from _question(probe)
    for field in ("interval", "timeout", "grace", "grace_max"):
        if getattr(probe, f"{field}_ms") != getattr(usual, f"{field}_ms"):
            yield field, _time(getattr(probe, f"{field}_ms"))
    for field in ("rise", "fall"):
        if getattr(probe, field) != getattr(usual, field):
            yield field, str(getattr(probe, field))
    if probe.only_announces:
        yield "restart", "false"


def _question(probe: Probe) -> Iterator[tuple[str, str]]:
    yield from _asked(probe)
    if probe.http is not None:
        yield from _http(probe.http)
    if probe.tls is not None:
        yield "tls", _flow(_tls(probe.tls))


def _role(role: RoleSpec) -> Iterator[tuple[str, str]]:
    yield from _question(role.probe)
    for name, value_ms, usual_ms in (
        ("interval", role.probe.interval_ms, ROLE_INTERVAL_MS),
        ("timeout", role.probe.timeout_ms, _DEFAULT.probe.timeout_ms),
    ):
        if value_ms != usual_ms:
            yield name, _time(value_ms)
    if role.probe.fall != 1:
        yield "fall", str(role.probe.fall)
    if epoch := role.probe.epoch:
        field = _flow((("field", _text(epoch[1:])),))
        yield "epoch", field if epoch.startswith(".") else _text(epoch)
    if role.shared:
        yield "shared", "true"
    if role.ports:
        yield "ports", _list(role.ports)


def _asked(probe: Probe) -> Iterator[tuple[str, str]]:
    port = str(probe.port)
    if probe.kind is ProbeKind.EXEC:
        yield "exec", _list(probe.command)
    elif probe.kind is ProbeKind.HTTP:
        yield "http", _text(probe.path)
        yield "port", port
    elif probe.dns is not None:
        fields = ("name", "type", "rcode", "answer")
        said = [(each, getattr(probe.dns, each)) for each in fields]
        yield "dns", _flow((field, _text(text)) for field, text in said if text)
        yield "port", port
    elif probe.udp is not None:
        said = [
            ("send", probe.udp.send),
            *([("expect", probe.udp.expect)] if probe.udp.expect else []),
        ]
        yield "udp", _flow([("port", port), *((field, _text(text)) for field, text in said)])
    elif probe.grpc_service:
        yield "grpc", _flow((("port", port), ("service", _text(probe.grpc_service))))
    else:
        yield probe.kind.value, port


def _tls(tls: ProbeTls) -> Iterator[tuple[str, str]]:
    if tls.name:
        yield "name", _text(tls.name)
    if tls.ca:
        yield "ca", _text(tls.ca)
    if tls.unverified:
        yield "verify", "false"


def _http(http: ProbeHttp) -> Iterator[tuple[str, str]]:
    if http.host:
        yield "host", _text(http.host)
    if http.headers:
        yield "headers", _flow((_text(name), _text(text)) for name, text in http.headers)
    if http.status:
        yield "status", f"[{', '.join(map(str, http.status))}]"
    if http.body:
        yield "body", _text(http.body)


def _rollout(rollout: RolloutSpec) -> Iterator[tuple[str, str]]:
    if rollout.stages:
        yield "stages", f"[{', '.join(_flow(_stage(each)) for each in rollout.stages)}]"
    yield "bake", _time(rollout.bake_ms)
    yield "parallel", str(rollout.parallel)
    if rollout.compare is not None:
        yield "compare", _flow(_compare(rollout.compare))
    if rollout.untried:
        yield "trial", "false"


def _compare(compare: Compare) -> Iterator[tuple[str, str]]:
    usual = Compare(path="/")
    yield "http", _text(compare.path)
    if compare.port:
        yield "port", str(compare.port)
    for field in ("interval", "timeout", "margin"):
        if getattr(compare, f"{field}_ms") != getattr(usual, f"{field}_ms"):
            yield field, _time(getattr(compare, f"{field}_ms"))
    said = (
        ("samples", compare.samples, usual.samples),
        ("errors", compare.errors_percent, usual.errors_percent),
        ("times", compare.times, usual.times),
    )
    yield from ((field, repr(value)) for field, value, default in said if value != default)


def _stage(stage: Stage) -> Iterator[tuple[str, str]]:
    yield "datacenters", _list(stage.datacenters)
    if stage.replicas:
        yield "replicas", str(stage.replicas)


def _port(spec: ServiceSpec, port: str) -> str:
    clients = next((each.clients for each in spec.clients if each.port == port), ())
    if not clients:
        return _text(port)
    return _flow((("port", _text(port)), ("clients", _list(clients))))


def _egress(egress: Egress) -> str:
    if egress.mode and not egress.allow:
        return _text(egress.mode.value)
    said = {"mode": _text(egress.mode.value)} if egress.mode else {}
    return _flow({**said, "allow": _list(map(_rule, egress.allow))}.items())


def _rule(rule: EgressRule) -> str:
    port = f"{rule.port}/{rule.protocol}" if rule.port else ""
    return " ".join(filter(None, (str(rule.prefix or ""), port)))


def _flow(pairs: Iterable[tuple[str, str]]) -> str:
    return "{" + ", ".join(f"{name}: {value}" for name, value in pairs) + "}"


def _list(texts: Iterable[str]) -> str:
    return f"[{', '.join(map(_text, texts))}]"


def _text(text: str) -> str:
    """Return a text so that YAML reads just this: as it is, or in quotes."""
    if _PLAIN.match(text) and text.lower() not in _NOT_TEXT:
        return text
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(sign: str) -> str:
    code = ord(sign)
    if sign in _ESCAPES:
        return _ESCAPES[sign]
    if sign.isprintable():
        return sign
    if code < _LATIN:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < _WIDE else f"\\U{code:08x}"


def _time(milliseconds: int) -> str:
    whole = milliseconds and milliseconds % 1000 == 0
    return f"{milliseconds // 1000}s" if whole else f"{milliseconds}ms"


_UNITS: Final[Mapping[str, int]] = {"GiB": 2**30, "MiB": 2**20, "KiB": 2**10}


def _size(size_bytes: int) -> str:
    for unit, size in _UNITS.items():
        if size_bytes and size_bytes % size == 0:
            return f"{size_bytes // size}{unit}"
    return f"{size_bytes}B"
