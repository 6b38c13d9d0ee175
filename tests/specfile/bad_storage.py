"""Wrong words about volumes and paths of machines, such as reach further than they may."""

from tests.specfile.bad_containers import IMAGE
from tests.specfile.bad_specs import Bad

_PROCESS = "process: [nginx, -p, ., -c, nginx.conf, -e, error.log]"
_PROBE = "probe:"
_BOXED = (_PROCESS, f"image: {IMAGE}")
_AGGREGATES = 'aggregates: [198.51.100.0/24, "2001:db8:100::/48"]'


def _volume(text: str, says: str, name: str = "data", also: tuple[str, str] = ("", "")) -> Bad:
    new = f"volumes: {{{name}: {{{text}}}}} # <-\n{_PROBE}"
    return Bad(name=f"{name}: {text}", old=_PROBE, new=new, says=says, also=also)


def _host(path: str, says: str) -> Bad:
    new = f"host_paths: [{path}] # <-\n{_PROBE}"
    return Bad(name=f"host {path}", old=_PROBE, new=new, says=says, also=_BOXED)


_GOOD = "path: /var/lib/db, size: 1GiB"
_NOT_PLAIN = "is not a plain absolute path"
STORAGE = (
    *(
        _volume(f"path: '{path}', size: 1GiB", _NOT_PLAIN)
        for path in (
            "",
            ".",
            "db",
            "./db",
            "../db",
            "~/db",
            "/var/lib/../../etc",
            "/var/lib/..",
            "/var//lib/db",
            "/var/lib/db/",
            "//var/lib/db",
            "/var/lib/./db",
            "C:\\db",
        )
    ),
    *(
        _volume(f"path: {path}, size: 1GiB", "would hide", also=_BOXED)
        for path in ("/", "/proc", "/proc/1", "/sys", "/dev/null", "/etc", "/run", "/etc/hosts")
    ),
    *(
        _volume(f"path: {path}, size: 1GiB", "would hide from a process what its machine has")
        for path in ("/etc/db", "/usr/lib", "/var/lib", "/var/lib/pltfrms/x", "/root", "/boot")
    ),
    _volume("path: /var/lib/db, size: 1KiB", "is outside 1MiB..1PiB"),
    _volume("path: /var/lib/db", "is missing"),
    _volume(f"{_GOOD}, owner: postgres", "'postgres' is not a user"),
    _volume(f"{_GOOD}, owner: '0;id'", "is not a user"),
    _volume(f"{_GOOD}, lost_after: 721h", "is more than 30 days"),
    _volume(f"{_GOOD}, privileged: true", "unknown field"),
    *(
        _volume(_GOOD, "is not a name", name=f"'{name}'")
        for name in ("..", "../x", "/", "a/b", ".lock", "A", "-v")
    ),
    Bad(
        name="two in one place",
        old=_PROBE,
        new="volumes: {a: {path: /srv/a, size: 1GiB}, b: {path: /srv/a/b, size: 1GiB}} # <-\n"
        + _PROBE,
        says="/srv/a/b and /srv/a would hide each other",
    ),
    Bad(
        name="volumes of a total",
        old=_PROBE,
        new=f"volumes: {{data: {{{_GOOD}}}}}\n{_PROBE}",
        says="a total moves between them",
        also=("per_datacenter: 2", "total: 4"),
    ),
    Bad(
        name="volumes and load",
        old=_PROBE,
        new=f"volumes: {{data: {{{_GOOD}}}}}\nscale: {{min: 1, max: 3, cpu: 1}} # <-\n{_PROBE}",
        says="do not come and go with the load",
    ),
    Bad(
        name="volumes in parallel",
        old=_PROBE,
        new=f"volumes: {{data: {{{_GOOD}}}}}\nrollout: {{parallel: 2}} # <-\n{_PROBE}",
        says="one is replaced at a time",
    ),
    *(
        _host(f"'{path}'", _NOT_PLAIN)
        for path in ("", "etc", "../etc", "/etc/ssl/../shadow", "/etc//ssl", "/etc/ssl/.")
    ),
    *(
        _host(path, "the platform does not let services read")
        for path in ("/", "/etc/shadow", "/var/lib/pltfrms", "/etc/ssl")
    ),
    _host("{source: /srv/geo, path: ../geo}", _NOT_PLAIN),
    _host("{source: /srv/geo, path: /proc/geo}", "would hide /proc"),
    Bad(
        name="paths of a process",
        old=_PROBE,
        new=f"host_paths: [/srv/geo] # <-\n{_PROBE}",
        says="a process sees the files of its machine anyway",
    ),
)
ALLOWED = tuple(
    Bad(
        name=f"allowed {path}",
        old=_AGGREGATES,
        new=f"{_AGGREGATES}\nallowed_host_paths: ['{path}'] # <-",
        says=says,
    )
    for path, says in (
        ("", _NOT_PLAIN),
        ("srv", _NOT_PLAIN),
        ("/srv/../etc", _NOT_PLAIN),
        ("/", "would show services what is in /proc"),
        ("/proc/1", "would show services what is in /proc"),
        ("/etc", "would show services what is in /etc/pltfrms"),
        ("/var/lib/pltfrms/volumes", "would show services what is in /var/lib/pltfrms"),
    )
)
