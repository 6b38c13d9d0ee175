"""Wrong words about secrets: what to change in an example, and what must be said."""

from tests.specfile.bad_specs import Bad

_PROCESS = "process: [nginx, -p, ., -c, nginx.conf, -e, error.log]"
_IMAGE = f"image: registry.example/shop/web@sha256:{'0a' * 32}"


def _use(name: str, use: str, says: str) -> Bad:
    new = f"{_PROCESS}\n  secrets:\n    {use} # <-"
    return Bad(name=f"secret: {name}", old=_PROCESS, new=new, says=says)


def _store(name: str, use: str, says: str) -> Bad:
    new = f"{_PROCESS}\n  store: {{secret: {name!r}}} # <-\n  secrets: {{{use}}}"
    return Bad(name=f"store: {name} of {use}", old=_PROCESS, new=new, says=says)


SECRETS = (
    _use("nowhere", "db: {}", "neither variable nor file: nobody is given it"),
    _use("odd name", "Db: {file: db}", "'Db' is not the name of a secret"),
    _use("name that leads out", "../db: {file: db}", "'../db' is not the name of a secret"),
    *(
        _use(f"file {file}", f"db: {{file: '{file}'}}", "is not the name of a file")
        for file in ("../db", "/etc/passwd", "a/b", "..", ".", "a\tb")
    ),
    *(
        _use(f"mode {mode}", f"db: {{file: db, mode: {mode}}}", "is not the mode of a file")
        for mode in ("'9999'", "'4755'", "04755", "rw", "true", "-1")
    ),
    _use("odd variable", "db: {variable: 'A B'}", "'A B' is not the name of a variable"),
    _use("other field", "db: {file: db, value: x}", "run.secrets.db.value"),
    _use("other change", "db: {file: db, on_change: reload}", "run.secrets.db.on_change"),
    *(
        _use(
            f"signal of {given}",
            f"db: {{{given}, on_change: signal HUP}}",
            "signal HUP is for a file: a variable is what it was at the start",
        )
        for given in ("variable: DB", "variable: DB, file: db")
    ),
    _use(
        "other signal",
        "db: {file: db, on_change: signal KILL}",
        "run.secrets.db.on_change",
    ),
    _use("value in place of a use", "db: hunter2", "run.secrets.db"),
    _use(
        "two files of one name",
        "db: {file: db}\n    tls: {file: db}",
        "db is the file of another secret, too",
    ),
    _use(
        "two variables of one name",
        "db: {variable: DB}\n    tls: {variable: DB}",
        "DB is another variable already",
    ),
    _use("registry of a process", "db: {registry: true}", "there is no image to fetch"),
    Bad(
        name="secret: registry and instance",
        old=_PROCESS,
        new=f"{_IMAGE}\n  secrets:\n    db: {{registry: true, file: db}} # <-",
        says="db is for a registry, so no instance is given it",
    ),
    Bad(
        name="secret: generated for a registry",
        old=_PROCESS,
        new=f"{_IMAGE}\n  secrets:\n    db: {{registry: true, generate: password}} # <-",
        says="a registry would not know a password that is made here",
    ),
    _use("generated otherwise", "db: {file: db, generate: key}", "run.secrets.db.generate"),
    _use(
        "authority as a variable",
        "db: {variable: DB, generate: authority}",
        "a key and a certificate have many lines, and are no variable",
    ),
    _use(
        "authority of a long name",
        f"{'d' * 62}: {{file: db, generate: authority}}",
        "which is too long for a secret",
    ),
    Bad(
        name="secret: two for a registry",
        old=_PROCESS,
        new=f"{_IMAGE}\n  secrets: # <-\n    a: {{registry: true}}\n    b: {{registry: true}}",
        says="two are for the registry of one image",
    ),
    Bad(
        name="secret: variable that is there",
        old=_PROCESS,
        new=f"{_PROCESS}\n  environment: {{DB: x}}\n  secrets:\n    db: {{variable: DB}} # <-",
        says="DB is another variable already",
    ),
    Bad(
        name="secret: file where secrets are",
        old="    nginx.conf: |",
        new="    secrets/x: y # <-\n    nginx.conf: |",
        says="secrets is where secrets are",
        also=(_PROCESS, f"{_PROCESS}\n  secrets: {{db: {{file: db}}}}"),
    ),
    _store("x", "db: {file: db}", "'x' is not among the secrets of its instances"),
    _store("", "db: {file: db}", "'' is not among the secrets of its instances"),
    _store("db", "db: {file: db, on_change: nothing}", "must start anew with another value"),
    _store("db", "db: {file: db, on_change: signal HUP}", "must start anew with another"),
    *(
        Bad(
            name=f"store: file {file}",
            old="    nginx.conf: |",
            new=f"    {file}: y # <-\n    nginx.conf: |",
            says=f"{file} is what pltfrms writes there",
            also=(
                _PROCESS,
                f"{_PROCESS}\n  store: {{secret: db}}\n  secrets: {{db: {{file: db}}}}",
            ),
        )
        for file in ("store.json", "store-roots.pem")
    ),
)
