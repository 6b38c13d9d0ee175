"""Keys, requests and certificates, made and judged for real."""

import ssl
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from pltfrms.cli.machine.joining import vouch_for_root
from pltfrms.drivers.identity.authority import (
    Authority,
    AuthorityFile,
    certificates_of,
    issuing_root,
    life_of,
    make_authority,
    make_root,
    pinned_root,
    vouch,
)
from pltfrms.drivers.identity.files import IdentityFile
from pltfrms.drivers.identity.keys import (
    is_signed_by,
    key_of_request,
    make_key,
    make_request,
    public_text,
    sign_text,
)
from pltfrms.drivers.identity.tls import trusting_context
from pltfrms.drivers.private import replace_file
from pltfrms.errors import UnavailableError, UsageError
from pltfrms.model.identity.lives import AUTHORITY_MS, DAY_MS, LEAF_MS
from pltfrms.model.identity.words import controllers_server_name
from tests.drivers.identity.authority import PASSPHRASE, Office

NOW_MS = 1_900_000_000_000
OFFICE = Office("example", NOW_MS)
KEY = make_key()
REQUEST = make_request(KEY, "example", "fra-n1")


def test_openssl_accepts_what_we_sign(tmp_path: Path) -> None:
    made = OFFICE.signer.issue(REQUEST, "fra-n1", 1, controller=False)
    (tmp_path / "root").write_text(made.roots)
    (tmp_path / "chain").write_text(made.chain)
    words = ["-x509_strict", "-attime", str(NOW_MS // 1000), "-purpose", "sslclient"]
    done = subprocess.run(
        ["openssl", "verify", *words, "-CAfile", "root", "-untrusted", "chain", "chain"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "chain: OK\n", done.stderr


def test_a_machine_gets_its_own_name_whatever_its_request_says() -> None:
    boastful = make_request(KEY, "example", "fra-c1")
    made = OFFICE.signer.issue(boastful, "fra-n1", 2, controller=False)
    leaf = x509.load_pem_x509_certificate(made.chain.encode())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(each.value) for each in names] == [
        "pltfrms://example/machine/fra-n1",
        "fra-n1.machine.example.pltfrms.internal",
        "machines.example.pltfrms.internal",
    ]
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert leaf.serial_number >> 64 == 2
    assert made.not_after_ms - NOW_MS == LEAF_MS
    assert made.not_before_ms == NOW_MS - DAY_MS


def test_only_controllers_answer_as_controllers() -> None:
    made = OFFICE.signer.issue(REQUEST, "fra-c2", 1, controller=True)
    assert b"controllers.example.pltfrms.internal" in x509.load_pem_x509_certificate(
        made.chain.encode()
    ).public_bytes(Encoding.DER)


def _rsa_request() -> str:
    key = rsa.generate_private_key(65537, 2048)
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM).decode()


def _forged_request() -> str:
    """Return a request that another key has signed."""
    lines = REQUEST.splitlines()
    lines[-2] = lines[-2][:-4][::-1] + lines[-2][-4:]
    return "\n".join(lines)


@pytest.mark.parametrize(
    "request_text", ["", "no request", "x" * 10_000, _rsa_request(), _forged_request()]
)
def test_what_is_no_request_is_refused(request_text: str) -> None:
    with pytest.raises(UsageError, match="request"):
        OFFICE.signer.issue(request_text, "fra-n1", 1, controller=False)


@given(st.text(max_size=200))
def test_no_text_is_taken_for_a_request_or_a_signature(text: str) -> None:
    with pytest.raises(UsageError):
        OFFICE.signer.public_key_of(text)
    assert not is_signed_by("nonce", text, public_text(key_of_request(REQUEST)))
    assert not is_signed_by("nonce", sign_text(KEY, "nonce"), text)


def test_who_has_the_key_is_known_by_a_signature() -> None:
    public = public_text(key_of_request(REQUEST))
    assert is_signed_by("nonce", sign_text(KEY, "nonce"), public)
    assert not is_signed_by("another", sign_text(KEY, "nonce"), public)
    assert not is_signed_by("nonce", sign_text(make_key(), "nonce"), public)


def test_the_roots_key_is_of_use_with_the_passphrase_alone() -> None:
    assert "ENCRYPTED" in OFFICE.root.key
    with pytest.raises(UsageError, match="key cannot be read"):
        make_authority(OFFICE.root, "wrong", "fra-c1", NOW_MS)
    other = make_root("example", PASSPHRASE, NOW_MS)
    with pytest.raises(UsageError, match="another root"):
        make_authority(replace(OFFICE.root, key=other.key), PASSPHRASE, "fra-c1", NOW_MS)


@pytest.mark.parametrize("now_ms", [0, NOW_MS + 3700 * DAY_MS])
def test_by_a_wrong_clock_nothing_is_signed(now_ms: int) -> None:
    with pytest.raises(UnavailableError, match="clock"):
        make_authority(OFFICE.root, PASSPHRASE, "fra-c1", now_ms)
    late = Authority("example", OFFICE.root.certificate, OFFICE.own, lambda: now_ms)
    with pytest.raises(UnavailableError, match="clock"):
        late.issue(REQUEST, "fra-n1", 1, controller=False)


def test_a_controller_that_cannot_sign_says_what_to_do() -> None:
    bare = Authority("example", OFFICE.root.certificate, None, lambda: NOW_MS)
    with pytest.raises(UnavailableError, match="pltfrms controller authority"):
        bare.issue(REQUEST, "fra-n1", 1, controller=False)


def test_the_pin_of_a_token_outlives_a_new_authority_and_fits_no_other_root() -> None:
    again = make_authority(OFFICE.root, PASSPHRASE, "fra-c1", NOW_MS)
    later = Authority("example", OFFICE.root.certificate, again, lambda: NOW_MS)
    assert later.pin == OFFICE.signer.pin
    assert pinned_root(OFFICE.root.certificate, later.pin) == OFFICE.root.certificate
    other = make_root("example", PASSPHRASE, NOW_MS)
    with pytest.raises(UsageError, match="not the platform of the token"):
        pinned_root(other.certificate, later.pin)


def test_no_other_root_comes_in_beside_the_one_that_is_pinned() -> None:
    own, other = OFFICE.root.certificate, make_root("example", PASSPHRASE, NOW_MS).certificate
    for roots in (own + other, other + own):
        assert pinned_root(roots, OFFICE.signer.pin) == own
    for roots in ("", 5 * own, own + OFFICE.own.certificate):
        with pytest.raises(UsageError, match="root"):
            pinned_root(roots, OFFICE.signer.pin)


def test_an_identity_is_one_private_file_that_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = IdentityFile(tmp_path)
    assert not file.there
    with pytest.raises(UsageError, match="join with a token"):
        file.read()
    made = OFFICE.signer.issue(REQUEST, "fra-n1", 1, controller=False)
    file.write(KEY, REQUEST, made, NOW_MS)
    own = file.read()
    assert (own.platform, own.machine, own.request) == ("example", "fra-n1", REQUEST)
    assert file.key().strip() == KEY.strip()
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert file.directory.stat().st_mode & 0o777 == 0o700
    file.renew(OFFICE.signer.issue(REQUEST, "fra-n1", 1, controller=False), NOW_MS)
    assert file.key().strip() == KEY.strip()
    with pytest.raises(UsageError, match="this is fra-n1"):
        file.renew(OFFICE.signer.issue(REQUEST, "fra-n2", 1, controller=False), NOW_MS)


def test_a_key_that_others_may_read_is_not_used(tmp_path: Path) -> None:
    file = OFFICE.identity(tmp_path, "fra-c1", controller=True)
    file.path.chmod(0o640)
    with pytest.raises(UsageError, match="chmod 600"):
        file.read()
    authority = AuthorityFile(tmp_path)
    assert authority.read() == OFFICE.own or authority.read()
    authority.path.chmod(0o644)
    with pytest.raises(UsageError, match="chmod 600"):
        authority.read()


def test_a_torn_identity_is_said_to_be_one(tmp_path: Path) -> None:
    file = OFFICE.identity(tmp_path, "fra-n1")
    file.path.write_text("{}\n")
    with pytest.raises(UsageError, match="join again"):
        file.read()


def hello(chain: str, key: str, roots: str, directory: Path) -> str:
    """Shake hands in memory with who shows a chain; return why it is refused."""
    shown = directory / "shown.pem"
    shown.write_text(key + chain)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(shown)
    ways = [(ssl.MemoryBIO(), ssl.MemoryBIO()) for _ in range(2)]
    (to_server, to_client), _ = ways
    name = controllers_server_name("example")
    asks = trusting_context(roots).wrap_bio(to_client, to_server, server_hostname=name)
    answers = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for end in (asks, answers):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError as error:
                return error.verify_message
    return ""


def test_who_trusts_the_old_root_alone_believes_one_that_it_has_vouched_for(
    tmp_path: Path,
) -> None:
    """So a machine that was away while the root changed gets its certificate back."""
    now_ms = time.time_ns() // 1_000_000
    office = Office("example", now_ms)
    old, new, other = (make_root("example", PASSPHRASE, now_ms) for _ in range(3))
    voucher = vouch(old, PASSPHRASE, new.certificate, now_ms)
    for vouched in (True, False):
        known = replace(new, certificate=new.certificate + (voucher if vouched else ""))
        office.root, office.own = new, make_authority(known, PASSPHRASE, "fra-c1", now_ms)
        key = make_key()
        request = make_request(key, "example", "fra-c1")
        made = office.signer.issue(request, "fra-c1", 1, controller=True)
        assert hello(made.chain, key, new.certificate, tmp_path) == ""
        assert bool(hello(made.chain, key, old.certificate, tmp_path)) is not vouched
        assert hello(made.chain, key, other.certificate, tmp_path) != ""


def test_a_root_vouches_for_another_one_for_a_year_at_most() -> None:
    old, young = OFFICE.root, make_root("example", PASSPHRASE, NOW_MS)
    said = life_of(vouch(old, PASSPHRASE, young.certificate, NOW_MS))
    assert said.not_after_ms == NOW_MS + AUTHORITY_MS
    late_ms = life_of(old.certificate).not_after_ms - DAY_MS
    said = life_of(vouch(old, PASSPHRASE, young.certificate, late_ms))
    assert said.not_after_ms == life_of(old.certificate).not_after_ms


def test_what_several_roots_have_vouched_is_kept(tmp_path: Path) -> None:
    now_ms = time.time_ns() // 1_000_000
    *olds, new = (make_root("example", PASSPHRASE, now_ms) for _ in range(3))
    *older, path = (tmp_path / f"{name}.pem" for name in "abc")
    for at, root in ((older[0], olds[0]), (older[1], olds[1]), (path, new)):
        replace_file(at, f"{root.key.strip()}\n{root.certificate}".encode())
    for at in (*older, older[0]):
        vouch_for_root(path, at, PASSPHRASE)
    text = path.read_text()
    first, *vouchers = certificates_of(text[text.index("-----BEGIN CERTIFICATE") :])
    signers = [issuing_root(each, [root.certificate for root in olds]) for each in vouchers]
    assert first == new.certificate
    assert signers == [olds[1].certificate, olds[0].certificate], "each once"


def test_a_root_vouches_for_its_own_platform_alone() -> None:
    stranger = make_root("other", PASSPHRASE, NOW_MS)
    with pytest.raises(UsageError, match="two platforms"):
        vouch(OFFICE.root, PASSPHRASE, stranger.certificate, NOW_MS)
    with pytest.raises(UsageError, match="password"):
        vouch(OFFICE.root, "wrong", OFFICE.root.certificate, NOW_MS)
    with pytest.raises(UnavailableError, match="clock"):
        vouch(OFFICE.root, PASSPHRASE, OFFICE.root.certificate, NOW_MS - 900 * DAY_MS)
