//! What a peer can do beyond the first version: names that gateway and aggregator exchange when a stream begins.

/// Most names of a peer that are read.
const NAMES_MAX: usize = 64;

/// A set of capabilities that this version knows.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Capabilities(u32);

/// All that this version knows, by their names on the wire. A name has at most 64 bytes.
const NAMES: [(&str, Capabilities); 4] = [
    ("partial-2", Capabilities::PARTIAL_2),
    ("raw-1", Capabilities::RAW_1),
    ("revocations-1", Capabilities::REVOCATIONS_1),
    ("certificates-1", Capabilities::CERTIFICATES_1),
];

impl Capabilities {
    /// A peer of the first version.
    pub const NONE: Self = Self(0);
    /// It reads partials of encoding version 2, with optional parts and states.
    pub const PARTIAL_2: Self = Self(1);
    /// A gateway: it answers queries for raw readings. An aggregator: it asks them.
    pub const RAW_1: Self = Self(2);
    /// A gateway: it takes revocation lists. An aggregator: it sends them, and takes what the gateway holds.
    pub const REVOCATIONS_1: Self = Self(4);
    /// An aggregator: it takes the ends of devices' certificates.
    pub const CERTIFICATES_1: Self = Self(8);
    /// What this version can do.
    pub const OURS: Self =
        Self(Self::PARTIAL_2.0 | Self::RAW_1.0 | Self::REVOCATIONS_1.0 | Self::CERTIFICATES_1.0);

    /// Reads what a peer announces. Names that this version does not know are ignored.
    pub fn read(names: &[String]) -> Self {
        let known = |name: &String| NAMES.iter().find(|(known, _)| known == name).map(|(_, one)| one.0);
        Self(names.iter().take(NAMES_MAX).filter_map(known).fold(0, |all, one| all | one))
    }

    /// Their names on the wire.
    pub fn names(self) -> Vec<String> {
        let here = NAMES.iter().filter(|(_, one)| self.contains(*one));
        here.map(|(name, _)| (*name).to_owned()).collect()
    }

    /// Whether all of the other set are in this one.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_of_this_version_has_all_and_an_older_one_none() {
        let ours = Capabilities::read(&Capabilities::OURS.names());
        assert!(NAMES.iter().all(|(_, one)| ours.contains(*one)));
        assert_eq!(Capabilities::NONE.names(), [""; 0]);
        assert_eq!(Capabilities::read(&[]), Capabilities::NONE);
        assert!(!Capabilities::NONE.contains(Capabilities::PARTIAL_2));
    }

    #[test]
    fn unknown_names_are_ignored_and_their_number_is_bounded() {
        let strange = |count| vec!["partial-3".to_owned(); count];
        let partial_2 = vec!["partial-2".to_owned()];
        let near = [strange(NAMES_MAX - 1), partial_2.clone()].concat();
        assert_eq!(Capabilities::read(&near), Capabilities::PARTIAL_2);
        let far = [strange(NAMES_MAX), partial_2].concat();
        assert_eq!(Capabilities::read(&far), Capabilities::NONE);
        assert_eq!(Capabilities::read(&["PARTIAL-2".to_owned(), String::new()]), Capabilities::NONE);
    }
}
