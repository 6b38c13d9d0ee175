"""`backup SERVICE full|diff|incr|verify`: have the primary do that; a job runs it.

Who has the authority of a service is known to its servers. What is to be done is done where the
data is; what pgBackRest says there is said here, and it fails here if it fails there.
"""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from pltfrms_postgres.certificates import certificates_in, make_certificate
from pltfrms_postgres.replica import USER, RefusedError, run_hook
from pltfrms_postgres.repository import members_in

_HOSTS: Final = Path("/etc/hosts")
_AUTHORITY: Final = Path("secrets/authority.pem")
_MADE: Final = ("full", "diff", "incr")
KINDS: Final = (*_MADE, "verify")
END: Final = "pgbackrest ended with "
_WHOLE: Final = "status: ok"
_SCRIPT: Final = """\
SET statement_timeout = 0;
CREATE TEMPORARY TABLE said (number serial, line text);
COPY said (line) FROM PROGRAM $program$
tell() {{
    /usr/bin/pgbackrest --config="${{PWD%/*}}/run/backup.conf" --stanza={service} "$@" \\
        --log-level-console=info
}}
{{ {commands}; }} 2>&1
echo "{end}$?"
$program$ WITH (FORMAT csv, DELIMITER E'\\x01', QUOTE E'\\x02');
SELECT line FROM said ORDER BY number;
"""
"""A program of the server is started in the directory of its data. How long it may take
says the job, and not a setting for the questions of clients."""


def main(here: Path) -> str:
    """Do what the words say; return what was said."""
    if len(sys.argv) != 3 or sys.argv[2] not in KINDS:  # noqa: PLR2004 (two words)
        raise RefusedError(f"backup SERVICE {'|'.join(KINDS)}")
    _, service, kind = sys.argv
    members = members_in(_HOSTS.read_text(), service)
    if not members:
        raise RefusedError(f"{service} has no replicas that have a name here")
    return judged(kind, asked(here / _AUTHORITY, service, members, script_of(service, kind)))


def judged(kind: str, said: str) -> str:
    """Return what was said; RefusedError: it is that something went wrong.

    What is not whole is no error for pgBackRest: it is looked for in the words.
    """
    *lines, last = said.splitlines() or [""]
    if last != f"{END}0" or (kind == "verify" and _WHOLE not in said):
        raise RefusedError(said.strip())
    return "\n".join(lines)


def script_of(service: str, kind: str) -> str:
    """Return what a server is told for a kind of backup."""
    commands = "tell verify --output=text --verbose"
    if kind in _MADE:
        commands = f"tell stanza-create && tell --type={kind} backup"
    return _SCRIPT.format(service=service, commands=commands, end=END)


def asked(
    authority: Path, service: str, members: tuple[str, ...], script: str, port: int = 5432
) -> str:
    """Have the primary among members do a script; return what it answers.

    Raises:
        subprocess.CalledProcessError: nobody is primary, or it refuses.
    """
    key, own = make_certificate(authority, service, (f"DNS:{service}",))
    with TemporaryDirectory() as directory:
        place = Path(directory)
        files = {"sslkey": key, "sslcert": own}
        files["sslrootcert"] = certificates_in(authority.read_text())
        for name, text in files.items():
            (place / name).touch(mode=0o600)
            (place / name).write_text(text)
        where = {name: str(place / name) for name in files}
        where |= {"host": ",".join(members), "port": str(port), "user": USER}
        where |= {"dbname": "postgres", "sslmode": "verify-full", "connect_timeout": "5"}
        where |= {"target_session_attrs": "read-write", "keepalives_idle": "10"}
        words = " ".join(f"{name}={value}" for name, value in where.items())
        return subprocess.run(
            ("/usr/bin/psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", words, "-f", "-"),
            input=script,
            check=True,
            capture_output=True,
            text=True,
            timeout=None,  # the job has one
        ).stdout


if __name__ == "__main__":
    run_hook(main)
