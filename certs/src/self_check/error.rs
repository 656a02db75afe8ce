//! Why peers would refuse an identity.

use std::{path::PathBuf, time::SystemTime};

/// Why peers would refuse an identity. Every message names the file and what to do.
#[derive(Debug, thiserror::Error)]
pub enum SelfCheckError {
    /// The certificate comes from none of the roots.
    #[error(
        "{} was not issued by a root in {}, so each of the two sides would refuse the other; put the ca.pem of the \
         authority that issued the certificate there, or issue the identity again",
        cert.display(), roots.display()
    )]
    NotIssued {
        /// The certificate's file.
        cert: PathBuf,
        /// The roots' file.
        roots: PathBuf,
    },
    /// The revocation lists say nothing of the certificate.
    #[error(
        "{} holds no revocation list that the issuer of {} has signed ({reason}), so every peer would be refused; put \
         the crl.pem of the same authority there, or remove the file",
        lists.display(), cert.display()
    )]
    NotListed {
        /// The lists' file.
        lists: PathBuf,
        /// The certificate's file.
        cert: PathBuf,
        /// What the TLS library said.
        reason: String,
    },
    /// The certificate is revoked.
    #[error("{} is revoked by {}, so every peer refuses it; issue the identity again", cert.display(), lists.display())]
    Revoked {
        /// The certificate's file.
        cert: PathBuf,
        /// The lists' file.
        lists: PathBuf,
    },
    /// The certificate, or one between it and the root, was valid until before now.
    #[error(
        "{} was valid until {}, so every peer refuses it; renew it with `catchment-certs renew`, or compare the clocks",
        cert.display(), humantime::format_rfc3339_seconds(*end)
    )]
    Expired {
        /// The certificate's file.
        cert: PathBuf,
        /// End of its validity.
        end: SystemTime,
    },
    /// The certificate is valid only from a later time on.
    #[error(
        "{} is valid only from {} on, so every peer refuses it; compare the clocks",
        cert.display(), humantime::format_rfc3339_seconds(*start)
    )]
    NotYetValid {
        /// The certificate's file.
        cert: PathBuf,
        /// Begin of its validity.
        start: SystemTime,
    },
    /// Peers would refuse the certificate for another reason.
    #[error("{} cannot be used: {reason}; issue the identity again", cert.display())]
    Refused {
        /// The certificate's file.
        cert: PathBuf,
        /// What the TLS library said.
        reason: String,
    },
}
