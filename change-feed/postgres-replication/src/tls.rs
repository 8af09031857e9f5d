//! TLS by rustls with ring, like sqlx's feature `tls-rustls-ring`.

use std::path::Path;
use std::sync::Arc;

use ring::digest;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring as provider};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as RustlsError, RootCertStore, SignatureScheme,
};

use crate::error::ReplicationError;
use crate::tls_mode::{SslMode, TlsOptions};

pub(super) type TlsStream = tokio_rustls::client::TlsStream<TcpStream>;

/// `sslrootcert=system`: the authorities that browsers trust.
const WELL_KNOWN_AUTHORITIES: &str = "system";

/// Encrypts the connection, and verifies the server as far as `sslmode` demands.
pub(super) async fn handshake(
    stream: TcpStream,
    host: &str,
    options: &TlsOptions,
) -> Result<TlsStream, ReplicationError> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|error| failed("no certificate can be for this host name; correct the host", error))?;
    let configuration = configuration(options)?;
    let connected = TlsConnector::from(Arc::new(configuration)).connect(name, stream).await;
    connected.map_err(|error| {
        // Errors of rustls are wrapped in an I/O error; all others are the connection's.
        match error.get_ref().is_some_and(|inner| inner.is::<RustlsError>()) {
            true => failed("the server's certificate was refused, or the server refused ours", error),
            false => ReplicationError::lost("the connection broke in the TLS handshake", error),
        }
    })
}

fn configuration(options: &TlsOptions) -> Result<ClientConfig, ReplicationError> {
    let provider = Arc::new(provider::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed("no version of TLS can be used", error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier(options, provider)?);
    let configured = match (&options.client_certificate, &options.client_key) {
        (Some(certificate), Some(key)) => {
            let certificates = certificates(certificate, "sslcert")?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| failed("sslkey could not be read", error))?;
            builder.with_client_auth_cert(certificates, key)
        }
        _ => Ok(builder.with_no_client_auth()),
    };
    configured.map_err(|error| failed("sslcert and sslkey do not belong together", error))
}

/// Chooses how to verify the server. As in libpq, `require` verifies it only if `sslrootcert` is given.
fn verifier(
    options: &TlsOptions,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, ReplicationError> {
    let is_verified = match options.mode {
        SslMode::VerifyCa | SslMode::VerifyFull => true,
        SslMode::Require => options.root_certificates.is_some(),
        SslMode::Disable | SslMode::Allow | SslMode::Prefer => false,
    };
    if !is_verified {
        return Ok(Arc::new(Unverified { provider }));
    }
    let roots = Arc::new(trusted(options.root_certificates.as_deref())?);
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider)
        .build()
        .map_err(|error| failed("sslrootcert contains no usable authority", error))?;
    match options.mode {
        SslMode::VerifyFull => Ok(verifier),
        _ => Ok(Arc::new(AnyName { verifier })),
    }
}

fn trusted(file: Option<&Path>) -> Result<RootCertStore, ReplicationError> {
    let mut roots = RootCertStore::empty();
    match file.filter(|file| *file != Path::new(WELL_KNOWN_AUTHORITIES)) {
        Some(file) => {
            for certificate in certificates(file, "sslrootcert")? {
                roots
                    .add(certificate)
                    .map_err(|error| failed("sslrootcert contains a certificate that is not an authority's", error))?;
            }
        }
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
    }
    Ok(roots)
}

fn certificates(file: &Path, parameter: &str) -> Result<Vec<CertificateDer<'static>>, ReplicationError> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    let certificates: Vec<_> = read.map_err(|error| failed(format!("{parameter} could not be read"), error))?;
    match certificates.is_empty() {
        true => Err(ReplicationError::tls(format!("{parameter} contains no certificate; name a file in PEM format"))),
        false => Ok(certificates),
    }
}

fn failed(what: impl Into<String>, error: impl std::error::Error + Send + Sync + 'static) -> ReplicationError {
    ReplicationError::Tls { what: what.into().into(), source: Some(Box::new(error)) }
}

/// Accepts any certificate whose key the server has: encryption without verification.
#[derive(Debug)]
struct Unverified {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, RustlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Accepts a certificate that an authority has signed, for any host: `verify-ca`.
#[derive(Debug)]
struct AnyName {
    verifier: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, RustlsError> {
        // The name is checked last, so an error about it means that everything else is right.
        match self.verifier.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            Err(RustlsError::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        self.verifier.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        self.verifier.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// The hash of the server's certificate that a password exchange is bound to; `None` where RFC 5929 defines none.
pub(super) fn certificate_hash(stream: &TlsStream) -> Option<Vec<u8>> {
    let certificate = stream.get_ref().1.peer_certificates()?.first()?;
    let algorithm = signature_hash(certificate)?;
    Some(digest::digest(algorithm, certificate).as_ref().to_vec())
}

/// The hash that a certificate was signed with, SHA-256 in place of MD5 and SHA-1 (RFC 5929, section 4.1).
fn signature_hash(certificate: &[u8]) -> Option<&'static digest::Algorithm> {
    // Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm SEQUENCE { algorithm OID, … }, … } (RFC 5280)
    const SEQUENCE: u8 = 0x30;
    const OID: u8 = 0x06;
    const PKCS1: [u8; 8] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
    const ECDSA_SHA1: [u8; 7] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01];
    const ECDSA_SHA2: [u8; 7] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03];

    let (certificate, _) = der_element(SEQUENCE, certificate)?;
    let (_, after_body) = der_element(SEQUENCE, certificate)?;
    let (algorithm, _) = der_element(SEQUENCE, after_body)?;
    let (identifier, _) = der_element(OID, algorithm)?;
    if let Some([last]) = identifier.strip_prefix(&PKCS1) {
        return match last {
            4 | 5 | 11 => Some(&digest::SHA256),
            12 => Some(&digest::SHA384),
            13 => Some(&digest::SHA512),
            _ => None,
        };
    }
    if identifier == ECDSA_SHA1 {
        return Some(&digest::SHA256);
    }
    match identifier.strip_prefix(&ECDSA_SHA2) {
        Some([2]) => Some(&digest::SHA256),
        Some([3]) => Some(&digest::SHA384),
        Some([4]) => Some(&digest::SHA512),
        _ => None,
    }
}

/// Returns the content of the first element of `der`, which must have this tag, and the bytes after the element.
fn der_element(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = der.split_first()?;
    let (&short, rest) = rest.split_first()?;
    let (length, rest) = match usize::from(short) {
        length @ 0..=0x7f => (length, rest),
        long => {
            let (digits, rest) = rest.split_at_checked(long - 0x80)?;
            let length = digits
                .iter()
                .try_fold(0_usize, |length, &digit| length.checked_mul(256)?.checked_add(usize::from(digit)))?;
            (length, rest)
        }
    };
    (first == tag).then(|| rest.split_at_checked(length))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut der = vec![tag];
        match content.len() {
            length @ 0..=0x7f => der.push(u8::try_from(length).expect("short")),
            length => {
                der.push(0x82);
                der.extend_from_slice(&u16::try_from(length).expect("not that long").to_be_bytes());
            }
        }
        der.extend_from_slice(content);
        der
    }

    fn certificate(identifier: &[u8]) -> Vec<u8> {
        let body = element(0x30, &[7; 300]);
        let algorithm = element(0x30, &element(0x06, identifier));
        element(0x30, &[body, algorithm, element(0x03, &[0; 40])].concat())
    }

    #[test]
    fn the_hash_is_the_one_that_the_certificate_was_signed_with() {
        let rsa = |last| certificate(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, last]);
        let ecdsa = |last| certificate(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, last]);
        assert_eq!(signature_hash(&rsa(11)), Some(&digest::SHA256));
        assert_eq!(signature_hash(&rsa(5)), Some(&digest::SHA256), "SHA-1 is replaced");
        assert_eq!(signature_hash(&rsa(12)), Some(&digest::SHA384));
        assert_eq!(signature_hash(&rsa(13)), Some(&digest::SHA512));
        assert_eq!(signature_hash(&ecdsa(2)), Some(&digest::SHA256));
        assert_eq!(signature_hash(&ecdsa(3)), Some(&digest::SHA384));
        assert_eq!(signature_hash(&certificate(&[0x2b, 0x65, 0x70])), None, "Ed25519 has no hash of its own");
    }

    #[test]
    fn what_is_no_certificate_has_no_hash() {
        let whole = certificate(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 11]);
        for length in 0..320 {
            assert_eq!(signature_hash(&whole[..length]), None, "{length} bytes");
        }
        assert_eq!(signature_hash(&[0x30, 0xff, 1, 2, 3]), None);
    }
}
