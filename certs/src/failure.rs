//! Reasons of failed handshakes, with short names for metric labels.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};

use crate::{chain::ChainError, identity::IdentityError, revocation::NoRevocationList};

/// Why a handshake failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeFailure {
    /// The handshake took longer than the deadline.
    #[error("the handshake exceeded its deadline")]
    Timeout,
    /// TLS refused the connection, on either side.
    #[error(transparent)]
    Tls(#[from] TlsFailure),
    /// The certificate is valid, but names no identity of this trust domain.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// All handshake slots were in use, and another handshake took this one's.
    #[error("the handshake was evicted by another one")]
    Evicted,
    /// The address has the maximum number of connections.
    #[error("too many connections from one address")]
    Address,
    /// The connection waited in vain for its handshake: its address makes too many, or too many connections wait.
    #[error("too many handshakes: the connection waited in vain for its turn")]
    Throttled,
    /// All connection slots stayed in use.
    #[error("no connection slot became free in time")]
    NoSlot,
}

impl HandshakeFailure {
    /// All labels, so that counters begin at 0.
    pub fn reasons() -> impl Iterator<Item = &'static str> {
        ["timeout", "identity", "gave_way", "too_many_of_address", "throttled", "no_place"]
            .into_iter()
            .chain(TlsFailure::REASONS)
    }

    /// A label for counters: lower case, one of a fixed set.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Tls(failure) => failure.reason(),
            Self::Identity(IdentityError::Chain(_)) => "wrong_issuer",
            Self::Identity(_) => "identity",
            Self::Evicted => "gave_way",
            Self::Address => "too_many_of_address",
            Self::Throttled => "throttled",
            Self::NoSlot => "no_place",
        }
    }

    /// Whether the peer is the cause, rather than the network or this server.
    pub(crate) fn is_of_peer(&self) -> bool {
        match self {
            Self::Timeout | Self::Identity(_) => true,
            Self::Tls(failure) => !matches!(failure.reason(), "closed" | "no_revocation_list"),
            Self::Evicted | Self::Address | Self::Throttled | Self::NoSlot => false,
        }
    }
}

/// Why TLS refused a connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsFailure {
    /// The peer presented no certificate.
    #[error("the peer presented no certificate")]
    NoCertificate,
    /// The peer's certificate is on the revocation list.
    #[error("the peer's certificate is revoked")]
    Revoked,
    /// The peer's certificate has expired.
    #[error("the peer's certificate has expired")]
    Expired,
    /// The peer's certificate is not valid yet (or a clock is wrong).
    #[error("the peer's certificate is not valid yet; compare the clocks")]
    NotYetValid,
    /// No trust anchor of `ca.pem` issued the peer's certificate.
    #[error("the peer's certificate was not issued by a root in ca.pem")]
    UnknownIssuer,
    /// The issuer of the peer's certificate was not allowed to issue it.
    #[error(transparent)]
    WrongIssuer(ChainError),
    /// A revocation list is required, and none of a root is there and up to date: no peer is accepted.
    #[error(
        "there is no revocation list of a root that is up to date: renew crl.pem with `catchment-certs crl`"
    )]
    NoRevocationList,
    /// The peer's certificate is not for this use (a client certificate on a server, or vice versa).
    #[error("the peer's certificate is not meant for this direction (extended key usage)")]
    Purpose,
    /// The server's certificate does not name the requested host.
    #[error("the server's certificate does not name this host; issue it with --host")]
    HostName,
    /// The peer's certificate is refused for another reason.
    #[error("the peer's certificate is refused: {0}")]
    Certificate(String),
    /// The two sides share no application protocol (ALPN).
    #[error("the two sides share no application protocol (ALPN)")]
    Protocol,
    /// The peer refused this side with an alert.
    #[error("the peer refused: {0}")]
    Refused(String),
    /// The peer closed the connection, or the network failed.
    #[error("the connection ended during the handshake: {0}")]
    Closed(io::ErrorKind),
    /// The peer did not speak TLS, or no version that this side supports.
    #[error("TLS: {0}")]
    Other(String),
}

impl TlsFailure {
    /// All labels.
    pub const REASONS: [&str; 14] = [
        "no_certificate",
        "revoked",
        "expired",
        "not_yet_valid",
        "unknown_issuer",
        "wrong_issuer",
        "no_revocation_list",
        "purpose",
        "host_name",
        "bad_certificate",
        "protocol",
        "refused",
        "closed",
        "tls",
    ];

    /// A label for counters: lower case, one of a fixed set.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoCertificate => "no_certificate",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::UnknownIssuer => "unknown_issuer",
            Self::WrongIssuer(_) => "wrong_issuer",
            Self::NoRevocationList => "no_revocation_list",
            Self::Purpose => "purpose",
            Self::HostName => "host_name",
            Self::Certificate(_) => "bad_certificate",
            Self::Protocol => "protocol",
            Self::Refused(_) => "refused",
            Self::Closed(_) => "closed",
            Self::Other(_) => "tls",
        }
    }

    /// Whether the failure concerns certificates or protocols rather than a broken connection: retrying is useless
    /// until somebody changes them.
    pub fn is_lasting(&self) -> bool {
        !matches!(self, Self::Closed(_))
    }

    /// Extracts the failure from an error of a TLS stream, during the handshake or from a later read: in TLS 1.3 a
    /// client learns only there that its certificate was refused.
    pub fn from_io(error: &io::Error) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        inner.map_or_else(|| Self::Closed(error.kind()), Self::from_tls)
    }

    pub(crate) fn from_tls(error: &Error) -> Self {
        match error {
            Error::NoCertificatesPresented => Self::NoCertificate,
            Error::InvalidCertificate(error) => Self::from_certificate(error),
            Error::NoApplicationProtocol | Error::AlertReceived(AlertDescription::NoApplicationProtocol) => {
                Self::Protocol
            }
            Error::AlertReceived(alert) => Self::Refused(alert_text(*alert)),
            Error::InvalidMessage(what) => Self::Other(format!(
                "received something other than TLS ({what:?}): the port may not use TLS, like that of --http"
            )),
            other => Self::Other(other.to_string()),
        }
    }

    fn from_certificate(error: &CertificateError) -> Self {
        match error {
            CertificateError::Revoked => Self::Revoked,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
            // A new root with the same name fails by its signature, not by its name.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::UnknownIssuer,
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                Self::Purpose
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::HostName
            }
            CertificateError::Other(other) => Self::from_own(&*other.0),
            other => Self::Certificate(certificate_words(other)),
        }
    }

    /// From an error of this crate's verifiers, or of the TLS library's that has no name of its own.
    fn from_own(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Self {
        if let Some(error) = error.downcast_ref::<ChainError>() {
            Self::WrongIssuer(error.clone())
        } else if error.is::<NoRevocationList>() {
            Self::NoRevocationList
        } else if let Some(error) = error.downcast_ref::<webpki::Error>() {
            Self::Certificate(webpki_words(error).to_owned())
        } else {
            Self::Certificate(error.to_string())
        }
    }
}

/// Why an established connection failed, in one line for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct StreamFailure {
    /// The reason.
    pub reason: String,
    /// Retrying is useless until somebody changes certificates.
    pub is_lasting: bool,
    /// The system's kind of error.
    pub kind: io::ErrorKind,
}

impl StreamFailure {
    /// From an error of a TLS stream after its handshake. The library's own words address programmers.
    pub fn from_io(error: &io::Error) -> Self {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        let failure = TlsFailure::from_io(error);
        let reason = match failure {
            TlsFailure::Closed(UnexpectedEof) => {
                "the other side went away without closing the connection: it was killed, or the network failed"
                    .to_owned()
            }
            TlsFailure::Closed(ConnectionReset | ConnectionAborted | BrokenPipe) => {
                "the other side, or the network, cut the connection".to_owned()
            }
            TlsFailure::Closed(_) => format!("the connection failed: {error}"),
            ref failure => failure.to_string(),
        };
        Self { reason, is_lasting: failure.is_lasting(), kind: error.kind() }
    }
}

impl From<StreamFailure> for io::Error {
    fn from(failure: StreamFailure) -> Self {
        Self::new(failure.kind, failure)
    }
}

/// What is wrong with a certificate or its chain, in words.
pub(crate) fn certificate_words(error: &CertificateError) -> String {
    let words = match error {
        CertificateError::BadEncoding => "it cannot be read: its encoding is damaged",
        CertificateError::UnhandledCriticalExtension => {
            "it has a critical extension that TLS libraries do not know; issue it without"
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "it, or its issuer, is signed in a way that TLS does not take, such as with SHA-1; issue it again"
        }
        CertificateError::Other(other) => match other.0.downcast_ref::<webpki::Error>() {
            Some(error) => webpki_words(error),
            None => return other.0.to_string(),
        },
        _ => UNKNOWN_DEFECT,
    };
    words.to_owned()
}

/// For rules that no certificate breaks that was issued here.
const UNKNOWN_DEFECT: &str =
    "it breaks a rule of X.509 that the TLS library checks; see it with `catchment-certs inspect`";

fn webpki_words(error: &webpki::Error) -> &'static str {
    use webpki::Error;
    match error {
        Error::CaUsedAsEndEntity => {
            "it is the certificate of an authority (a root or a site's issuing certificate), and not one that was issued \
             for an identity"
        }
        Error::EndEntityUsedAsCa => {
            "the certificate above it is not an authority's, so it may issue nothing; put the leaf first and its issuing \
             certificate second"
        }
        Error::PathLenConstraintViolated => {
            "a root above it may have no issuing certificate below it (path length 0); make a new root with \
             `catchment-certs root prepare`"
        }
        Error::NameConstraintViolation => "an authority above it may not issue this name (name constraints)",
        Error::EmptyEkuExtension => "its extended key usage is empty, so it is for no use; issue it again",
        Error::UnsupportedCertVersion => "it is not of X.509 version 3; issue it again",
        Error::ExtensionValueInvalid | Error::MalformedExtensions => {
            "one of its extensions is malformed; issue it again"
        }
        Error::InvalidSerialNumber => "its serial number is malformed; issue it again",
        Error::SignatureAlgorithmMismatch => "its two signature algorithms differ; issue it again",
        Error::MaximumPathBuildCallsExceeded
        | Error::MaximumPathDepthExceeded
        | Error::MaximumSignatureChecksExceeded => {
            "its chain is too long; send the leaf and at most one issuing certificate"
        }
        _ => UNKNOWN_DEFECT,
    }
}

/// Why a private key cannot be used with the certificate beside it, in words.
pub(crate) fn key_words(error: &Error) -> &'static str {
    match error {
        Error::InconsistentKeys(_) => "it is not the key of this certificate",
        Error::InvalidCertificate(_) => "the certificate cannot be read",
        _ => {
            "it is of a kind that TLS does not take here: use ECDSA P-256 or P-384, Ed25519, or RSA of 2048 to 8192 bits"
        }
    }
}

/// Explains an alert of the peer about this side's certificate.
fn alert_text(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::CertificateRevoked => {
            "this side's certificate is revoked; have a new one issued".to_owned()
        }
        AlertDescription::CertificateExpired => {
            "this side's certificate has expired; renew it with `catchment-certs renew`".to_owned()
        }
        AlertDescription::CertificateRequired => "it requires a client certificate".to_owned(),
        AlertDescription::UnknownCA => "it does not know the root of this side's certificate".to_owned(),
        AlertDescription::BadCertificate | AlertDescription::CertificateUnknown => {
            format!("it does not accept this side's certificate ({alert:?}); its log says why")
        }
        other => format!("alert {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::OtherError;

    use super::*;

    #[test]
    fn no_word_of_the_library_reaches_a_person() {
        let of_webpki = |error: webpki::Error| CertificateError::Other(OtherError(Arc::new(error)));
        for error in [
            of_webpki(webpki::Error::CaUsedAsEndEntity),
            of_webpki(webpki::Error::EndEntityUsedAsCa),
            of_webpki(webpki::Error::PathLenConstraintViolated),
            of_webpki(webpki::Error::NameConstraintViolation),
            of_webpki(webpki::Error::EmptyEkuExtension),
            of_webpki(webpki::Error::UnsupportedCertVersion),
            of_webpki(webpki::Error::MalformedExtensions),
            of_webpki(webpki::Error::MaximumPathDepthExceeded),
            of_webpki(webpki::Error::MalformedDnsIdentifier),
            CertificateError::BadEncoding,
            CertificateError::UnhandledCriticalExtension,
            CertificateError::InvalidOcspResponse,
        ] {
            let text = TlsFailure::from_tls(&error.clone().into()).to_string();
            let raw = format!("{error:?}");
            let raw = raw.trim_start_matches("Other(OtherError(").trim_end_matches(')');
            assert!(text.contains("refused: ") && !text.contains(raw), "{text}");
        }
    }
}
