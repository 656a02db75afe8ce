//! Why peers would refuse an identity.

use std::{path::PathBuf, time::SystemTime};

/// Why peers would refuse an identity. Every message names the file and what to do.
#[derive(Debug, thiserror::Error)]
pub enum SelfCheckError {
    /// None of the roots issued the certificate.
    #[error(
        "{} was not issued by a root in {}, so both sides would refuse each other; put the ca.pem of the \
         authority that issued the certificate there, or issue the identity again",
        cert.display(), roots.display()
    )]
    NotIssued {
        /// The certificate's file.
        cert: PathBuf,
        /// The roots' file.
        roots: PathBuf,
    },
    /// The root that issued the certificate does not count now.
    #[error(
        "{reason}, so every peer refuses {}, which it issued; put a root that is valid into {} and have the certificate \
         issued by it (see `catchment-certs root --help`), or compare the clocks",
        cert.display(), roots.display()
    )]
    Root {
        /// The certificate's file.
        cert: PathBuf,
        /// The roots' file.
        roots: PathBuf,
        /// Which root, and since when.
        reason: String,
    },
    /// No revocation list comes from a known root.
    #[error(
        "no revocation list in {} counts: {reason}; put the crl.pem of the same authority there, or remove the file",
        lists.display()
    )]
    NotListed {
        /// The lists' file.
        lists: PathBuf,
        /// What is wrong with the first list.
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
    /// The certificate has expired.
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
    /// The certificate is not yet valid.
    #[error(
        "{} is not valid before {}, so every peer refuses it; compare the clocks",
        cert.display(), humantime::format_rfc3339_seconds(*start)
    )]
    NotYetValid {
        /// The certificate's file.
        cert: PathBuf,
        /// Start of its validity.
        start: SystemTime,
    },
    /// Peers would refuse the certificate for another reason.
    #[error("{} cannot be used: {reason}; issue the identity again", cert.display())]
    Refused {
        /// The certificate's file.
        cert: PathBuf,
        /// The TLS library's reason.
        reason: String,
    },
}
