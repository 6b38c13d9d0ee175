"""`start`: make what belongs to this replica, and become Patroni, as the user `postgres`.

It begins as root in the directory of its instance, where its files and secrets are.
"""

import json
import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, NoReturn

from pltfrms_postgres.certificates import certificates_in, make_certificate
from pltfrms_postgres.configuration import names_of, replica_configuration
from pltfrms_postgres.replica import USER, RefusedError, become, read
from pltfrms_postgres.repository import repository_configuration

_AUTHORITY: Final = Path("secrets/authority.pem")
_WORD: Final = Path("secrets/store")


def main() -> NoReturn:
    """Become Patroni; exit code 1 and a sentence if that cannot be."""
    try:
        command = prepare(Path.cwd(), pwd.getpwnam(USER))
    except KeyError as error:
        sys.exit(f"cannot start: {error} is missing")
    except subprocess.CalledProcessError as error:
        sys.exit(f"cannot start: no certificate: {error.stderr.strip()[-300:]}")
    except (OSError, ValueError, subprocess.TimeoutExpired, RefusedError) as error:
        sys.exit(f"cannot start: {error}")
    os.execv(command[0], command)  # noqa: S606 (there is no shell)


def prepare(here: Path, user: pwd.struct_passwd) -> list[str]:
    """Become `user`, write all that Patroni needs, and return Patroni's command.

    Nothing in the volume is written as root: who has it could lead that elsewhere.
    """
    common, policy = read(here / "patroni.json"), read(here / "postgres.json")
    peers, store = read(here / "peers.json"), store_of(here)
    data, programs = (Path(common["postgresql"][each]) for each in ("data_dir", "bin_dir"))
    check_version(data, programs)
    password = (here / _WORD).read_text().strip()
    configuration = replica_configuration(common, policy, peers, store, password)
    authority, home = here / _AUTHORITY, data.parent
    key, own = make_certificate(authority, common["scope"], names_of(peers))
    roots = certificates_in(authority.read_text())
    backups = backups_of(here, common, policy)
    give(home, user)
    become(user, home)
    for name, text in (
        ("tls/own.key", key),
        ("tls/own.pem", own),
        ("tls/ca.pem", roots),
        ("run/patroni.json", json.dumps(configuration, indent=1)),
        *backups,
    ):
        write(home / name, text)
    return [sys.executable, "-m", "patroni", str(home / "run" / "patroni.json")]


def store_of(here: Path) -> dict[str, Any]:
    """Return where our part of the store is; Patroni does not run where the file of roots is.

    It is not copied: who is to be believed may change while we run.
    """
    store = read(here / "store.json")
    return store | {"roots": str(here / store["roots"])} if store["roots"] else store


def backups_of(
    here: Path, common: dict[str, Any], policy: dict[str, Any]
) -> list[tuple[str, str]]:
    """Return what pgBackRest is told: where our own backups go, and what we begin with."""
    asked = {"backup": common["scope"]} if "backup" in policy else {}
    asked |= {"restore": policy["restore"]["service"]} if "restore" in policy else {}
    made = []
    for name, service in asked.items():
        key, cipher = (
            (here / "secrets" / f"{service}-{each}").read_text().strip()
            for each in ("backup", "cipher")
        )
        place = policy["backup"]
        text = repository_configuration(common, place, service, key, cipher)
        made.append((f"run/{name}.conf", text))
    return made


def check_version(data: Path, programs: Path) -> None:
    """Refuse data of another major version, and a version that is not on this machine."""
    if not (programs / "postgres").exists():
        raise RefusedError(f"there is no {programs}/postgres: install postgresql-{data.name}")
    kept = [each.parent.name for each in data.parent.glob("*/PG_VERSION")]
    others = sorted(set(kept) - {data.name})
    if others:
        what = f"the volume has data of version {others[0]}, and {data.name} is wanted"
        raise RefusedError(f"{what}: a major version is not changed by a new file")


def give(home: Path, user: pwd.struct_passwd) -> None:
    """Let a volume belong to a user: all that is in it, if it was somebody else's."""
    if home.stat().st_uid != user.pw_uid:
        for path in (*home.rglob("*"), home):  # itself last: it says that all is done
            os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)
    home.chmod(0o700)


def write(path: Path, text: str) -> None:
    """Write a file that its owner alone may read, in the place of another one."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.unlink(missing_ok=True)
    made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(made, "w") as file:
        file.write(text)


if __name__ == "__main__":
    main()
