"""The platform's own certificate authority: a root, and what each controller signs with.

The root's key is encrypted and taken away by the operator; controllers have keys of one year
that it has signed, each its own, which sign machines and nothing else (RFC 5280).
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pltfrms.drivers.identity.files import DIRECTORY, private_text
from pltfrms.drivers.identity.keys import (
    is_signed_by,
    key_of_request,
    key_text,
    pin_of,
    public_text,
    read_key,
)
from pltfrms.drivers.private import make_directory, replace_file
from pltfrms.errors import UnavailableError, UsageError
from pltfrms.model.identity.lives import AUTHORITY_MS, EARLY_MS, ROOT_MS, Life, leaf_life
from pltfrms.model.identity.words import (
    Certified,
    authority_name,
    controllers_server_name,
    machine_server_name,
    machine_uri,
    machines_server_name,
    serial_of,
)

_SERIAL_BITS = 64
_SECRET_BYTES = 16
_ROOTS_MAX = 4
_BEGIN = "-----BEGIN CERTIFICATE-----"
_EVER = Life(not_before_ms=0, not_after_ms=253_402_300_799_000)
"""From 1970 to 9999: no clock is so wrong, and nothing ends by itself (RFC 5280, 4.1.2.5)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A certificate and its private key, as PEM."""

    certificate: str
    key: str


def make_root(platform: str, passphrase: str, now_ms: int) -> Pair:
    """Return a new root of a platform, with its key encrypted by the passphrase."""
    key = generate_private_key(SECP256R1())
    life = Life(not_before_ms=now_ms - EARLY_MS, not_after_ms=now_ms + ROOT_MS)
    serial = secrets.randbits(_SERIAL_BITS)
    builder = _builder(f"{platform} root", key.public_key(), life, serial, None)
    certificate = _as_authority(builder, path_length=1).sign(key, SHA256())
    return Pair(certificate=_text(certificate), key=key_text(key, passphrase))


def make_authority(root: Pair, passphrase: str, controller: str, now_ms: int) -> Pair:
    """Return what a controller signs with for a year, signed by the root.

    Raises:
        UsageError: the passphrase is another, or the key is not that of the root.
        UnavailableError: the root has expired, or this machine's clock is wrong.
    """
    issuer, key = _opened(root, passphrase, now_ms)
    life = _life(issuer)
    own = generate_private_key(SECP256R1())
    until = min(life.not_after_ms, now_ms + AUTHORITY_MS)
    since = max(life.not_before_ms, now_ms - EARLY_MS)
    builder = _builder(
        authority_name(controller),
        own.public_key(),
        Life(not_before_ms=since, not_after_ms=until),
        secrets.randbits(_SERIAL_BITS),
        issuer,
    )
    certificate = _as_authority(builder, path_length=0).sign(key, SHA256())
    _, *vouchers = certificates_of(root.certificate)
    return Pair(certificate="".join((_text(certificate), *vouchers)), key=key_text(own))


def vouch(old: Pair, passphrase: str, new: str, now_ms: int) -> str:
    """Return a certificate of a new root's key by an old root (PEM).

    Who trusts the old one believes the new one by it, for a year at most: nothing else takes
    that back. Both have the same name, so that it does not count as a step (RFC 5280,
    self-issued).

    Raises:
        UsageError: the passphrase is another, or the roots are of two platforms.
        UnavailableError: the old root has expired, or this machine's clock is wrong.
    """
    issuer, key = _opened(old, passphrase, now_ms)
    subject = read_certificate(new)
    if subject.subject != issuer.subject:
        raise UsageError("the two roots are of two platforms")
    life, end_ms = _life(issuer), _life(subject).not_after_ms
    until_ms = min(life.not_after_ms, end_ms, now_ms + AUTHORITY_MS)
    builder = _builder(
        str(subject.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value),
        _ec(subject),
        Life(not_before_ms=life.not_before_ms, not_after_ms=until_ms),
        secrets.randbits(_SERIAL_BITS),
        issuer,
    )
    return _text(_as_authority(builder, path_length=1).sign(key, SHA256()))


def make_store_authority(platform: str) -> Pair:
    """Return what makes members of a platform's store, and who asks them, believed there."""
    return make_lasting_authority(f"{platform} store")


def make_lasting_authority(name: str) -> Pair:
    """Return an authority of nobody else, which is good for ever."""
    key = generate_private_key(SECP256R1())
    serial = secrets.randbits(_SERIAL_BITS)
    builder = _builder(name, key.public_key(), _EVER, serial, None)
    certificate = _as_authority(builder, path_length=0).sign(key, SHA256())
    return Pair(certificate=_text(certificate), key=key_text(key))


def issue_for_store(
    authority: Pair, machine: str, addresses: Sequence[IPv4Address | IPv6Address]
) -> Pair:
    """Return what a member shows that answers at addresses; without any, who only asks.

    etcd believes who shows addresses only if he comes from one of them.

    Raises:
        UsageError: the authority cannot be read.
    """
    issuer, own = read_certificate(authority.certificate), generate_private_key(SECP256R1())
    builder = _builder(machine, own.public_key(), _EVER, secrets.randbits(_SERIAL_BITS), issuer)
    names = [x509.IPAddress(each) for each in addresses]
    leaf = _with_use(builder, names).sign(read_key(authority.key), SHA256())
    return Pair(certificate=_text(leaf), key=key_text(own))


def certificates_of(text: str) -> tuple[str, ...]:
    """Return the certificates that PEM says, each as PEM; UsageError if it says none."""
    try:
        return tuple(map(_text, x509.load_pem_x509_certificates(text.encode())))
    except ValueError as error:
        raise UsageError(f"the certificate cannot be read: {error}") from error


def _opened(
    root: Pair, passphrase: str, now_ms: int
) -> tuple[x509.Certificate, EllipticCurvePrivateKey]:
    """Return a root's certificate and its key; see who asks for the errors."""
    certificate, key = read_certificate(root.certificate), read_key(root.key, passphrase)
    if public_text(key.public_key()) != public_text(_ec(certificate)):
        raise UsageError("that is the key of another root")
    if not _life(certificate).holds(now_ms):
        raise UnavailableError("by this machine's clock the root is not good; see to the clock")
    return certificate, key


class AuthorityFile:
    """Where a controller has what it signs with: `authority.pem`, beside its identity."""

    def __init__(self, state: Path) -> None:
        """Look in a machine's directory of state; nothing is read."""
        self.path = state / DIRECTORY / "authority.pem"

    def read(self) -> Pair | None:
        """Return what to sign with; None: this controller has nothing.

        Raises:
            UsageError: it cannot be read, or others may read it.
        """
        if not self.path.exists():
            return None
        key, mark, certificate = private_text(self.path).partition(_BEGIN)
        return Pair(certificate=mark + certificate, key=key)

    def write(self, pair: Pair) -> None:
        """Replace it, all at once; OSError if the disk refuses."""
        make_directory(self.path.parent)
        replace_file(self.path, f"{pair.key.strip()}\n{pair.certificate}".encode())


class Authority:
    """`ports.Signer` of one controller, which may have nothing to sign with."""

    def __init__(
        self, platform: str, roots: str, own: Pair | None, unix_ms: Callable[[], int]
    ) -> None:
        """Trust the roots (PEM); sign with `own`.

        Raises:
            UsageError: a certificate or a key cannot be read.
        """
        self.platform = platform
        self.certificate = own.certificate if own else ""
        self._unix_ms = unix_ms
        self._own = own
        self._certificate = read_certificate(own.certificate) if own else None
        self._key: EllipticCurvePrivateKey | None = read_key(own.key) if own else None
        self.trust(roots)

    def trust(self, roots: str) -> None:
        """See `ports.Signer`."""
        known = roots_of(roots)
        signer = issuing_root(self.certificate, known) if self.certificate else ""
        self.roots = "".join(known)
        self.pin = self.pin_of_root(signer or known[0])
        # What a root has signed that is trusted no more is believed by nobody.
        self.life = _life(self._certificate) if self._certificate and signer else None

    def issue(self, request: str, machine: str, joins: int, *, controller: bool) -> Certified:
        """See `ports.Signer`."""
        key = key_of_request(request)
        if not self._own or not self._certificate or not self._key or not self.life:
            raise UnavailableError(
                "this controller cannot sign certificates; ask another one, or on it: "
                "pltfrms controller authority"
            )
        life = leaf_life(self.life, self._unix_ms())
        if life is None:
            raise UnavailableError(
                "by this controller's clock, what it signs with is not good: see to the clock, "
                "or make it new with: pltfrms controller authority"
            )
        serial = serial_of(joins, secrets.randbits(_SERIAL_BITS))
        builder = _builder(machine, key, life, serial, self._certificate)
        leaf = self._as_leaf(builder, machine, controller=controller).sign(self._key, SHA256())
        return Certified(
            platform=self.platform,
            machine=machine,
            chain=_text(leaf) + self._own.certificate,
            roots=self.roots,
            not_before_ms=life.not_before_ms,
            not_after_ms=life.not_after_ms,
        )

    def pin_of_root(self, certificate: str) -> str:
        """See `ports.Signer`."""
        return pin_of(read_certificate(certificate))

    def public_key_of(self, request: str) -> str:
        """See `ports.Signer`."""
        return public_text(key_of_request(request))

    def is_signed(self, text: str, signature: str, public_key: str) -> bool:
        """See `ports.Signer`."""
        return is_signed_by(text, signature, public_key)

    def new_secret(self) -> str:
        """See `ports.Signer`."""
        return secrets.token_hex(_SECRET_BYTES)

    def _as_leaf(
        self, builder: x509.CertificateBuilder, machine: str, *, controller: bool
    ) -> x509.CertificateBuilder:
        names: list[x509.GeneralName] = [
            x509.UniformResourceIdentifier(machine_uri(self.platform, machine)),
            x509.DNSName(machine_server_name(self.platform, machine)),
            x509.DNSName(machines_server_name(self.platform)),
        ]
        if controller:
            names.append(x509.DNSName(controllers_server_name(self.platform)))
        return _with_use(builder, names)


def read_certificate(text: str) -> x509.Certificate:
    """Return the first certificate that PEM says; UsageError if it says none."""
    try:
        return x509.load_pem_x509_certificate(text.encode())
    except ValueError as error:
        raise UsageError(f"the certificate cannot be read: {error}") from error


def life_of(certificate: str) -> Life:
    """Return from when to when a certificate (PEM) is good; UsageError."""
    return _life(read_certificate(certificate))


def roots_of(text: str) -> tuple[str, ...]:
    """Return the roots that PEM says, each as PEM.

    Raises:
        UsageError: there is none or there are many, or one is not signed by itself.
    """
    try:
        found = x509.load_pem_x509_certificates(text.encode())
    except ValueError as error:
        raise UsageError(f"the platform has a root, and this is none: {error}") from error
    if len(found) > _ROOTS_MAX:
        raise UsageError(f"no platform has more than {_ROOTS_MAX} roots")
    for root in found:
        if not _is_signed_by(root, root):
            raise UsageError("the root is not signed by itself")
    return tuple(map(_text, found))


def issuing_root(certificate: str, roots: Sequence[str]) -> str:
    """Return which root has signed an authority, all as PEM; empty: none of them."""
    own = read_certificate(certificate)
    return next((each for each in roots if _is_signed_by(own, read_certificate(each))), "")


def pinned_root(roots: str, pin: str) -> str:
    """Return the root that a token pins, as PEM: all that may be trusted of what was heard.

    Raises:
        UsageError: it is not there, or something is no root.
    """
    for root in roots_of(roots):
        if pin_of(read_certificate(root)) == pin:
            return root
    raise UsageError("that is not the platform of the token: its root has another key")


def _is_signed_by(certificate: x509.Certificate, signer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(signer)
    except Exception:  # noqa: BLE001 - the library says with many errors that it is not
        return False
    return True


def _builder(
    name: str,
    key: EllipticCurvePublicKey,
    life: Life,
    serial: int,
    issuer: x509.Certificate | None,
) -> x509.CertificateBuilder:
    """Begin a certificate; without an issuer it is one of itself."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(_ec(issuer) if issuer else key)
    own = x509.SubjectKeyIdentifier.from_public_key(key)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key)
        .serial_number(serial)
        .not_valid_before(_moment(life.not_before_ms))
        .not_valid_after(_moment(life.not_after_ms))
        .add_extension(own, critical=False)
        .add_extension(signer, critical=False)
    )


def _as_authority(
    builder: x509.CertificateBuilder, path_length: int
) -> x509.CertificateBuilder:
    constraints = x509.BasicConstraints(ca=True, path_length=path_length)
    return builder.add_extension(constraints, critical=True).add_extension(
        _usage(signs_certificates=True), critical=True
    )


def _with_use(
    builder: x509.CertificateBuilder, names: Sequence[x509.GeneralName]
) -> x509.CertificateBuilder:
    """Make it a certificate of who answers and asks, and signs nothing."""
    both = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
    builder = (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(both), critical=False)
    )
    if not names:
        return builder
    return builder.add_extension(x509.SubjectAlternativeName(names), critical=False)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _moment(unix_ms: int) -> datetime:
    return datetime.fromtimestamp(unix_ms // 1000, UTC)


def _life(certificate: x509.Certificate) -> Life:
    return Life(
        not_before_ms=int(certificate.not_valid_before_utc.timestamp() * 1000),
        not_after_ms=int(certificate.not_valid_after_utc.timestamp() * 1000),
    )


def _ec(certificate: x509.Certificate) -> EllipticCurvePublicKey:
    key = certificate.public_key()
    if not isinstance(key, EllipticCurvePublicKey):
        raise UsageError("the root's key is of another kind: keys here are on the curve P-256")
    return key


def _text(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()
