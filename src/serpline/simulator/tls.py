"""A certificate authority created at run time, with a certificate per site on first use.

The authority's key stays in memory. Only its certificate is written, for clients to trust.
"""

import ssl
from collections import OrderedDict
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CONTEXTS_MAX = 2_048
# Wide enough for frozen or shifted clocks in tests.
_FROM, _UNTIL = datetime(2020, 1, 1, tzinfo=UTC), datetime(2070, 1, 1, tzinfo=UTC)
_DEFAULT_HOST = "simulator.example"


class Authority:
    """Issues certificates for ``site.example`` and ``*.site.example``."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._leaf_key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "serpline simulator CA")])
        self._certificate = self._make_root()
        self._contexts: OrderedDict[str, ssl.SSLContext] = OrderedDict()

    def write(self, path: Path) -> None:
        """Write the authority's certificate (PEM) for clients to trust."""
        path.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def server_context(self) -> ssl.SSLContext:
        """A server context that chooses the certificate by SNI."""
        context = self._context(_DEFAULT_HOST)

        def choose(connection: ssl.SSLSocket | ssl.SSLObject, name: str, _: ssl.SSLContext) -> None:
            if name:
                connection.context = self._context(".".join(name.lower().split(".")[-2:]))

        context.sni_callback = choose
        return context

    def _context(self, site: str) -> ssl.SSLContext:
        context = self._contexts.get(site)
        if context is None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._load(context, site)
            self._contexts[site] = context
            if len(self._contexts) > CONTEXTS_MAX:
                self._contexts.popitem(last=False)
        return context

    def _load(self, context: ssl.SSLContext, site: str) -> None:
        pem = self._issue(site).public_bytes(serialization.Encoding.PEM)
        key = self._leaf_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        # The ssl module reads certificates only from files; this one is deleted at once.
        with TemporaryDirectory(prefix="serpline-tls-") as directory:
            path = Path(directory) / "leaf.pem"
            path.touch(mode=0o600)
            path.write_bytes(pem + key)
            context.load_cert_chain(path)

    def _issue(self, site: str) -> x509.Certificate:
        names = [x509.DNSName(site), x509.DNSName(f"*.{site}")]
        return (
            self._builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, site[:64])]))
            .public_key(self._leaf_key.public_key())
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )

    def _make_root(self) -> x509.Certificate:
        public = self._key.public_key()
        usage = x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        return (
            self._builder(self._name)
            .public_key(public)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def _builder(self, subject: x509.Name) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .serial_number(x509.random_serial_number())
            .not_valid_before(_FROM)
            .not_valid_after(_UNTIL)
        )
