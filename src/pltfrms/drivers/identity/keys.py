"""Keys on the curve P-256, requests, and signatures; by the library `cryptography`."""

import hashlib
from typing import cast

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from pltfrms.errors import UsageError
from pltfrms.model.identity.words import machine_uri

_REQUEST_BYTES_MAX = 8192


def make_key() -> str:
    """Return a new private key, as PEM."""
    return key_text(generate_private_key(SECP256R1()))


def key_text(key: EllipticCurvePrivateKey, passphrase: str = "") -> str:
    """Return a private key as PEM, encrypted if there is a passphrase."""
    hidden = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, hidden).decode()


def read_key(text: str, passphrase: str = "") -> EllipticCurvePrivateKey:
    """Return the private key that PEM says.

    Raises:
        UsageError: there is none, or the passphrase is another.
    """
    try:
        key = load_pem_private_key(text.encode(), passphrase.encode() or None)
    except (ValueError, TypeError) as error:
        raise UsageError(f"the key cannot be read: {error}") from error
    if not isinstance(key, EllipticCurvePrivateKey):
        raise UsageError("the key is of another kind: keys here are on the curve P-256")
    return key


def public_text(key: EllipticCurvePublicKey) -> str:
    """Return a public key as PEM."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def pin_of(certificate: x509.Certificate) -> str:
    """Return the SHA-256 of a certificate's SubjectPublicKeyInfo, in hexadecimal digits."""
    key = certificate.public_key()
    text = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(text).hexdigest()


def make_request(key: str, platform: str, machine: str) -> str:
    """Return the request for a certificate for a private key, as PEM."""
    name = x509.SubjectAlternativeName(
        [x509.UniformResourceIdentifier(machine_uri(platform, machine))]
    )
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    request = builder.add_extension(name, critical=True).sign(read_key(key), SHA256())
    return request.public_bytes(Encoding.PEM).decode()


def key_of_request(request: str) -> EllipticCurvePublicKey:
    """Return the public key of a request that this key has signed.

    Raises:
        UsageError: it is no request, not signed so, or the key is of another kind.
    """
    if len(request) > _REQUEST_BYTES_MAX:
        raise UsageError("that is no request for a certificate: it is too long")
    try:
        found = x509.load_pem_x509_csr(request.encode())
        good, key = found.is_signature_valid, found.public_key()
    except Exception as error:
        # The library raises many things for what is not as it should be.
        raise UsageError(f"that is no request for a certificate: {error}") from error
    if not good:
        raise UsageError("the request is not signed by its own key")
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise UsageError("the key of the request is not on the curve P-256")
    return key


def sign_text(key: str, text: str) -> str:
    """Return the signature of a text by a private key (PEM), in hexadecimal digits."""
    return read_key(key).sign(text.encode(), ECDSA(SHA256())).hex()


def is_signed_by(text: str, signature: str, public_key: str) -> bool:
    """Return whether who has a key (PEM) has signed a text; False also for what is neither."""
    try:
        key = cast("EllipticCurvePublicKey", load_pem_public_key(public_key.encode()))
        key.verify(bytes.fromhex(signature), text.encode(), ECDSA(SHA256()))
    except (InvalidSignature, ValueError, TypeError, AttributeError):
        return False
    return True
