"""What a replica shows to others: made by OpenSSL, by the authority of its service."""

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

_PATIENCE_S: Final = 60
_CERTIFICATE: Final = re.compile(r"-----BEGIN (CERTIFICATE)-----[^-]+-----END \1-----")
_ALWAYS: Final = ("-startdate", "19700101000000Z", "-enddate", "99991231235959Z")
"""No clock that is wrong may keep replicas apart; what ends it is another authority."""
_SETTINGS: Final = """\
[ca]
default_ca = own
[own]
database = {directory}/index
new_certs_dir = {directory}
default_md = sha256
rand_serial = yes
unique_subject = no
policy = subject
x509_extensions = uses
[subject]
commonName = supplied
[uses]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectAltName = {names}
"""


def make_certificate(authority: Path, service: str, names: Sequence[str]) -> tuple[str, str]:
    """Return a new key, and its certificate by an authority: PEM with its key and its own.

    Raises:
        subprocess.CalledProcessError: OpenSSL refuses; what it says is in `stderr`.
        subprocess.TimeoutExpired: it does not end.
        OSError: there is no OpenSSL, or no room.
    """
    with TemporaryDirectory() as directory:
        place = Path(directory)
        (place / "index").touch()
        settings, key, asked, made = (place / name for name in ("conf", "key", "csr", "pem"))
        settings.write_text(_SETTINGS.format(directory=directory, names=", ".join(names)))
        _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
        _openssl("req", "-new", "-key", key, "-subj", f"/CN={service}", "-out", asked)
        by = ("-cert", authority, "-keyfile", authority)
        files = ("-in", asked, "-out", made)
        _openssl("ca", "-config", settings, "-batch", "-notext", *_ALWAYS, *by, *files)
        return key.read_text(), made.read_text()


def certificates_in(text: str) -> str:
    """Return the certificates of a PEM, and no key that is before, between or behind them."""
    return "".join(f"{each[0]}\n" for each in _CERTIFICATE.finditer(text))


def _openssl(*words: str | Path) -> None:
    command = ("openssl", *words)
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=_PATIENCE_S)
