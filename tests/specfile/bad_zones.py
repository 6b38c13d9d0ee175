"""Wrong words about zones: what to change in an example, and what must be said."""

from tests.specfile.bad_specs import Bad

_PROCESS = "process: [nginx, -p, ., -c, nginx.conf, -e, error.log]"


def _use(use: str, says: str) -> Bad:
    new = f"{_PROCESS}\n  zones: {use} # <-"
    return Bad(name=f"zones: {use}", old=_PROCESS, new=new, says=says)


ZONES = (
    _use("{}", "run.zones.reload"),
    _use("{reload: []}", "there is no command"),
    _use("{reload: [a], servers: [a b]}", "'a b' is no name of a server"),
    _use("{reload: [a], servers: [ns2.example.net.]}", "'ns2.example.net.' is no name"),
    _use(
        "{reload: [a], servers: [x.example.internal]}",
        "x.example.internal is in example.internal, where services alone have addresses",
    ),
    Bad(
        name="zones: file",
        old="files:\n",
        new="zones: {reload: [a]}\n  files:\n    zones/a: b # <-\n",
        says="zones is where the zones are, which are written by pltfrms",
    ),
    Bad(
        name="zones: of what others start",
        old=_PROCESS,
        new="external: true\n  zones: {reload: [a]} # <-",
        says="zones is for what we start, and others start this",
    ),
)
