//! A certificate as its fields: what an operator compares, in place of its base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use sha2::{Digest, Sha256};
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::spki::SubjectPublicKeyInfoOwned;

const BEGIN: &str = "-----BEGIN ";
const LABEL: &str = "CERTIFICATE";
/// How base64 of a PEM text begins.
const PACKED: &str = "LS0tLS1CRUdJTi";

/// What a certificate says of itself. All of it is public.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Certificate {
    /// Whom it names, as RFC 4514 writes it.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// The number that the issuer gave it, in hexadecimal.
    pub serial: String,
    /// From when it is good (UTC).
    pub not_before: String,
    /// Until when it is good (UTC).
    pub not_after: String,
    /// The hosts and addresses that it is good for.
    pub names: Vec<String>,
    /// The algorithm and size of its key.
    pub key: String,
    /// SHA-256 of the whole certificate, as `openssl x509 -fingerprint -sha256` gives it, without colons.
    pub sha256: String,
}

impl Certificate {
    /// Its fields with their names.
    pub(super) fn fields(&self) -> [(&'static str, String); 8] {
        [
            ("subject", self.subject.clone()),
            ("issuer", self.issuer.clone()),
            ("serial", self.serial.clone()),
            ("not before", self.not_before.clone()),
            ("not after", self.not_after.clone()),
            ("names", self.names.join(", ")),
            ("key", self.key.clone()),
            ("sha256", self.sha256.clone()),
        ]
    }

    fn read(der: &[u8]) -> Option<Self> {
        let certificate = x509_cert::Certificate::from_der(der).ok()?;
        let tbs = &certificate.tbs_certificate;
        let names = match tbs.get::<SubjectAltName>() {
            Ok(Some((_, names))) => names.0.iter().map(general_name).collect(),
            _ => Vec::new(),
        };
        Some(Self {
            subject: tbs.subject.to_string(),
            issuer: tbs.issuer.to_string(),
            serial: hex::encode(tbs.serial_number.as_bytes()),
            not_before: tbs.validity.not_before.to_date_time().to_string(),
            not_after: tbs.validity.not_after.to_date_time().to_string(),
            names,
            key: key(&tbs.subject_public_key_info),
            sha256: hex::encode(Sha256::digest(der)),
        })
    }
}

/// A text with certificates in it.
#[derive(Debug)]
pub(super) struct Pem {
    pub(super) certificates: Vec<Certificate>,
    /// Whether there is anything else: a private key, other text.
    pub(super) more: String,
}

/// The certificates of a text: PEM, or base64 of PEM as Kubernetes keeps it. `None` where there is none, or one that
/// cannot be read.
pub(super) fn certificates(text: &str) -> Option<Pem> {
    if text.trim_start().starts_with(PACKED) {
        let packed: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        return plain(&String::from_utf8(STANDARD.decode(packed).ok()?).ok()?);
    }
    plain(text)
}

fn plain(text: &str) -> Option<Pem> {
    let mut pem = Pem { certificates: Vec::new(), more: String::new() };
    let mut rest = text;
    while let Some(at) = rest.find(BEGIN) {
        pem.more.push_str(rest[..at].trim());
        let (label, body) = rest[at + BEGIN.len()..].split_once("-----")?;
        let (body, after) = body.split_once(&format!("-----END {label}-----"))?;
        if label == LABEL {
            let packed: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
            pem.certificates.push(Certificate::read(&STANDARD.decode(packed).ok()?)?);
        } else {
            pem.more.push_str(body);
        }
        rest = after;
    }
    pem.more.push_str(rest.trim());
    (!pem.certificates.is_empty()).then_some(pem)
}

fn general_name(name: &GeneralName) -> String {
    match name {
        GeneralName::DnsName(text) | GeneralName::Rfc822Name(text) | GeneralName::UniformResourceIdentifier(text) => {
            text.to_string()
        }
        GeneralName::IpAddress(bytes) => match bytes.as_bytes() {
            [a, b, c, d] => std::net::Ipv4Addr::new(*a, *b, *c, *d).to_string(),
            bytes => match <[u8; 16]>::try_from(bytes) {
                Ok(bytes) => std::net::Ipv6Addr::from(bytes).to_string(),
                Err(_) => hex::encode(bytes),
            },
        },
        GeneralName::DirectoryName(name) => name.to_string(),
        GeneralName::RegisteredId(id) => id.to_string(),
        GeneralName::OtherName(other) => other.type_id.to_string(),
        GeneralName::EdiPartyName(_) => "EDI party".into(),
    }
}

/// The key's algorithm and size. Identifiers are those of RFC 3279, 5480 and 8410.
fn key(info: &SubjectPublicKeyInfoOwned) -> String {
    let algorithm = info.algorithm.oid.to_string();
    match algorithm.as_str() {
        "1.2.840.113549.1.1.1" => match rsa_bits(info.subject_public_key.raw_bytes()) {
            Some(bits) => format!("RSA {bits}"),
            None => "RSA".into(),
        },
        "1.2.840.10045.2.1" => {
            let curve = info.algorithm.parameters.as_ref().and_then(|any| any.to_der().ok());
            let curve = curve.and_then(|der| ObjectIdentifier::from_der(&der).ok()).map(|oid| oid.to_string());
            match curve.as_deref() {
                Some("1.2.840.10045.3.1.7") => "ECDSA P-256".into(),
                Some("1.3.132.0.34") => "ECDSA P-384".into(),
                Some("1.3.132.0.35") => "ECDSA P-521".into(),
                Some(other) => format!("ECDSA {other}"),
                None => "ECDSA".into(),
            }
        }
        "1.3.101.112" => "Ed25519".into(),
        "1.3.101.113" => "Ed448".into(),
        other => other.to_owned(),
    }
}

/// The length of an RSA modulus. An `RSAPublicKey` is a sequence of two whole numbers, the modulus first.
fn rsa_bits(der: &[u8]) -> Option<usize> {
    let numbers = Vec::<x509_cert::der::asn1::Uint>::from_der(der).ok()?;
    let modulus = numbers.first()?.as_bytes();
    let leading = modulus.first()?.leading_zeros() as usize;
    Some(modulus.len() * 8 - leading)
}
