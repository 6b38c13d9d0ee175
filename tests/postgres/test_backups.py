"""Backups of a real PostgreSQL with real pgBackRest, in a bucket of this machine."""

import contextlib
import json
import os
import pwd
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import pytest

from pltfrms.drivers.identity.authority import make_store_authority
from pltfrms.specfile import load_service
from pltfrms.specfile.templates.patroni import HOME
from pltfrms_postgres.backup import asked, judged, script_of
from pltfrms_postgres.certificates import certificates_in, make_certificate
from pltfrms_postgres.configuration import replica_configuration
from pltfrms_postgres.replica import RefusedError
from pltfrms_postgres.start import backups_of, write
from tests.contracts.buckets import Bucket, serving

pytestmark = [pytest.mark.root, pytest.mark.timeout(600)]

AS_POSTGRES = ("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--")
PROGRAMS = Path("/usr/lib/postgresql/15/bin")
TEXT = """\
service: {service}
postgres:
  version: 15
  size: 1GiB
  backup: {{endpoint: "{endpoint}", bucket: backups, region: eu-test-1, ca: {ca}, keep: 2}}
{more}replicas: {{per_datacenter: 1}}
"""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Server:
    """One PostgreSQL as the template wants it, without Patroni, in a directory of its own."""

    def __init__(self, place: Path, service: str, bucket: Bucket, more: str = "") -> None:
        """Write all that `start` would."""
        self.service, self.home, self.port = service, place / service, free_port()
        self.authority = place / "authority.pem"
        secrets = place / "secrets"
        secrets.mkdir(exist_ok=True)
        (secrets / f"{service}-backup").write_text(f"{bucket.key}:{bucket.secret}\n")
        (secrets / f"{service}-cipher").write_text(f"opens-{service}\n")
        if not self.authority.exists():
            made = make_store_authority("acme")
            self.authority.write_text(f"{made.key.strip()}\n{made.certificate}")
        spec = place / f"{service}.yaml"
        said = {
            "service": service,
            "endpoint": bucket.endpoint.replace("127.0.0.1", "localhost"),
            "ca": bucket.ca,
        }
        spec.write_text(TEXT.format(**said, more=more))
        files = dict(load_service(spec).run.files)
        policy = json.loads(files["postgres.json"])
        self.told: Mapping[str, Any] = json.loads(
            files["patroni.json"].replace(HOME, str(self.home))
        )
        self.home.mkdir(mode=0o700)
        for name, text in backups_of(place, dict(self.told), policy):
            write(self.home / name, f"{text}pg1-port={self.port}\n")
        key, own = make_certificate(self.authority, service, ("IP:127.0.0.1",))
        write(self.home / "tls/own.key", key)
        write(self.home / "tls/own.pem", own)
        write(self.home / "tls/ca.pem", certificates_in(self.authority.read_text()))
        user = pwd.getpwnam("postgres")
        for each in (*self.home.rglob("*"), self.home):
            os.chown(each, user.pw_uid, user.pw_gid)
        self.data = Path(self.told["postgresql"]["data_dir"])

    def do(self, *command: str | Path) -> str:
        """Run a command as the user that data belongs to."""
        done = subprocess.run(
            [*AS_POSTGRES, *map(str, command)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=self.home,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def begin(self) -> Self:
        """Make data of its own, and start."""
        options = [f"--{key}={value}" for key, value in (("encoding", "UTF8"), ("locale", "C"))]
        self.do(PROGRAMS / "initdb", "-D", self.data, "--data-checksums", *options)
        return self.start()

    def start(self) -> Self:
        """Start with the settings of the template."""
        settings = self.told["postgresql"]
        agreed = self.told["bootstrap"]["dcs"]["postgresql"]["parameters"]
        said = {**agreed, **settings["parameters"], "port": self.port}
        said |= {"listen_addresses": "127.0.0.1", "track_commit_timestamp": "on"}
        text = "".join(f"{name} = '{value}'\n" for name, value in said.items())
        for file, lines in (
            ("postgresql.conf", text),
            ("pg_hba.conf", "\n".join(settings["pg_hba"]) + "\n"),
            ("pg_ident.conf", "\n".join(settings["pg_ident"]) + "\n"),
        ):
            (self.data / file).write_text(lines)
        log = self.home / "log"
        self.do(PROGRAMS / "pg_ctl", "-D", self.data, "-l", log, "-w", "-t", "60", "start")
        return self

    def stop(self) -> None:
        """End it, if it runs."""
        with contextlib.suppress(AssertionError):
            self.do(PROGRAMS / "pg_ctl", "-D", self.data, "-m", "immediate", "stop")

    def tell(self, script: str) -> str:
        """Have it do something."""
        where = f"host={self.home}/run port={self.port} user=postgres dbname=postgres"
        return self.do("psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", where, "-c", script)

    def backup(self, kind: str) -> str:
        """Have it make a backup, as a job does."""
        script = script_of(self.service, kind)
        said = asked(self.authority, self.service, ("127.0.0.1",), script, self.port)
        return judged(kind, said)


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that the user of databases may enter."""
    if os.geteuid():
        pytest.skip("needs root")
    with TemporaryDirectory(prefix="pltfrms-pg-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def bucket(place: Path) -> Iterator[Bucket]:
    with serving(place, "DNS:localhost") as found:
        yield found


def eventually(server: Server, question: str, seconds: float = 180.0) -> None:
    end = time.monotonic() + seconds
    while not holds(server, question):
        assert time.monotonic() < end, question
        time.sleep(0.2)


def holds(server: Server, question: str) -> bool:
    """Return whether a server that may not run yet says yes."""
    try:
        return server.tell(question) == "t\n"
    except AssertionError:
        return False


ROWS = "COPY (SELECT * FROM rows WHERE {} ORDER BY id) TO STDOUT"


def test_a_database_is_again_what_it_was_at_a_moment(place: Path, bucket: Bucket) -> None:
    """Rows come all the time: of these the new database has those, and byte for byte, that the
    old one had acknowledged by then, and nothing of what was spoilt later."""
    bucket.page = 1000
    with contextlib.ExitStack() as ended:
        first = Server(place, "shop-db", bucket)
        ended.callback(first.stop)
        first.begin()
        first.tell("CREATE TABLE rows (id serial, word text)")
        first.tell("CREATE TABLE kept AS SELECT 'whole' AS word FROM generate_series(1, 1000)")
        said = first.backup("full")
        assert "backup command end: completed successfully" in said, said
        moment = write_rows(first)
        first.tell("UPDATE kept SET word = 'spoilt'")
        until = f"pg_xact_commit_timestamp(xmin) <= '{moment}'"
        wanted, later = (first.tell(ROWS.format(each)) for each in (until, f"NOT ({until})"))
        assert wanted
        assert later
        archive_all(first)
        spoilt_backups_are_found(first, bucket)
        first.stop()

        more = f'  restore: {{service: shop-db, at: "{moment}"}}\n'
        second = Server(place, "shop-then", bucket, more)
        ended.callback(second.stop)
        ended.enter_context(elected(second, place))
        eventually(second, "SELECT NOT pg_is_in_recovery()")
        assert second.tell(ROWS.format("true")) == wanted
        assert second.tell("SELECT DISTINCT word FROM kept") == "whole\n"
    assert bucket.refused == []


@contextlib.contextmanager
def elected(server: Server, place: Path) -> Iterator[None]:
    """Have Patroni make and start a server, alone with a store of its own."""
    client, peer, api = free_port(), free_port(), free_port()
    name = f"fra-1.{server.service}.acme.internal"
    own = {"name": name, "datacenter": "fra", "since": None}
    peers = {"service": server.service, "name": name, "members": [own]}
    store = {"hosts": [f"127.0.0.1:{client}"], "protocol": "http", "prefix": "/part/"}
    told = json.loads(json.dumps(server.told).replace("${pltfrms.replica.name}", name))
    for part, port in (("restapi", api), ("postgresql", server.port)):
        told[part] |= dict.fromkeys(("listen", "connect_address"), f"127.0.0.1:{port}")
    policy: dict[str, Any] = {"promote": [], "prefer": []}
    said = replica_configuration(told, policy, peers, store | {"user": ""}, "")
    file = server.home / "run/patroni.json"
    file.write_text(json.dumps(said))
    made = [Path("scripts/make-postgres").resolve(), place / "made"]
    subprocess.run(made, check=True, stdout=subprocess.DEVNULL)
    library = f"PYTHONPATH={place}/made/usr/lib/pltfrms-postgres"
    patroni = ["env", library, "/usr/bin/python3", "-m", "patroni", str(file)]
    etcd = ["etcd", "--data-dir", str(place / "etcd"), "--log-level", "error"]
    for kind, port in (("client", client), ("peer", peer)):
        etcd += [f"--listen-{kind}-urls", f"http://127.0.0.1:{port}"]
    etcd += ["--advertise-client-urls", f"http://127.0.0.1:{client}"]
    with contextlib.ExitStack() as started, (place / "patroni.log").open("w") as log:
        for command in (etcd, [*AS_POSTGRES, *patroni]):
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=server.home)
            started.callback(process.wait)
            started.callback(process.kill)
        yield


def spoilt_backups_are_found(server: Server, bucket: Bucket) -> None:
    assert server.backup("verify")
    name, whole = next(each for each in list(bucket.kept.items()) if "/bundle/" in each[0])
    bucket.kept[name] = whole[:-32] + bytes(32)
    with pytest.raises(RefusedError, match="status: error"):
        server.backup("verify")
    bucket.kept[name] = whole


def archive_all(server: Server) -> None:
    """Wait until all that was written is in the archive."""
    segment = server.tell("SELECT pg_walfile_name(pg_switch_wal())").strip()
    done = f"SELECT last_archived_wal >= '{segment}' FROM pg_stat_archiver"  # noqa: S608 - its own
    eventually(server, done)


def write_rows(server: Server) -> str:
    """Write rows, each by itself; return a moment at which half of them were there."""
    server.tell("""
    CREATE PROCEDURE write() LANGUAGE plpgsql AS $$
    BEGIN
        FOR number IN 1 .. 300 LOOP
            INSERT INTO rows (word) VALUES (md5(random()::text));
            COMMIT;
            PERFORM pg_sleep(0.005);
        END LOOP;
    END $$;
    """)
    server.tell("CALL write()")
    when = "date_trunc('milliseconds', pg_xact_commit_timestamp(xmin)) AT TIME ZONE 'UTC'"
    moment = server.tell(f"SELECT {when} FROM rows ORDER BY id OFFSET 150 LIMIT 1")  # noqa: S608
    return f"{moment.strip().replace(' ', 'T')}Z"
