//! Why a session is ended from outside.

/// Why a session was ended from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// Its certificate, or that of its issuer, is revoked.
    Revoked,
    /// Its certificate, or that of its issuer, has expired.
    Expired,
    /// Its root is no longer among the trust anchors.
    Untrusted,
    /// It has reached the maximum age of a connection.
    MaxAge,
    /// Another session of the same identity took its place.
    TakenOver,
}

impl EndReason {
    /// All reasons, so that counters begin at 0.
    pub const ALL: [Self; 5] = [Self::Revoked, Self::Expired, Self::Untrusted, Self::MaxAge, Self::TakenOver];

    /// A label for counters and logs, and the code that peers see.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::Untrusted => "untrusted",
            Self::MaxAge => "connection_age",
            Self::TakenOver => "taken_over",
        }
    }

    /// The reason in words for the peer, with what to do.
    pub const fn message(self) -> &'static str {
        match self {
            Self::Revoked => {
                "this certificate, or that of its issuer, is revoked: the connection ends; have a new one issued"
            }
            Self::Expired => {
                "this certificate, or that of its issuer, has expired: the connection ends; renew it and connect again"
            }
            Self::Untrusted => {
                "the root of this certificate is no longer trusted here: the connection ends; have a new one issued"
            }
            Self::MaxAge => "this connection has reached its maximum age (connection_age_max): connect again",
            Self::TakenOver => "a newer connection of the same identity took its place",
        }
    }

    /// Whether the peer would be refused if it came again: nothing more of it is taken or answered.
    pub const fn distrusts(self) -> bool {
        matches!(self, Self::Revoked | Self::Expired | Self::Untrusted)
    }

    /// Position in [`Self::ALL`].
    pub(super) const fn index(self) -> usize {
        self as usize
    }
}
