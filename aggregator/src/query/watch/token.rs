//! Where a subscription continues: opaque to clients, checked when it comes back.
//!
//! 45 bytes: version, run of the aggregator, place in its change log, start of the points, start of open windows, hash of
//! the query, and a checksum; little-endian.

/// Version of the encoding.
const VERSION: u8 = 1;
/// Length, with the checksum.
const BYTES: usize = 45;

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    #[error(
        "resume: this is not a token of a watch, or it is damaged: send the last token as it was received"
    )]
    Malformed,
    #[error("resume: this token belongs to another query: only from may differ")]
    Query,
}

/// How far a subscription was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// The run of the aggregator whose change log is meant.
    pub(super) run: u64,
    /// Everything before this change was sent.
    pub(super) cursor: u64,
    /// Points start at or after this time, Unix milliseconds.
    pub(super) from_ms: i64,
    /// Windows before this time were closed, Unix milliseconds.
    pub(super) open_from_ms: i64,
    /// Hash of the query.
    pub(super) query: u64,
}

impl Token {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.push(VERSION);
        bytes.extend(self.run.to_le_bytes());
        bytes.extend(self.cursor.to_le_bytes());
        bytes.extend(self.from_ms.to_le_bytes());
        bytes.extend(self.open_from_ms.to_le_bytes());
        bytes.extend(self.query.to_le_bytes());
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    /// Reads a token of a query with this hash.
    ///
    /// # Errors
    /// It is none, or of another query.
    pub(super) fn decode(bytes: &[u8], query: u64) -> Result<Self, TokenError> {
        let (body, checksum) = bytes.split_last_chunk::<4>().ok_or(TokenError::Malformed)?;
        if bytes.len() != BYTES || crc32c::crc32c(body) != u32::from_le_bytes(*checksum) {
            return Err(TokenError::Malformed);
        }
        let (version, mut rest) = body.split_first().ok_or(TokenError::Malformed)?;
        if *version != VERSION {
            return Err(TokenError::Malformed);
        }
        let mut next = || -> Result<[u8; 8], TokenError> {
            let (first, left) = rest.split_first_chunk::<8>().ok_or(TokenError::Malformed)?;
            rest = left;
            Ok(*first)
        };
        let token = Self {
            run: u64::from_le_bytes(next()?),
            cursor: u64::from_le_bytes(next()?),
            from_ms: i64::from_le_bytes(next()?),
            open_from_ms: i64::from_le_bytes(next()?),
            query: u64::from_le_bytes(next()?),
        };
        if token.query == query { Ok(token) } else { Err(TokenError::Query) }
    }
}

/// Hash of the bytes of a query (FNV-1a): the same in every version and on every machine.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TOKEN: Token = Token { run: 7, cursor: 8, from_ms: -9, open_from_ms: i64::MAX, query: 11 };

    #[test]
    fn a_token_comes_back_and_a_changed_one_does_not() {
        let bytes = TOKEN.encode();
        assert_eq!(Token::decode(&bytes, 11), Ok(TOKEN));
        assert_eq!(Token::decode(&bytes, 12), Err(TokenError::Query));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(Token::decode(&changed, 11), Err(TokenError::Malformed));
            assert_eq!(Token::decode(&bytes[..at], 11), Err(TokenError::Malformed));
        }
        let mut newer = bytes[..BYTES - 4].to_vec();
        newer[0] = VERSION + 1;
        newer.extend(crc32c::crc32c(&newer).to_le_bytes());
        assert_eq!(Token::decode(&newer, 11), Err(TokenError::Malformed));
    }

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(hash(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash(b"foobar"), 0x8594_4171_f739_67e8);
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Token::decode(&bytes, 0);
        }
    }
}
