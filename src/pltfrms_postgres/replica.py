"""One replica as its hooks see it: Patroni's answers, and what the server is told."""

import json
import os
import pwd
import ssl
import subprocess
import sys
from collections.abc import Callable, Mapping
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any, Final

from pltfrms_postgres.configuration import own_of

USER: Final = "postgres"
_API_PORT: Final = 8008


class RefusedError(Exception):
    """It cannot be done here, and says why."""


def read(path: Path) -> dict[str, Any]:
    """Return what a file of an instance says."""
    document: dict[str, Any] = json.loads(path.read_text())
    return document


def become(user: pwd.struct_passwd, home: Path) -> None:
    """Be `user` from now on, in the volume: nothing in it is opened as root."""
    os.initgroups(user.pw_name, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    os.chdir(home)
    os.environ["HOME"] = str(home)


def run_hook(what: Callable[[Path], str]) -> None:
    """Do what a hook does in the directory of an instance; say it, or exit with 1 and why."""
    try:
        print(what(Path.cwd()))  # noqa: T201 (the platform shows it)
    except subprocess.CalledProcessError as error:
        sys.exit(f"the server refuses: {error.stderr.strip()[-300:]}")
    except subprocess.TimeoutExpired as error:
        sys.exit(f"the server does not answer within {error.timeout:.0f} s")
    except KeyError as error:
        sys.exit(f"{error} is missing")
    except (OSError, ValueError, HTTPException, RefusedError) as error:
        sys.exit(str(error) or type(error).__name__)


class OwnReplica:
    """The replica that we are in. Whoever makes one is `postgres` from then on."""

    def __init__(self, here: Path) -> None:
        """Read the files of an instance, and become the user that its data belongs to."""
        self.told = read(here / "patroni.json")
        self.policy = read(here / "postgres.json")
        self.own = own_of(read(here / "peers.json"))
        postgresql = self.told["postgresql"]
        self.home = Path(postgresql["data_dir"]).parent
        self._psql = str(Path(postgresql["bin_dir"]) / "psql")
        become(pwd.getpwnam(USER), self.home)

    @property
    def name(self) -> str:
        """Its name for life, by which Patroni knows it, too."""
        return str(self.own["name"])

    def ask(
        self, method: str, path: str, body: object = None, seconds: float = 10.0
    ) -> tuple[int, str]:
        """Ask our own Patroni; return the status and the text of its answer.

        Raises:
            OSError, HTTPException: there is none.
        """
        tls = ssl.create_default_context(cafile="tls/ca.pem")
        tls.load_cert_chain("tls/own.pem", "tls/own.key")
        address = str(self.own["address6"])
        connection = HTTPSConnection(address, _API_PORT, timeout=seconds, context=tls)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        finally:
            connection.close()

    def look(self, path: str) -> dict[str, Any]:
        """Return what our own Patroni knows; RefusedError: it says no."""
        status, text = self.ask("GET", path)
        if status != 200:  # noqa: PLR2004 (as everybody knows it)
            raise RefusedError(f"Patroni answers {path} with {status}: {text.strip()[:200]}")
        found: dict[str, Any] = json.loads(text)
        return found

    def tell(self, server: Mapping[str, Any] | None, script: str, seconds: float) -> str:
        """Have a server do what psql reads, as its superuser; `None` is our own one.

        Raises:
            subprocess.SubprocessError: it refuses, or takes longer.
        """
        where = {"user": USER, "dbname": "postgres", "connect_timeout": "5"}
        if server is None:
            where["host"] = str(self.home / "run")
        else:
            where |= {"host": server["host"], "port": str(server["port"])}
            where |= {"sslmode": "verify-full", "sslrootcert": "tls/ca.pem"}
            where |= {"sslcert": "tls/own.pem", "sslkey": "tls/own.key"}
        words = " ".join(f"{name}={value}" for name, value in where.items())
        return subprocess.run(
            (self._psql, "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", words, "-f", "-"),
            input=script,
            check=True,
            capture_output=True,
            text=True,
            timeout=seconds,
        ).stdout
