//! Roles, trust domains and identities, and the URI that represents them in a certificate.
//!
//! The URIs follow SPIFFE (<https://spiffe.io>), so other tools can read them:
//! `spiffe://DOMAIN/site/SITE/device/NAME`, `…/site/SITE/gateway/NAME`, `…/aggregator/NAME`, `…/operator/NAME`.
//! Parsing is strict and the inverse of formatting: one identity has exactly one URI.

use std::{fmt, str::FromStr, sync::Arc};

use catchment_proto::id::{AggregatorId, DeviceId, GatewayId, Name, NameError, OperatorId};

use crate::{chain::ChainError, serial::SerialError};

/// The role of a certificate's holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Sends readings to a gateway of its site.
    Device,
    /// Receives readings from its site's devices and delivers partials to an aggregator.
    Gateway,
    /// Receives partials from gateways and answers operators' queries.
    Aggregator,
    /// Queries an aggregator.
    Operator,
}

/// A text that is not a role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown role {0:?}: use device, gateway, aggregator or operator")]
pub struct RoleError(String);

impl Role {
    /// All roles.
    pub const ALL: [Self; 4] = [Self::Device, Self::Gateway, Self::Aggregator, Self::Operator];

    /// The role in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Gateway => "gateway",
            Self::Aggregator => "aggregator",
            Self::Operator => "operator",
        }
    }

    /// The role with its article: `a device`, `an operator`.
    pub fn with_article(self) -> String {
        let article = if matches!(self, Self::Aggregator | Self::Operator) { "an" } else { "a" };
        format!("{article} {self}")
    }

    /// Whether holders of the role belong to a site.
    pub fn has_site(self) -> bool {
        matches!(self, Self::Device | Self::Gateway)
    }

    /// Whether the role accepts connections, and so needs host names in its certificates.
    pub fn is_server(self) -> bool {
        matches!(self, Self::Gateway | Self::Aggregator)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or_else(|| RoleError(text.to_owned()))
    }
}

/// The name of a trust root's domain: 1 to 255 characters of `a-z 0-9 . _ -` (SPIFFE-ID, 2.1), the first a
/// letter or digit.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(Arc<str>);

/// A text that is not a valid [`TrustDomain`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a trust domain: use 1 to 255 characters of a-z, 0-9, '.', '_', '-', the first a letter or digit"
)]
pub struct TrustDomainError(String);

impl TrustDomain {
    /// Maximum length in characters, all of them ASCII.
    pub const LENGTH_MAX: usize = 255;

    /// Checks a text and makes it a trust domain.
    ///
    /// # Errors
    /// The text violates the rule of the type.
    pub fn new(text: &str) -> Result<Self, TrustDomainError> {
        let starts_well = text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        let holds = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-');
        if !starts_well || text.len() > Self::LENGTH_MAX || !text.chars().all(holds) {
            return Err(TrustDomainError(text.chars().take(Self::LENGTH_MAX).collect()));
        }
        Ok(Self(text.into()))
    }

    /// The trust domain as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `spiffe://DOMAIN`, the URI in the root's own certificate.
    pub fn uri(&self) -> String {
        format!("{SCHEME}{self}")
    }

    /// Parses the URI of [`Self::uri`].
    ///
    /// # Errors
    /// Another scheme, a path, or an invalid trust domain.
    pub fn from_uri(uri: &str) -> Result<Self, IdentityError> {
        let domain = uri.strip_prefix(SCHEME).ok_or_else(|| IdentityError::Scheme(truncated(uri)))?;
        Ok(Self::new(domain)?)
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl FromStr for TrustDomain {
    type Err = TrustDomainError;

    fn from_str(text: &str) -> Result<Self, TrustDomainError> {
        Self::new(text)
    }
}

/// The identity of a certificate's holder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identity {
    /// A device of a site.
    Device(DeviceId),
    /// A gateway of a site.
    Gateway(GatewayId),
    /// An aggregator.
    Aggregator(AggregatorId),
    /// A person or program that queries.
    Operator(OperatorId),
}

/// Why a certificate or a URI names no identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The bytes are not an X.509 certificate, or one of its extensions is malformed.
    #[error("the certificate cannot be read: {0}")]
    Certificate(String),
    /// The certificate's serial number is zero or too long.
    #[error("the certificate's serial number: {0}")]
    Serial(#[from] SerialError),
    /// There is no URI among the subject alternative names.
    #[error("the certificate has no URI subject alternative name, so it names no identity of Catchment")]
    NoUri,
    /// There are several URIs among the subject alternative names; holds their number.
    #[error("the certificate has {0} URI subject alternative names, but exactly one is allowed")]
    ManyUris(usize),
    /// The URI is not a `spiffe://` one.
    #[error("{0:?} is not a spiffe:// URI")]
    Scheme(String),
    /// The URI's trust domain is invalid.
    #[error(transparent)]
    TrustDomain(#[from] TrustDomainError),
    /// The URI's path has none of the four forms.
    #[error(
        "the path of {0:?} is none of /site/SITE/device/NAME, /site/SITE/gateway/NAME, /aggregator/NAME, /operator/NAME"
    )]
    Path(String),
    /// The URI is not that of a site.
    #[error("{0:?} is not of the form spiffe://DOMAIN/site/SITE")]
    SitePath(String),
    /// A site or name in the URI violates the rule for names.
    #[error("in {uri:?}: {error}")]
    Name {
        /// The URI.
        uri: String,
        /// The violated rule.
        error: NameError,
    },
    /// The leaf's issuer was not allowed to issue it.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The certificate comes from the right root, but names another trust domain.
    #[error("the certificate belongs to trust domain {found}, not to {expected}")]
    OtherTrustDomain {
        /// This side's trust domain.
        expected: TrustDomain,
        /// The certificate's.
        found: TrustDomain,
    },
}

/// Scheme of every identity's URI.
pub(crate) const SCHEME: &str = "spiffe://";

impl Identity {
    /// The identity's role.
    pub fn role(&self) -> Role {
        match self {
            Self::Device(_) => Role::Device,
            Self::Gateway(_) => Role::Gateway,
            Self::Aggregator(_) => Role::Aggregator,
            Self::Operator(_) => Role::Operator,
        }
    }

    /// The site, for the roles that have one.
    pub fn site(&self) -> Option<&Name> {
        match self {
            Self::Device(id) => Some(&id.site),
            Self::Gateway(id) => Some(&id.site),
            Self::Aggregator(_) | Self::Operator(_) => None,
        }
    }

    /// The name within role and site.
    pub fn name(&self) -> &Name {
        match self {
            Self::Device(id) => &id.name,
            Self::Gateway(id) => &id.name,
            Self::Aggregator(id) => &id.name,
            Self::Operator(id) => &id.name,
        }
    }

    /// Makes an identity from its parts; `None` if the site is missing for a role with sites, or given for a role
    /// without.
    pub fn from_parts(role: Role, site: Option<Name>, name: Name) -> Option<Self> {
        match (role, site) {
            (Role::Device, Some(site)) => Some(Self::Device(DeviceId { site, name })),
            (Role::Gateway, Some(site)) => Some(Self::Gateway(GatewayId { site, name })),
            (Role::Aggregator, None) => Some(Self::Aggregator(AggregatorId { name })),
            (Role::Operator, None) => Some(Self::Operator(OperatorId { name })),
            _ => None,
        }
    }

    /// The URI of the identity in a certificate.
    pub fn uri(&self, domain: &TrustDomain) -> String {
        let (role, name) = (self.role(), self.name());
        match self.site() {
            Some(site) => format!("{SCHEME}{domain}/site/{site}/{role}/{name}"),
            None => format!("{SCHEME}{domain}/{role}/{name}"),
        }
    }

    /// Parses the output of [`Self::uri`], and nothing else.
    ///
    /// # Errors
    /// The first invalid part of the URI.
    pub fn from_uri(uri: &str) -> Result<(TrustDomain, Self), IdentityError> {
        let rest = uri.strip_prefix(SCHEME).ok_or_else(|| IdentityError::Scheme(truncated(uri)))?;
        let (domain, path) = rest.split_once('/').ok_or_else(|| IdentityError::Path(truncated(uri)))?;
        let domain = TrustDomain::new(domain)?;
        let name =
            |text: &str| Name::new(text).map_err(|error| IdentityError::Name { uri: truncated(uri), error });
        let mut parts = path.split('/');
        let parts = [parts.next(), parts.next(), parts.next(), parts.next(), parts.next()];
        let identity = match parts {
            [Some("site"), Some(site), Some("device"), Some(device), None] => {
                Self::Device(DeviceId { site: name(site)?, name: name(device)? })
            }
            [Some("site"), Some(site), Some("gateway"), Some(gateway), None] => {
                Self::Gateway(GatewayId { site: name(site)?, name: name(gateway)? })
            }
            [Some("aggregator"), Some(aggregator), None, None, None] => {
                Self::Aggregator(AggregatorId { name: name(aggregator)? })
            }
            [Some("operator"), Some(operator), None, None, None] => {
                Self::Operator(OperatorId { name: name(operator)? })
            }
            _ => return Err(IdentityError::Path(truncated(uri))),
        };
        Ok((domain, identity))
    }
}

/// Parses the URI of a site's issuing certificate, `spiffe://DOMAIN/site/SITE`.
///
/// # Errors
/// The first invalid part of the URI.
pub(crate) fn site_from_uri(uri: &str) -> Result<(TrustDomain, Name), IdentityError> {
    let rest = uri.strip_prefix(SCHEME).ok_or_else(|| IdentityError::Scheme(truncated(uri)))?;
    let (domain, site) = rest.split_once("/site/").ok_or_else(|| IdentityError::SitePath(truncated(uri)))?;
    let domain = TrustDomain::new(domain)?;
    let site = Name::new(site).map_err(|error| IdentityError::Name { uri: truncated(uri), error })?;
    Ok((domain, site))
}

/// Displayed as `device berlin/press-17` or `operator ada`.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.site() {
            Some(site) => write!(f, "{} {site}/{}", self.role(), self.name()),
            None => write!(f, "{} {}", self.role(), self.name()),
        }
    }
}

/// Cuts a text from outside to 200 characters, for messages.
fn truncated(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests;
