//! Roles, trust domains and identities, and the URI that writes them down in a certificate.
//!
//! The forms are those of SPIFFE (<https://spiffe.io>), so other tools can read them:
//! `spiffe://DOMAIN/site/SITE/device/NAME`, `…/site/SITE/gateway/NAME`, `…/aggregator/NAME`, `…/operator/NAME`.
//! Reading is strict and the inverse of writing: one identity has exactly one URI.

use std::{fmt, str::FromStr, sync::Arc};

use catchment_proto::id::{AggregatorId, DeviceId, GatewayId, Name, NameError, OperatorId};

use crate::serial::SerialError;

/// What the holder of a certificate may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Sends readings to a gateway of its site.
    Device,
    /// Takes readings of its site's devices and delivers partials to an aggregator.
    Gateway,
    /// Takes partials of gateways and answers operators.
    Aggregator,
    /// Asks an aggregator.
    Operator,
}

/// Why a text names no role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no role is called {0:?}: use device, gateway, aggregator or operator")]
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

    /// Whether holders of the role are connected to, and so need host names in their certificate.
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

/// The name of one trust root's realm: 1 to 255 characters of `a-z 0-9 . _ -` (SPIFFE-ID, 2.1), the first a
/// letter or digit.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(Arc<str>);

/// Why a text is no [`TrustDomain`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no trust domain: 1 to 255 characters of a-z, 0-9, '.', '_', '-', the first a letter or digit"
)]
pub struct TrustDomainError(String);

impl TrustDomain {
    /// Longest trust domain in characters, all of them ASCII.
    pub const LENGTH_MAX: usize = 255;

    /// Checks a text and takes it as a trust domain.
    ///
    /// # Errors
    /// A text that breaks the rule of the type.
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

    /// `spiffe://DOMAIN`, which stands in the root's own certificate.
    pub fn uri(&self) -> String {
        format!("{SCHEME}{self}")
    }

    /// Reads the URI of [`Self::uri`].
    ///
    /// # Errors
    /// Another scheme, a path, or a trust domain that breaks its rule.
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

/// Who the holder of a certificate is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identity {
    /// A device of a site.
    Device(DeviceId),
    /// A gateway of a site.
    Gateway(GatewayId),
    /// An aggregator.
    Aggregator(AggregatorId),
    /// A person or program that asks.
    Operator(OperatorId),
}

/// Why a certificate or a URI names no identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The bytes are no X.509 certificate, or one of its extensions is malformed.
    #[error("the certificate cannot be read: {0}")]
    Certificate(String),
    /// The certificate's serial number is zero or too long.
    #[error("the certificate's serial number: {0}")]
    Serial(#[from] SerialError),
    /// There is no URI among the subject alternative names.
    #[error("the certificate has no URI subject alternative name, so it names no identity of Catchment")]
    NoUri,
    /// There are several URIs among the subject alternative names; holds their number.
    #[error("the certificate has {0} URI subject alternative names where exactly one is allowed")]
    ManyUris(usize),
    /// The URI is not a `spiffe://` one.
    #[error("{0:?} is no spiffe:// URI")]
    Scheme(String),
    /// The URI's trust domain breaks its rule.
    #[error(transparent)]
    TrustDomain(#[from] TrustDomainError),
    /// The URI's path is none of the four forms.
    #[error(
        "the path of {0:?} is none of /site/SITE/device/NAME, /site/SITE/gateway/NAME, /aggregator/NAME, /operator/NAME"
    )]
    Path(String),
    /// A site or name in the URI breaks the rule for names.
    #[error("in {uri:?}: {error}")]
    Name {
        /// The URI.
        uri: String,
        /// The rule that is broken.
        error: NameError,
    },
    /// The certificate comes from the right root, yet names another trust domain.
    #[error("the certificate is of trust domain {found}, not of {expected}")]
    OtherTrustDomain {
        /// This side's trust domain.
        expected: TrustDomain,
        /// The certificate's.
        found: TrustDomain,
    },
}

const SCHEME: &str = "spiffe://";

impl Identity {
    /// The role that the identity has.
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

    /// Puts an identity together; `None` when the site is missing for a role that has one, or given for a
    /// role that has none.
    pub fn from_parts(role: Role, site: Option<Name>, name: Name) -> Option<Self> {
        match (role, site) {
            (Role::Device, Some(site)) => Some(Self::Device(DeviceId { site, name })),
            (Role::Gateway, Some(site)) => Some(Self::Gateway(GatewayId { site, name })),
            (Role::Aggregator, None) => Some(Self::Aggregator(AggregatorId { name })),
            (Role::Operator, None) => Some(Self::Operator(OperatorId { name })),
            _ => None,
        }
    }

    /// The URI that stands for the identity in a certificate.
    pub fn uri(&self, domain: &TrustDomain) -> String {
        let (role, name) = (self.role(), self.name());
        match self.site() {
            Some(site) => format!("{SCHEME}{domain}/site/{site}/{role}/{name}"),
            None => format!("{SCHEME}{domain}/{role}/{name}"),
        }
    }

    /// Reads what [`Self::uri`] writes, and nothing else.
    ///
    /// # Errors
    /// The first part of the URI that breaks its rule.
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

/// Shown as `device berlin/press-17` or `operator ada`.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.site() {
            Some(site) => write!(f, "{} {site}/{}", self.role(), self.name()),
            None => write!(f, "{} {}", self.role(), self.name()),
        }
    }
}

/// At most 200 characters of a text from outside, for messages.
fn truncated(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests;
