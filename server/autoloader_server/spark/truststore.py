"""Java's view of whom to trust: it knows nothing of the certificates that a company's proxy needs.

Python tools are told of those by SSL_CERT_FILE or REQUESTS_CA_BUNDLE; the same file is handed to Java.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from autoloader_server.spark.errors import JarUnavailable

# A trust store holds public certificates only; Java insists on some password.
_PASSWORD = "changeit"  # noqa: S105


def truststore_options(folder: Path) -> list[str]:
    """Java options that make it trust what Python is told to trust; none where nothing is set.

    The store is written into ``folder``, which must outlive the Java process.
    """
    for variable in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        if name := os.environ.get(variable):
            store = folder / "truststore.p12"
            store.write_bytes(_pkcs12(Path(name), variable))
            return [
                f"-Djavax.net.ssl.trustStore={store}",
                "-Djavax.net.ssl.trustStoreType=PKCS12",
                f"-Djavax.net.ssl.trustStorePassword={_PASSWORD}",
            ]
    return []


def _pkcs12(bundle: Path, variable: str) -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12
    from cryptography.utils import CryptographyDeprecationWarning

    try:
        pem = bundle.read_bytes()
        with warnings.catch_warnings():
            # Public roots with serial numbers that today's rules forbid are still in use.
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            certificates = x509.load_pem_x509_certificates(pem)
            entries = [pkcs12.PKCS12Certificate(ca, f"{n}".encode()) for n, ca in enumerate(certificates)]
            return pkcs12.serialize_java_truststore(entries, BestAvailableEncryption(_PASSWORD.encode()))
    except (OSError, ValueError) as error:
        message = f"{variable} names {bundle}, which cannot be read as PEM certificates: {error}"
        raise JarUnavailable(message) from error
