"""A place outside, with a real sshd on a machine of its own."""

import subprocess
from pathlib import Path

import pytest

from pltfrms.drivers.backup.ports import BackupName, checksum_of
from pltfrms.drivers.backup.sftp import SftpPlace
from pltfrms.errors import UnavailableError
from tests.contracts.test_network import ip
from tests.namespaces import in_machine

pytestmark = pytest.mark.root

SEALED = "sealed\n" * 200_000
NAME = BackupName(1, 42, checksum_of(SEALED), "example")
SERVER = """
ListenAddress 127.0.0.1
HostKey {place}/host
AuthorizedKeysFile {place}/keys/client.pub
StrictModes no
UsePAM no
PermitRootLogin yes
PidFile none
Subsystem sftp internal-sftp
"""
CLIENT = """
Host outside
  HostName 127.0.0.1
  User root
  IdentityFile {place}/keys/client
  UserKnownHostsFile {place}/known
"""


def tool(*words: str | Path) -> None:
    subprocess.run([str(word) for word in words], check=True, stdout=subprocess.DEVNULL)


def serve(place: Path) -> "subprocess.Popen[bytes]":
    """Start sshd in this machine, and let its root reach it without a question."""
    tool("mount", "-t", "tmpfs", "tmpfs", "/etc/ssh")
    tool("mount", "-t", "tmpfs", "tmpfs", "/run")
    Path("/run/sshd").mkdir()
    (place / "keys").mkdir()
    for name in ("host", "keys/client"):
        tool("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", place / name)
    (place / "sshd_config").write_text(SERVER.format(place=place))
    key = (place / "host.pub").read_text()
    (place / "known").write_text(f"outside,127.0.0.1 {key}")
    Path("/etc/ssh/ssh_config").write_text(CLIENT.format(place=place))
    server = subprocess.Popen(["/usr/sbin/sshd", "-D", "-f", place / "sshd_config"])
    while "127.0.0.1:22 " not in subprocess.check_output(["ss", "-ltn"], text=True):
        assert server.poll() is None, "sshd does not run"
    return server


def test_a_backup_is_there_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    async def scenario() -> None:
        ip("link set lo up")
        server = serve(tmp_path)
        (tmp_path / "there").mkdir()
        place = SftpPlace(f"outside:{tmp_path}/there")
        await place.send(NAME, SEALED)
        await place.send(NAME, SEALED)  # again, as after an answer that was lost
        found = {each.name: each.read_text() for each in (tmp_path / "there").iterdir()}
        assert found == {str(NAME): SEALED}
        with pytest.raises(UnavailableError, match="No such file"):
            await SftpPlace(f"outside:{tmp_path}/gone").send(NAME, SEALED)
        (tmp_path / "known").write_text("")  # another host, perhaps
        with pytest.raises(UnavailableError, match="Host key verification failed"):
            await place.send(NAME, SEALED)
        server.kill()
        with pytest.raises(UnavailableError, match="Connection refused"):
            await place.send(NAME, SEALED)

    in_machine(scenario)
