"""What a machine's files say of it, read from a tree of files."""

import socket
import tempfile
from pathlib import Path

import pytest

from pltfrms.drivers.kernel.checked import preflight
from pltfrms.model.network.system import SysctlLine

_TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:00B3 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711
   1: 0100007F:0016 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 4712
   2: 00000000:094B 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713
"""


def put(root: Path, path: str, text: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def process(root: Path, number: int, comm: str, cmdline: str, inode: int) -> None:
    put(root, f"proc/{number}/comm", f"{comm}\n")
    put(root, f"proc/{number}/cmdline", cmdline)
    (root / f"proc/{number}/fd").mkdir()
    (root / f"proc/{number}/fd/3").symlink_to(f"socket:[{inode}]")


def test_a_part_of_the_kernel_is_there_built_in_loaded_or_to_be_loaded(tmp_path: Path) -> None:
    put(tmp_path, "lib/modules/6.1.0-1/modules.builtin", "kernel/net/a_built.ko\n")
    put(tmp_path, "lib/modules/6.1.0-1/modules.dep", "kernel/net/b-dep.ko.xz: kernel/c.ko\n")
    (tmp_path / "sys/module/d_loaded").mkdir(parents=True)
    names = ("a_built", "b_dep", "d_loaded", "e_missing", "cls_bpf")
    assert preflight.modules(names, tmp_path, "6.1.0-1") == {
        "a_built": True,
        "b_dep": True,
        "d_loaded": True,
        "e_missing": False,
        "cls_bpf": False,
    }


def test_a_new_kernel_needs_no_discipline_for_the_director(tmp_path: Path) -> None:
    assert preflight.modules(("cls_bpf",), tmp_path, "6.12.4-amd64") == {"cls_bpf": True}


def test_without_lists_of_modules_nobody_says_that_one_is_missing(tmp_path: Path) -> None:
    assert preflight.modules(("wireguard",), tmp_path, "6.1.0-1") == {}


def test_files_of_sysctls_hide_those_of_the_same_name_and_the_last_line_counts(
    tmp_path: Path,
) -> None:
    put(tmp_path, "usr/lib/sysctl.d/50-a.conf", "net.ipv4.ip_forward = 0\n")
    put(tmp_path, "etc/sysctl.d/50-a.conf", "# no\n-net.ipv4.ip_forward=1\n")
    put(tmp_path, "etc/sysctl.d/60-b.conf", "net/ipv4/conf/eth0.1/rp_filter = 2\n")
    put(tmp_path, "etc/sysctl.conf", "net.ipv4.conf.eth0/1.rp_filter=0\n;x=1\n")
    assert preflight.sysctls(tmp_path) == (
        SysctlLine("/etc/sysctl.d/50-a.conf", "net/ipv4/ip_forward", "1"),
        SysctlLine("/etc/sysctl.d/60-b.conf", "net/ipv4/conf/eth0.1/rp_filter", "2"),
        SysctlLine("/etc/sysctl.conf", "net/ipv4/conf/eth0.1/rp_filter", "0"),
    )


def test_who_listens_is_named_and_ours_are_known(tmp_path: Path) -> None:
    put(tmp_path, "proc/net/tcp", _TCP)
    process(tmp_path, 7, "bird", "/usr/sbin/bird\0-f\0-c\0/etc/bird/bird.conf", 4711)
    process(tmp_path, 8, "etcd", "etcd\0--data-dir=/var/lib/pltfrms/etcd", 4713)
    found = {each.port: each for each in preflight.listeners(tmp_path)}
    assert found.keys() == {179, 2379}, "who only speaks does not listen"
    assert (found[179].program, found[179].ours) == ("bird", False)
    assert (found[2379].program, found[2379].ours) == ("etcd", True)


def test_a_socket_of_this_machine_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        (found,) = (each for each in preflight.listeners(Path("/")) if each.port == port)
    assert found.protocol == "tcp"


def test_cgroups_of_version_1_are_told_from_what_nobody_can_say(tmp_path: Path) -> None:
    assert preflight.controllers(tmp_path) is None
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    assert preflight.controllers(tmp_path) == frozenset()
    put(tmp_path, "sys/fs/cgroup/cgroup.controllers", "cpu io memory pids\n")
    assert preflight.controllers(tmp_path) == frozenset({"cpu", "io", "memory", "pids"})


def test_the_disk_is_that_of_the_nearest_directory_and_nothing_stays(tmp_path: Path) -> None:
    where = tmp_path / "var/lib/pltfrms"
    milliseconds = preflight.sync_ms(where)
    assert milliseconds is not None
    assert milliseconds > 0
    assert (preflight.free_bytes(where) or 0) > 0
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_takes_no_write_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_words: object) -> None:
        raise OSError

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    assert preflight.sync_ms(tmp_path) is None


def test_memory_is_read_in_bytes(tmp_path: Path) -> None:
    put(tmp_path, "proc/meminfo", "MemTotal:       24576000 kB\nMemFree: 1 kB\n")
    assert preflight.memory_bytes(tmp_path) == 24576000 << 10
    assert preflight.memory_bytes(tmp_path / "nothing") == 0
