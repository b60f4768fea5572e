//! A stream between two processes that know each other by the hash of a key: TLS 1.3, no names, no authorities.
//!
//! Each end makes a key for itself, keeps it in memory, and tells the other its hash over a link that both trust
//! already. What is carried is sealed by itself; this keeps strangers from ending or feeding a link.

use std::sync::Arc;
use std::time::Duration;

use ring::rand::SystemRandom;
use ring::signature::Ed25519KeyPair;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{CryptoProvider, ring as provider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme,
};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

/// How many bytes go each way before a stream is believed: a path that only lets short packets through fails here.
const PROBE: usize = 64 << 10;
/// How long shaking hands and the probe may take.
pub const PROBE_LIMIT: Duration = Duration::from_secs(2);

/// The SHA-256 of a public key (its SubjectPublicKeyInfo).
pub type KeyHash = [u8; 32];

/// Why there is no such stream.
#[derive(Debug, thiserror::Error)]
pub enum DirectError {
    /// The system gives no randomness, or the library refuses its own key.
    #[error("no key could be made: {0}")]
    Key(String),
    /// The other end is not who it should be, does not speak TLS, or has gone.
    #[error("{0}")]
    Handshake(std::io::Error),
    /// A large piece did not come through.
    #[error("no {} KiB came through: {source}", PROBE >> 10)]
    Probe { source: std::io::Error },
    /// Silence.
    #[error("silent for {} s", PROBE_LIMIT.as_secs())]
    Late,
}

/// The key of one end. It never leaves the process.
#[derive(Clone)]
pub struct DirectKey {
    key: Arc<CertifiedKey>,
    provider: Arc<CryptoProvider>,
    hash: KeyHash,
}

impl DirectKey {
    /// Makes a key.
    ///
    /// # Errors
    /// [`DirectError::Key`].
    pub fn generate() -> Result<Self, DirectError> {
        let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
        let made = made.map_err(|error| DirectError::Key(error.to_string()))?;
        let pkcs8 = PrivatePkcs8KeyDer::from(made.as_ref());
        let signing = provider::sign::any_eddsa_type(&pkcs8).map_err(|error| DirectError::Key(error.to_string()))?;
        let public = signing.public_key().ok_or_else(|| DirectError::Key("it has no public half".into()))?;
        let hash = Sha256::digest(&public).into();
        let public = CertificateDer::from(public.as_ref().to_vec());
        let suites = vec![
            provider::cipher_suite::TLS13_AES_128_GCM_SHA256,
            provider::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ];
        let provider = CryptoProvider { cipher_suites: suites, ..provider::default_provider() };
        let key = Arc::new(CertifiedKey::new(vec![public], signing));
        Ok(Self { key, provider: Arc::new(provider), hash })
    }

    /// What the other end knows it by.
    pub fn hash(&self) -> KeyHash {
        self.hash
    }

    /// Makes sure that whoever accepts on the far side of `stream` has the key of `peer`, and that large pieces come
    /// through both ways.
    ///
    /// # Errors
    /// Within [`PROBE_LIMIT`].
    pub async fn connect<S>(&self, stream: S, peer: KeyHash) -> Result<TlsStream<S>, DirectError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let versions = ClientConfig::builder_with_provider(self.provider.clone()).with_protocol_versions(&[&TLS13]);
        let mut config = versions
            .map_err(|error| DirectError::Key(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Pin::new(peer, &self.provider)))
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(self.key.clone())));
        config.resumption = Resumption::disabled();
        // No name is looked at, and none is sent to whoever listens in.
        config.enable_sni = false;
        let name = ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into());
        within(PROBE_LIMIT, async {
            let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
            let mut stream = TlsStream::Client(stream.map_err(DirectError::Handshake)?);
            let probe = async {
                stream.write_all(&vec![0; PROBE]).await?;
                stream.flush().await?;
                stream.read_exact(&mut vec![0; PROBE]).await
            };
            probe.await.map_err(|source| DirectError::Probe { source })?;
            Ok(stream)
        })
        .await
    }

    /// The other half of [`Self::connect`]. More patient: what was seen is for the connecting side to say.
    ///
    /// # Errors
    /// Within twice [`PROBE_LIMIT`].
    pub async fn accept<S>(&self, stream: S, peer: KeyHash) -> Result<TlsStream<S>, DirectError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let versions = ServerConfig::builder_with_provider(self.provider.clone()).with_protocol_versions(&[&TLS13]);
        let mut config = versions
            .map_err(|error| DirectError::Key(error.to_string()))?
            .with_client_cert_verifier(Arc::new(Pin::new(peer, &self.provider)))
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(self.key.clone())));
        config.send_tls13_tickets = 0;
        within(PROBE_LIMIT * 2, async {
            let stream = TlsAcceptor::from(Arc::new(config)).accept(stream).await;
            let mut stream = TlsStream::Server(stream.map_err(DirectError::Handshake)?);
            let probe = async {
                stream.read_exact(&mut vec![0; PROBE]).await?;
                stream.write_all(&vec![0; PROBE]).await?;
                stream.flush().await
            };
            probe.await.map_err(|source| DirectError::Probe { source })?;
            Ok(stream)
        })
        .await
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, DirectError>>) -> Result<T, DirectError> {
    tokio::time::timeout(limit, work).await.unwrap_or(Err(DirectError::Late))
}

/// Believes one key and nothing else.
#[derive(Debug)]
struct Pin {
    hash: KeyHash,
    provider: Arc<CryptoProvider>,
}

impl Pin {
    fn new(hash: KeyHash, provider: &Arc<CryptoProvider>) -> Self {
        Self { hash, provider: provider.clone() }
    }

    fn check(&self, key: &CertificateDer<'_>) -> Result<(), Error> {
        let seen: KeyHash = Sha256::digest(key).into();
        let wrong = Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
        (seen == self.hash).then_some(()).ok_or(wrong)
    }

    fn verify(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = SubjectPublicKeyInfoDer::from(key.as_ref());
        verify_tls13_signature_with_raw_key(message, &key, signature, &self.provider.signature_verification_algorithms)
    }
}

/// TLS 1.2 is never spoken here.
fn too_old() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::General("only TLS 1.3 is spoken".into()))
}

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        key: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(key).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        too_old()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, key, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Pin {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        key: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(key).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        too_old()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, key, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> (DirectKey, DirectKey) {
        (DirectKey::generate().unwrap(), DirectKey::generate().unwrap())
    }

    #[tokio::test]
    async fn two_ends_that_know_each_others_keys_speak() {
        let (near, far) = keys();
        let (a, b) = tokio::io::duplex(16 << 10);
        let (a, b) = tokio::join!(near.connect(a, far.hash()), far.accept(b, near.hash()));
        let (mut a, mut b) = (a.unwrap(), b.unwrap());
        a.write_all(b"frames").await.unwrap();
        a.flush().await.unwrap();
        let mut read = [0; 6];
        b.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"frames");
    }

    #[tokio::test]
    async fn a_stranger_is_refused_on_either_side() {
        let (near, far) = keys();
        let stranger = DirectKey::generate().unwrap();
        let (a, b) = tokio::io::duplex(16 << 10);
        let (a, b) = tokio::join!(stranger.connect(a, far.hash()), far.accept(b, near.hash()));
        assert!(a.is_err() && matches!(b, Err(DirectError::Handshake(_))));
        let (a, b) = tokio::io::duplex(16 << 10);
        let (a, b) = tokio::join!(near.connect(a, far.hash()), stranger.accept(b, near.hash()));
        assert!(b.is_err() && matches!(a, Err(DirectError::Handshake(_))));
    }

    #[tokio::test]
    async fn a_far_side_that_speaks_no_tls_or_nothing_at_all_is_given_up_soon() {
        let (near, far) = keys();
        let (a, mut b) = tokio::io::duplex(16 << 10);
        let answer = async { b.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await };
        let (a, _) = tokio::join!(near.connect(a, far.hash()), answer);
        assert!(matches!(a, Err(DirectError::Handshake(_))));
        let (a, _b) = tokio::io::duplex(16 << 10);
        assert!(matches!(near.connect(a, far.hash()).await, Err(DirectError::Late)));
    }
}
