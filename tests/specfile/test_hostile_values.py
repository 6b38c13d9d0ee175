"""Every text that a service file can say, with hostile words in it: refused, with its line.

Which texts there are is read from the shape, so a new field has to be put into a file here.
What may be said in free words is listed with what becomes of it.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from pltfrms.errors import SpecError
from pltfrms.model.network.topology import Platform
from pltfrms.model.services.service import ServiceSpec
from pltfrms.specfile import load_platform, load_service
from pltfrms.specfile.document import read
from pltfrms.specfile.shapes.service import ServiceShape

EXAMPLE = Path("examples/three-datacenters/platform.yaml")
NUL = "a\0b"
LINES = "a\n--privileged"
ESCAPE = "\x1b[31ma"
SPACE = "a b"
PATHS = frozenset(("../../etc/passwd", "/etc/passwd"))
HOSTILE = (
    *(NUL, LINES, ESCAPE, SPACE),
    *sorted(PATHS),
    "--privileged",
    "-v=/:/host",
    "$(id)",
    "`id`;id|id&id",
    "%s%n",
    "{{ 7 * 7 }}",
    '" } ; drop ; {',
    "${pltfrms.nod}",
    "a\u202eb",
    "a" * 1001,
)
BESIDE = "conf"
"""A directory that is there."""
ARGUMENT = "a word of a command that no shell sees, after the words that are ours"
ASKED = "bytes of a question to an instance, in its own network"
_LINE = frozenset((NUL, LINES, ESCAPE))
_WORD = _LINE | {SPACE}
_NO_PATH = frozenset(HOSTILE) - {"/etc/passwd"}
_INSIDE = "a place in the container, and not in its machine"
FREE: Mapping[str, tuple[str, frozenset[str]]] = {
    "run.process.*": (ARGUMENT, frozenset((NUL,))),
    "run.command": (ARGUMENT, frozenset((NUL,))),
    "run.command.*": (ARGUMENT, frozenset((NUL,))),
    "run.args.*": (ARGUMENT, frozenset((NUL,))),
    "run.environment.KEY": ("told to a program, not to its runtime", frozenset((NUL,))),
    "run.environment.": ("a long name is one, too", frozenset(HOSTILE[:-1])),
    "run.files.KEY": ("the text of a file", frozenset((NUL,))),
    "run.files.": ("a name below the instance's own directory", _LINE | PATHS),
    "run.binary.": ("likewise", _LINE | PATHS),
    "run.secrets.KEY.variable": ("as of the environment", frozenset(HOSTILE[:-1])),
    "run.secrets.KEY.file": (
        "a name in the directory of secrets",
        _LINE | PATHS | {"-v=/:/host", *HOSTILE[-2:]},
    ),
    "run.zones.reload": (ARGUMENT, frozenset((NUL,))),
    "run.zones.reload.*": (ARGUMENT, frozenset((NUL,))),
    **{
        f"hooks.{moment}.run{end}": (ARGUMENT, frozenset((NUL,)))
        for moment in ("hand_over", "join", "leave")
        for end in ("", ".*")
    },
    "volumes.KEY.path": (_INSIDE, _NO_PATH),
    "host_paths.*.path": (_INSIDE, _NO_PATH),
    "probe.exec.*": (ARGUMENT, frozenset((NUL,))),
    "probe.http": (ASKED, _WORD),
    "probe.host": (ASKED, _WORD | PATHS),
    "probe.tls.name": (ASKED, _WORD | PATHS),
    "probe.headers.KEY": (ASKED, _LINE),
    "probe.headers.": (ASKED, _WORD | PATHS),
    "probe.body": ("looked for in an answer", frozenset()),
    "probe.udp.send": (ASKED, frozenset()),
    "probe.udp.expect": ("looked for in an answer", frozenset()),
    "probe.dns.name": (ASKED, _WORD),
    "probe.grpc.service": (ASKED, frozenset()),
    "rollout.compare.http": (ASKED, _WORD),
}
"""By field, with a dot behind it for its keys: what becomes of a text that is not refused,
which nobody else reads, and what is refused all the same."""

_RUN = {"process": ["nginx"], "memory": "64MiB"}
_PROBE = {"http": "/healthz", "port": 80}
_BASE: dict[str, Any] = {
    "service": "web",
    "run": _RUN,
    "replicas": {"per_datacenter": 1, "datacenters": ["fra"]},
    "probe": _PROBE,
}
_TIMES = {"interval": "500ms", "timeout": "300ms", "grace": "10s", "grace_max": "1m"}
_IMAGE = f"registry.example/shop/web@sha256:{'0a' * 32}"
_ASKS: tuple[dict[str, Any], ...] = (
    {"http": "/", "port": 80, "host": "a.example", "headers": {"X-A": "a"}, "body": "a"}
    | _TIMES,
    {"tcp": 80, "tls": {"name": "a.example"}},
    {"exec": ["true"]},
    {"udp": {"port": 1, "send": "a", "expect": "b"}},
    {"dns": {"name": "a", "type": "A", "rcode": "NOERROR", "answer": "192.0.2.1"}},
    {"grpc": {"port": 1, "service": "a"}},
)
_ROLE = {
    "http": "/",
    "port": 80,
    "interval": "200ms",
    "timeout": "300ms",
}
FILES: tuple[dict[str, Any], ...] = (
    _BASE
    | {
        "run": _RUN
        | {"files": {"a.conf": "a"}, "environment": {"A": "a"}, "stop_grace": "5s"}
        | {"io": {"read": "1MiB", "write": "1MiB"}},
        "ports": ["80/tcp"],
        "egress": {"mode": "datacenter", "allow": ["443/tcp"]},
        "drain": "1s",
        "aggregate": ["198.51.100.0/24"],
        "group": "shop",
        "labels": {"team": "edge"},
    },
    _BASE
    | {
        "run": {
            "image": _IMAGE,
            "command": ["a"],
            "args": ["a"],
            "user": "1",
            "capabilities": ["CHOWN"],
            "ulimits": {"nofile": 9},
        },
        "addresses": ["198.51.100.9", "2001:db8:100::9"],
        "ports": [{"port": "80/tcp", "clients": ["internet", "service:api"]}],
        "replicas": {"per_datacenter": 1, "fra": 2},
        "capacity": {"requests": "2/s", "load": "1/s"},
    },
    _BASE
    | {
        "rollout": {
            "stages": [{"datacenters": ["fra"]}],
            "bake": "1s",
            "compare": {"http": "/", "interval": "50ms", "timeout": "1s", "margin": "5ms"},
        },
    },
    *(_BASE | {"probe": asks} for asks in _ASKS),
    _BASE | {"liveness": _ASKS[0]},  # which is checked as a probe is
    _BASE
    | {
        "run": {"image": _IMAGE, "command": "a"},
        "replicas": {"per_datacenter": 1},
        "aggregate": "198.51.100.0/24",
        "egress": "none",
        "rollout": {"stages": ["fra", ["ams"]]},
        "host_paths": ["/srv/geo"],
    },
    _BASE
    | {
        "run": {"image": _IMAGE},
        "volumes": {
            "a": {"path": "/var/lib/db", "size": "1GiB", "owner": "1", "lost_after": "1h"}
        },
        "host_paths": [{"source": "/srv/geo", "path": "/data/geo"}],
    },
    _BASE
    | {
        "run": {"systemd": "a.service"},
        "replicas": {"per_datacenter": 1, "datacenters": ["fra"], "nodes": ["fra-n1"]},
        "ports": ["80/tcp"],
    },
    *(
        _BASE
        | {"run": {"external": where}, "addresses": ["198.51.100.9"]}
        | {"replicas": {"per_datacenter": 1, "datacenters": ["fra"]}}
        for where in (
            {"address": "192.168.122.10"},
            {"address": ["192.168.122.10"]},
            {"nodes": {"fra-n1": "192.168.122.10"}},
            {"nodes": {"fra-n1": ["192.168.122.10"]}},
        )
    ),
    _BASE | {"run": _RUN | {"zones": {"reload": ["a"], "servers": ["ns2.example.net"]}}},
    _BASE | {"run": _RUN | {"zones": {"reload": "a"}}},
    *(
        _BASE
        | {
            "run": _RUN | {"peers_signal": "HUP"},
            "volumes": {"a": {"path": "/var/lib/db", "size": "1GiB"}},
            "roles": {"writer": _ROLE},
            "hooks": {
                moment: {"run": run, "timeout": "9s"}
                for moment in ("hand_over", "join", "leave")
            },
        }
        for run in ("a", ["a", "b"])
    ),
    *(
        _BASE | {"roles": {"writer": _ROLE | {"epoch": epoch, "ports": ["80/tcp"]}}}
        for epoch in ("X-Epoch", {"header": "X-Epoch"}, {"field": "timeline"})
    ),
    _BASE | {"scale": {"min": 1, "max": 2, "connections": "10/s"}},
    _BASE
    | {
        "run": _RUN
        | {
            "files": {"a.conf": "a"},
            "files_from": BESIDE,
            "binary": {"logo": "YQ=="},
            "modes": {"a.conf": "0644"},
            "secrets": {
                "db": {"variable": "DB", "generate": "password"},
                "tls": {"file": "tls.key", "mode": "0400", "on_change": "signal HUP"},
            },
            "store": {"secret": "db"},
        },
    },
)
_CERTIFICATE = {"probe.tls.ca"}
"""Only a whole one can stand there: see `test_bad_specs`."""
_SAID_AT_ITS_BEGINNING = "rollout.stages.*.datacenters.*"
"""In a mapping of several lines, which nobody writes."""


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    text = EXAMPLE.read_text()
    unicast = (
        '{prefix: 192.0.2.0/24, unicast: fra}, {prefix: "2001:db8:200::/48", unicast: fra}'
    )
    path = tmp_path_factory.mktemp("platform") / "platform.yaml"
    text = text.replace("aggregates: [", f"aggregates: [{unicast}, ")
    path.write_text(f"{text}allowed_host_paths: [/srv/geo]\n")
    return load_platform(path)


def written(value: Any, indent: str = "") -> str:
    """Return YAML with each text, and each key, in a line of its own."""
    if isinstance(value, dict):
        parts = ((f"{json.dumps(key)}:", each) for key, each in value.items())
    elif isinstance(value, list):
        parts = (("-", each) for each in value)
    else:
        return f" {json.dumps(value)}\n"
    return "\n" + "".join(
        f"{indent}{head}{written(each, indent + '  ')}" for head, each in parts
    )


def texts(value: Any, where: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where a text stands; for the key of a mapping, with an empty word behind it."""
    if isinstance(value, dict):
        for key, each in value.items():
            if pattern((*where, key)).endswith("KEY"):
                yield (*where, key, "")
            yield from texts(each, (*where, key))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from texts(each, (*where, index))
    elif isinstance(value, str):
        yield where


def pattern(where: tuple[Any, ...]) -> str:
    """Return where something stands as the shape calls it."""
    named = (
        *("roles", "volumes", "files", "binary", "modes", "secrets"),
        *("environment", "labels", "ulimits", "headers"),
    )
    words = ["*" if isinstance(word, int) else word for word in where]
    for index in range(1, len(words)):
        if (
            words[index - 1] in named
            or (words[:index] == ["replicas"] and words[index] == "fra")
            or words[:index] == ["run", "external", "nodes"]
        ):
            words[index] = "KEY"
    return ".".join(words)


def changed(value: Any, where: tuple[Any, ...], text: str) -> Any:
    """Return the document with another text there."""
    head, rest = where[0], where[1:]
    if rest == ("",):
        return {(text if key == head else key): each for key, each in value.items()}
    new = changed(value[head], rest, text) if rest else text
    if isinstance(value, dict):
        return value | {head: new}
    return [*value[:head], new, *value[head + 1 :]]


def loaded(document: Any, platform: Platform, path: Path) -> ServiceSpec:
    path.write_text(written(document))
    return load_service(path, platform)


@pytest.mark.parametrize("number", range(len(FILES)))
def test_hostile_words_are_refused_with_their_line(
    number: int, platform: Platform, tmp_path: Path
) -> None:
    document, path = FILES[number], tmp_path / "web.yaml"
    (tmp_path / BESIDE).mkdir()
    loaded(document, platform, path)
    wrong: list[str] = []
    before = {pattern(where) for each in FILES[:number] for where in texts(each)}
    for where in texts(document):
        name = pattern(where)
        beside = document.keys() & {"volumes", "roles"}  # without which there are no hooks
        needed = {key: document[key] for key in (*_BASE, where[0], *beside)}
        for text in () if name in before else HOSTILE:
            try:
                loaded(changed(needed, where, text), platform, path)
            except SpecError as error:
                lines = {problem.line for problem in error.problems}
                at = (*where[:-2], text) if where[-1] == "" else where
                if name == _SAID_AT_ITS_BEGINNING:
                    at = where[:-2]
                if read(path).line(at) not in lines:
                    wrong.append(f"{name} {text[:20]!r} without its line: {error}"[:300])
            else:
                field = as_probe(name).removesuffix("KEY.")
                if field not in FREE or text in FREE[field][1]:
                    wrong.append(f"{name} {text[:20]!r} is taken")
    assert not wrong, "\n".join(wrong)


def test_no_text_of_the_shape_is_left_out() -> None:
    schema = ServiceShape.model_json_schema()
    every = (where for each in FILES for where in texts(each) if where[-1] != "")
    here = {as_probe(pattern(where)) for where in every}
    assert set(map(as_probe, shaped(schema, schema))) - here == _CERTIFICATE
    assert {name for name in FREE if name[-1] != "."} <= here


def as_probe(name: str) -> str:
    """Return the name of a field of a probe, of a question that is checked as one."""
    return name.replace("liveness.", "probe.", 1).replace("roles.KEY.", "probe.", 1)


def shaped(
    schema: Mapping[str, Any], root: Mapping[str, Any], where: tuple[str, ...] = ()
) -> Iterator[str]:
    """Yield the name of every text of a JSON Schema."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    for choice in schema.get("anyOf", ()):
        yield from shaped(choice, root, where)
    if schema.get("type") == "string":
        yield ".".join(where)
    for name, each in schema.get("properties", {}).items():
        yield from shaped(each, root, (*where, name))
    if isinstance(schema.get("items"), dict):
        yield from shaped(schema["items"], root, (*where, "*"))
    if isinstance(schema.get("additionalProperties"), dict):
        yield from shaped(schema["additionalProperties"], root, (*where, "KEY"))
