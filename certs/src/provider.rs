//! The one place that names a cryptography provider.
//!
//! Every builder in this crate gets the provider from here (`builder_with_provider`), so no process-wide default is
//! needed, and a default installed by another crate has no effect. If both features are enabled, `aws-lc-rs` is used.

use std::sync::{Arc, OnceLock};

use rustls::crypto::{
    CryptoProvider,
    hash::{Hash, HashAlgorithm},
};

#[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
compile_error!("catchment-certs needs the feature `aws-lc-rs` (default) or `ring`");

/// The provider of this build, created once.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(default_provider())))
}

#[cfg(feature = "aws-lc-rs")]
fn default_provider() -> CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}

#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
fn default_provider() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}

/// SHA-256 from the provider's cipher suites. `None` if it has no suite with that hash.
pub(crate) fn sha256_hash() -> Option<&'static dyn Hash> {
    let provider = provider();
    let mut hashes = provider
        .cipher_suites
        .iter()
        .filter_map(|suite| suite.tls13())
        .map(|suite| suite.common.hash_provider);
    hashes.find(|hash| hash.algorithm() == HashAlgorithm::SHA256)
}

/// The SHA-256 digest of `data`; `None` as for [`sha256_hash`].
pub(crate) fn sha256(data: &[u8]) -> Option<Vec<u8>> {
    Some(sha256_hash()?.hash(data).as_ref().to_vec())
}
