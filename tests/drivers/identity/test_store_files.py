"""What members of the store show, on disk."""

import errno
from datetime import UTC, datetime
from ipaddress import IPv6Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from pltfrms.drivers.identity import store_files
from pltfrms.drivers.identity.authority import make_root
from pltfrms.drivers.identity.store_files import StoreFiles, follows
from pltfrms.errors import UsageError

ADDRESS = IPv6Address("fd00::c:1")


@pytest.fixture
def files(tmp_path: Path) -> StoreFiles:
    found = StoreFiles(tmp_path)
    assert (found.there, found.text(), found.changed_at()) == (False, "", 0)
    found.begin("example")
    return found


def test_nothing_of_it_ends_by_a_clock(files: StoreFiles) -> None:
    files.furnish_member("fra-c1", (ADDRESS,))
    for path in (files.member, files.trusted):
        (certificate,) = x509.load_pem_x509_certificates(path.read_bytes())
        assert certificate.not_valid_before_utc == datetime(1970, 1, 1, tzinfo=UTC)
        assert certificate.not_valid_after_utc.year == 9999


def test_a_member_shows_its_addresses_and_signs_nothing(files: StoreFiles) -> None:
    files.furnish_member("fra-c1", (ADDRESS,))
    shown = x509.load_pem_x509_certificate(files.member.read_bytes())
    names = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.IPAddress) == [ADDRESS]
    assert not shown.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    use = shown.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(use) == {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}
    assert {path.stat().st_mode & 0o077 for path in (files.path, files.member)} == {0}


def test_it_is_made_once_and_anew_when_that_is_asked_for(files: StoreFiles) -> None:
    before, at = files.text(), files.changed_at()
    files.begin("example")
    assert (files.text(), files.changed_at()) == (before, at)
    files.begin_anew("example")
    assert files.changed_at() != at
    assert follows(files.text(), before)
    assert not follows(before, files.text())
    assert not follows(before, before)
    assert not follows(files.text(), "")
    files.begin_anew("example")
    assert follows(files.text(), before), "also over several"


def test_who_only_asks_needs_a_disk_that_can_be_read_and_no_more(files: StoreFiles) -> None:
    directory = files.path.parent
    before = directory.stat().st_mtime_ns
    assert files.context().get_ca_certs()
    assert directory.stat().st_mtime_ns == before, "a file was there"


def test_a_member_starts_with_what_it_has_on_a_disk_that_takes_no_more(
    files: StoreFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_path: Path, _value: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def furnish_on_a_full_disk() -> None:
        with monkeypatch.context() as patched:
            patched.setattr(store_files, "replace_file", full)
            files.furnish_member("fra-c1", (ADDRESS,))

    with pytest.raises(OSError, match="No space"):
        furnish_on_a_full_disk()
    files.furnish_member("fra-c1", (ADDRESS,))
    before = files.member.read_bytes()
    furnish_on_a_full_disk()
    assert files.member.read_bytes() == before
    files.begin_anew("example")
    with pytest.raises(OSError, match="No space"):
        furnish_on_a_full_disk()


def test_who_was_believed_before_is_believed_no_more(files: StoreFiles) -> None:
    files.furnish_member("fra-c1", (ADDRESS,))
    before = files.trusted.read_text()
    files.begin_anew("example")
    files.furnish_member("fra-c1", (ADDRESS,))
    assert before.strip() not in files.trusted.read_text()


@pytest.mark.parametrize("text", ["", "no key", "-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_what_is_no_authority_is_not_kept(files: StoreFiles, text: str) -> None:
    before = files.text()
    with pytest.raises(UsageError):
        files.keep(text)
    assert files.text() == before


def test_what_is_spoilt_is_said(files: StoreFiles) -> None:
    files.path.write_text(make_root("example", "secret", 0).certificate)
    for use in (files.context, lambda: files.furnish_member("fra-c1", (ADDRESS,))):
        with pytest.raises(UsageError):
            use()
    files.path.chmod(0o640)
    with pytest.raises(UsageError, match="chmod 600"):
        files.text()
