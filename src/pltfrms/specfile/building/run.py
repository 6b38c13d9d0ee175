"""Shape of `run` -> words of the model."""

from collections.abc import Iterator

from pltfrms.model.services.container import Adopted, Behind, Container
from pltfrms.model.services.names import ZoneUse
from pltfrms.model.services.parts import StoreUse
from pltfrms.model.services.secrets import Generate, OnChange, SecretUse
from pltfrms.model.services.service import Run
from pltfrms.model.services.storage import IoLimits
from pltfrms.specfile.findings import Finding
from pltfrms.specfile.shapes.service import ElsewhereShape, IoShape, RunShape, ZonesShape

_OF_OURS = (
    "files",
    "files_from",
    "binary",
    "modes",
    "environment",
    "secrets",
    "zones",
    "peers_signal",
    "store",
    "cpu",
    "memory",
    "io",
    "stop_grace",
)
_OF_CONTAINERS = ("command", "args", "user", "read_only", "capabilities", "ulimits")


def build_run(shape: RunShape) -> tuple[Run, list[Finding]]:
    """Return how an instance is started, and what is wrong with its text."""
    if _is_adopted(shape):
        run = Run(
            cpu=0.0,
            memory_bytes=0,
            adopted=Adopted(unit=shape.systemd),
            elsewhere=tuple(_elsewhere(shape.external or ElsewhereShape())),
        )
        return run, list(_adopted_findings(shape))
    run = Run(
        # Without both it is refused already; `true` has nothing else to complain about.
        process=tuple(("true",) if shape.process is None else shape.process)
        if shape.image is None
        else (),
        files=tuple(shape.files.items()),
        binary=tuple(shape.binary.items()),
        modes=tuple(shape.modes.items()),
        environment=tuple(shape.environment.items()),
        cpu=shape.cpu,
        memory_bytes=shape.memory,
        stop_grace_ms=shape.stop_grace,
        container=_container(shape.image, shape) if shape.image is not None else None,
        secrets=tuple(
            SecretUse(
                name=name,
                variable=each.variable,
                file=each.file,
                mode=each.mode,
                on_change=OnChange.NOTHING if each.registry else OnChange(each.on_change),
                registry=each.registry,
                generate=Generate(each.generate),
            )
            for name, each in shape.secrets.items()
        ),
        zones=_zones(shape.zones),
        peers_signal=shape.peers_signal,
        store=None if shape.store is None else StoreUse(**shape.store.model_dump()),
        io=_io(shape.io),
    )
    return run, list(_findings(shape))


def _is_adopted(shape: RunShape) -> bool:
    return shape.external is not None or bool(shape.systemd)


def nodes_of(run: Run) -> tuple[str, ...]:
    """Return the nodes behind which it is, where each is named."""
    return tuple(each.node for each in run.elsewhere if each.node)


def _elsewhere(shape: ElsewhereShape) -> Iterator[Behind]:
    if shape.address:
        yield Behind(addresses=tuple(shape.address))
    for node, addresses in sorted(shape.nodes.items()):
        yield Behind(node=node, addresses=tuple(addresses))


def _adopted_findings(shape: RunShape) -> Iterator[Finding]:
    fields = ("process", "image", *_OF_OURS, *_OF_CONTAINERS)
    for field in sorted(shape.model_fields_set.intersection(fields)):
        what = f"{field} is for what we start, and others start this"
        yield Finding(("run", field), what, "leave it out, or external and systemd")
    if shape.external is None:
        return
    if shape.systemd:
        yield Finding(("run", "external"), "systemd says that already", "leave it out")
    if "" in shape.external.nodes:
        yield Finding(("run", "external", "nodes", ""), "that is the name of no node")
    if shape.external.address and shape.external.nodes:
        where = ("run", "external", "address")
        yield Finding(where, "there are nodes too, each with its own", "keep one of the two")


def _zones(shape: ZonesShape | None) -> ZoneUse | None:
    if shape is None:
        return None
    return ZoneUse(reload=tuple(shape.reload), servers=tuple(shape.servers))


def _io(shape: IoShape | None) -> IoLimits | None:
    if shape is None:
        return None
    return IoLimits(
        read_bytes=shape.read, write_bytes=shape.write, reads=shape.reads, writes=shape.writes
    )


def _container(image: str, shape: RunShape) -> Container:
    return Container(
        image=image,
        command=tuple(shape.command),
        args=tuple(shape.args),
        user=shape.user,
        read_only=shape.read_only,
        capabilities=tuple(shape.capabilities),
        ulimits=tuple(shape.ulimits.items()),
    )


def _findings(shape: RunShape) -> Iterator[Finding]:
    if shape.process is None and shape.image is None:
        yield Finding(
            ("run", "process"), "is missing", "add process:, image:, external: or systemd:", ""
        )
    elif shape.image is None:
        for field in sorted(shape.model_fields_set.intersection(_OF_CONTAINERS)):
            what = f"{field} belongs to image, and there is none"
            yield Finding(("run", field), what, "a process has all in its words")
    elif shape.process is not None:
        what = "there is an image too, and an instance is one of them"
        yield Finding(
            ("run", "process"), what, "command and args are what an image is run with"
        )
