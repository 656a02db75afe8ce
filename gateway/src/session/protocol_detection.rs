//! The first bytes of a connection whose handshake agreed on no protocol: which one it speaks, or that it speaks none
//! that is spoken here.
//!
//! Pure: the session feeds it what has come. What it decides depends on the bytes alone, not on where reads cut them:
//! it waits for as many as it needs, which are bounded.
//!
//! - White space, line ends, NUL bytes and byte order marks (UTF-8) in front are passed over.
//! - A line that HTTP would take for a request is HTTP's, whatever its method, and never line protocol: as such it
//!   would be refused in silence, and its client would send its body again and again.
//! - Control characters among the first bytes are no text's.
//! - A text is line protocol unless its first line is known to be something else.

use memchr::memchr;

use super::{CloseReason, encode::Encoder, protocol::Protocol};
use crate::decode::line_protocol;

/// Bytes of white space in front of everything; beyond, nothing is waited for.
const PADDING_BYTES_MAX: usize = 4 << 10;
/// Bytes of a first line that are waited for.
const LINE_BYTES_MAX: usize = 4 << 10;
/// Longest method of HTTP that is looked for.
const METHOD_BYTES_MAX: usize = 64;
/// Bytes that tell LDAP from MQTT.
const LDAP_BYTES: usize = 4;
/// First bytes that must not be control characters.
const TEXT_BYTES: usize = 8;
/// A byte order mark of UTF-8.
const UTF8_BOM: &[u8] = b"\xef\xbb\xbf";
/// What is spoken here, for those who speak something else.
pub(super) const SPOKEN: &str = "devices speak MQTT 3.1.1 or 5, JSON lines, InfluxDB line protocol, or frames (ALPN catchment/1) here, \
                                 over TLS";

/// Methods of HTTP (and of WebDAV), for requests without a version.
const METHODS: [&str; 16] = [
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "PATCH",
    "CONNECT",
    "PRI",
    "PROPFIND",
    "PROPPATCH",
    "MKCOL",
    "COPY",
    "MOVE",
    "REPORT",
];
/// Beginnings that need no whole line.
const BEGINNINGS: [(&[u8], Foreign); 5] = [
    (b"HTTP/", Foreign::Http { body: true }),
    (b"SSH-", Foreign::Named("SSH")),
    (b"AMQP\0", Foreign::Named("AMQP")),
    (b"AMQP\x02", Foreign::Named("AMQP")),
    (b"AMQP\x03", Foreign::Named("AMQP")),
];
/// First words of a line without a field, in capitals.
const WORDS: [(&str, &str); 20] = [
    ("PING", "Redis or NATS"),
    ("INFO", "Redis or NATS"),
    ("AUTH", "Redis"),
    ("SELECT", "Redis"),
    ("QUIT", "no protocol for devices"),
    ("HELP", "no protocol for devices"),
    ("STATS", "memcached"),
    ("VERSION", "memcached"),
    ("EHLO", "SMTP"),
    ("HELO", "SMTP"),
    ("LHLO", "LMTP"),
    ("USER", "FTP or IRC"),
    ("NICK", "IRC"),
    ("CAP", "IRC"),
    ("CONNECT", "STOMP or NATS"),
    ("STOMP", "STOMP"),
    ("PROXY", "the PROXY protocol"),
    ("LOGIN", "IMAP"),
    ("ICY", "Icecast"),
    ("AT", MODEM),
];

const MODEM: &str = "commands of a modem: its own connection must speak here";

/// What the first bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detection {
    /// More bytes tell.
    More,
    /// One of ours.
    Speaks(Protocol),
    /// None of ours.
    Foreign(Foreign),
}

/// What is not spoken here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// HTTP. `body`: the answer may have one.
    Http {
        /// It may.
        body: bool,
    },
    /// A TLS handshake within TLS.
    Tls,
    /// Text in UTF-16 or UTF-32.
    Wide,
    /// RESP, of Redis.
    Resp,
    /// Another protocol that tells what it is.
    Named(&'static str),
    /// Bytes that begin no protocol that is spoken here.
    Unknown,
    /// Bytes that are not MQTT, although ALPN selected it.
    NotMqtt,
    /// Nothing but white space.
    Padding,
}

impl Foreign {
    /// Why the connection ends.
    pub const fn close_reason(self) -> CloseReason {
        match self {
            Self::Http { .. } => CloseReason::Http,
            Self::Wide => CloseReason::Encoding,
            _ => CloseReason::UnknownProtocol,
        }
    }

    /// The last bytes to the peer: in its own words where those are known.
    pub fn answer(self) -> Vec<u8> {
        let what = match self {
            Self::Http { body } => {
                let text = format!("This port does not speak HTTP: {SPOKEN}.\n");
                let head = format!(
                    "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
                     Connection: close\r\n\r\n",
                    text.len()
                );
                return if body { head + &text } else { head }.into_bytes();
            }
            Self::Resp => return format!("-ERR this port does not speak RESP: {SPOKEN}\r\n").into_bytes(),
            Self::Wide => "text is UTF-8 here, not UTF-16 or UTF-32".to_owned(),
            Self::Tls => "TLS within TLS".to_owned(),
            Self::Named(name) => format!("this looks like {name}"),
            Self::Unknown => "unknown protocol".to_owned(),
            Self::NotMqtt => "ALPN selected MQTT, but these bytes are not MQTT".to_owned(),
            Self::Padding => format!("more than {PADDING_BYTES_MAX} bytes of white space"),
        };
        // A line as JSON lines has it, which people can read too.
        let mut answer = Vec::new();
        Encoder::new(Protocol::Json).close_reason(
            self.close_reason().reason(),
            &format!("{what}: {SPOKEN}"),
            &mut answer,
        );
        answer
    }
}

/// Looks at the first bytes of one connection.
#[derive(Debug, Default)]
pub struct ProtocolDetector {
    /// Bytes passed over so far.
    padding: usize,
}

impl ProtocolDetector {
    /// Looks at what has come, without what was passed over before: how many bytes are to be passed over now, and what
    /// the rest is. `ended`: no more will come.
    pub fn inspect(&mut self, bytes: &[u8], ended: bool) -> (usize, Detection) {
        let padding = padding(bytes);
        self.padding += padding;
        let rest = bytes.get(padding..).unwrap_or_default();
        let is_cut = rest.len() < UTF8_BOM.len() && UTF8_BOM.starts_with(rest);
        let detection = match rest.first() {
            _ if self.padding > PADDING_BYTES_MAX => Detection::Foreign(Foreign::Padding),
            None => Detection::More,
            Some(_) if is_cut && !ended => Detection::More,
            Some(first) => begins(*first, rest, ended),
        };
        (padding, detection)
    }
}

/// Bytes in front that mean nothing.
fn padding(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(rest) = bytes.get(at..) {
        match rest.first() {
            Some(0 | b'\t'..=b'\r' | b' ') => at += 1,
            _ if rest.starts_with(UTF8_BOM) => at += UTF8_BOM.len(),
            _ => break,
        }
    }
    at
}

/// What bytes are of which the first means something.
fn begins(first: u8, bytes: &[u8], ended: bool) -> Detection {
    let rest = (bytes.get(1), bytes.get(2), bytes.get(3));
    match first {
        0x10 => Detection::Speaks(Protocol::Mqtt),
        0xfe | 0xff => match (first, rest.0) {
            (_, None) if !ended => Detection::More,
            (0xfe, Some(0xff)) | (0xff, Some(0xfe)) => Detection::Foreign(Foreign::Wide),
            _ => Detection::Foreign(Foreign::Unknown),
        },
        0x16 => Detection::Foreign(Foreign::Tls),
        // Begins no character of UTF-8, or is one that nothing begins with.
        0..=0x1f | 0x7f..=0xc1 | 0xf5..=0xff => Detection::Foreign(Foreign::Unknown),
        _ => match rest {
            (Some(0), Some(2..), Some(0)) => Detection::Foreign(Foreign::Wide),
            (Some(0), Some(_), Some(_)) => Detection::Foreign(Foreign::Unknown),
            (None, ..) | (Some(0), ..) if !ended => Detection::More,
            _ if matches!(first, b'{' | b'[') => Detection::Speaks(Protocol::Json),
            _ => text(bytes, ended),
        },
    }
}

/// What a text is whose first line may not be whole.
fn text(bytes: &[u8], ended: bool) -> Detection {
    let seen = bytes.get(..LINE_BYTES_MAX).unwrap_or(bytes);
    for (beginning, foreign) in BEGINNINGS {
        if seen.starts_with(beginning) {
            return Detection::Foreign(foreign);
        }
        if beginning.starts_with(seen) && !ended {
            return Detection::More;
        }
    }
    let end = memchr(b'\n', seen);
    let line = seen.get(..end.unwrap_or(seen.len())).unwrap_or_default();
    let is_cut = end.is_none() && !ended;
    if is_cut && line.len() < LDAP_BYTES {
        return Detection::More;
    }
    if let Some(foreign) = binary(line) {
        return Detection::Foreign(foreign);
    }
    if is_cut && line.len() < TEXT_BYTES {
        return Detection::More;
    }
    if line.starts_with(b"#") {
        // A comment, whatever it says.
        return Detection::Speaks(Protocol::LineProtocol);
    }
    // The line alone: what stands behind it may not have come yet, and must not decide.
    if is_request_at(line) {
        return Detection::Foreign(http(line));
    }
    if end.is_none() && bytes.len() >= LINE_BYTES_MAX {
        return Detection::Speaks(Protocol::LineProtocol);
    }
    // Whatever announces the end of the connection.
    if end.is_some() || ended { whole(line.trim_ascii()) } else { Detection::More }
}

/// The method and target of a request with a path or a URL, whatever stands behind them: HTTP/0.9 has no version. No
/// measurement has such a name and such a field.
fn is_request_at(seen: &[u8]) -> bool {
    let Some(at) = memchr(b' ', seen) else { return false };
    let (method, target) = seen.split_at_checked(at).unwrap_or((seen, &[]));
    let target = target.trim_ascii_start();
    METHODS.iter().any(|known| known.as_bytes() == method)
        && [&b"/"[..], b"http://", b"https://"].iter().any(|begin| target.starts_with(begin))
}

/// What a first line is that is no text.
fn binary(line: &[u8]) -> Option<Foreign> {
    let begin = line.get(..TEXT_BYTES).unwrap_or(line);
    // White space is text's, and a carriage return may end the line.
    let acts = |byte: &u8| matches!(byte, 0..=8 | 0xe..=0x1f | 0x7f);
    begin.iter().any(acts).then_some(match begin {
        [0x30, _, 2, 1, ..] => Foreign::Named("LDAP"),
        // PUBLISH, and the others whose first byte is a digit.
        [b'0'..=b'=', ..] => Foreign::Named("MQTT without CONNECT"),
        _ => Foreign::Unknown,
    })
}

fn http(line: &[u8]) -> Foreign {
    Foreign::Http { body: !line.starts_with(b"HEAD ") }
}

/// Whether a whole line that is no line protocol is meant as JSON: it ends like JSON, as one that lost its beginning
/// does (a device that begins to send in the middle of its buffer), or it is a value that is no object.
fn is_meant_as_json(line: &[u8]) -> bool {
    matches!(line.last(), Some(b'}' | b']'))
        || matches!(line, [b'"', .., b'"'])
        || [&b"null"[..], b"true", b"false"].contains(&line)
}

/// Whether a line begins as an extended command of a modem does.
fn is_command(line: &[u8]) -> bool {
    line.get(..3).is_some_and(|begin| begin.eq_ignore_ascii_case(b"AT+"))
}

/// What numbers are made of, and what stands between them.
fn is_of_a_number(byte: &u8) -> bool {
    byte.is_ascii_digit() || byte.is_ascii_whitespace() || b"+-.,;eE".contains(byte)
}

/// What a line is that is no line protocol, by more than its first word.
fn named(line: &[u8]) -> Option<&'static str> {
    let first = line.first()?;
    let json = line.iter().position(|byte| byte.is_ascii() && !byte.is_ascii_whitespace());
    let before_json = json.filter(|at| matches!(line.get(*at), Some(b'{' | b'[')));
    match first {
        b'$' | b'!' if line.get(1..6).is_some_and(|name| name.iter().all(u8::is_ascii_alphanumeric)) => {
            Some("NMEA 0183")
        }
        _ if is_command(line) => Some(MODEM),
        first if !first.is_ascii() && before_json.is_some() => {
            Some("JSON after characters that are not JSON white space")
        }
        _ if line.iter().any(u8::is_ascii_digit) && line.iter().all(is_of_a_number) => {
            Some("numbers without the names of what they measure")
        }
        _ => None,
    }
}

/// What methods of HTTP are made of.
fn is_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

/// What a whole first line is.
fn whole(line: &[u8]) -> Detection {
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let first = words.next().unwrap_or_default();
    let last = words.next_back().unwrap_or_default();
    if first.len() <= METHOD_BYTES_MAX && first.iter().all(is_token) {
        if is_version(last, b"HTTP/") {
            return Detection::Foreign(http(line));
        }
        for (name, prefix) in [("RTSP", &b"RTSP/"[..]), ("SIP", b"SIP/"), ("ICAP", b"ICAP/")] {
            if is_version(last, prefix) {
                return Detection::Foreign(Foreign::Named(name));
            }
        }
    }
    if line_protocol::is_line(line) {
        return Detection::Speaks(Protocol::LineProtocol);
    }
    if let Some(name) = named(line) {
        return Detection::Foreign(Foreign::Named(name));
    }
    match first.split_first() {
        _ if first.len() > METHOD_BYTES_MAX => return Detection::Speaks(Protocol::LineProtocol),
        Some((b'*', digits)) if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => {
            return Detection::Foreign(Foreign::Resp);
        }
        Some((b'<', _)) => return Detection::Foreign(Foreign::Named("XML, HTML or syslog")),
        _ => {}
    }
    let word = WORDS.iter().find(|(word, _)| word.as_bytes().eq_ignore_ascii_case(first));
    // The line itself is refused in either case; those behind it tell which it was.
    let text = if is_meant_as_json(line) { Protocol::Json } else { Protocol::LineProtocol };
    word.map_or(Detection::Speaks(text), |(_, name)| Detection::Foreign(Foreign::Named(name)))
}

/// `HTTP/1.1` and the like, in any mix of cases.
fn is_version(word: &[u8], prefix: &[u8]) -> bool {
    let Some((front, number)) = word.split_at_checked(prefix.len()) else { return false };
    front.eq_ignore_ascii_case(prefix)
        && number.first().is_some_and(u8::is_ascii_digit)
        && number.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
}

#[cfg(test)]
mod tests;
