//! Files with PEM blocks as people hand them over: with a byte order mark, in UTF-16, in DER, or with another thing
//! inside than was asked for.
//!
//! The PEM parsers skip what they do not know, so all of these look to them like an empty file. This module looks at
//! the bytes again, only to say what is there and what to do.

/// What a file should hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// A certificate.
    Certificate,
    /// A private key that is not encrypted.
    Key,
    /// A signing request.
    Request,
    /// A revocation list.
    List,
}

impl Wanted {
    /// Whether a PEM block with this label is wanted.
    fn takes(self, label: &str) -> bool {
        match self {
            Self::Certificate => matches!(label, "CERTIFICATE"),
            Self::Key => matches!(label, "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY"),
            Self::Request => is_request(label),
            Self::List => matches!(label, "X509 CRL"),
        }
    }

    /// The command of openssl that converts it.
    fn openssl(self) -> &'static str {
        match self {
            Self::Certificate => "x509",
            Self::Key => "pkey",
            Self::Request => "req",
            Self::List => "crl",
        }
    }
}

/// Most characters of an unknown label that a message repeats.
const LABEL_SHOWN_MAX: usize = 40;

/// Whether a PEM block with this label is a signing request.
pub(crate) fn is_request(label: &str) -> bool {
    matches!(label, "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST")
}

/// The content without the byte order mark of UTF-8 that some editors put before the first line.
pub(crate) fn without_mark(content: &[u8]) -> &[u8] {
    content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content)
}

/// What is in `content` in place of what was wanted, and what to do. `None` if a wanted block is there, and the
/// problem another one.
pub(crate) fn found_instead(content: &[u8], wanted: Wanted) -> Option<String> {
    let content = without_mark(content);
    if content.trim_ascii().is_empty() {
        return Some("it is empty".to_owned());
    }
    if content.starts_with(b"\xff\xfe") || content.starts_with(b"\xfe\xff") {
        return Some(
            "it is text in UTF-16; save it as ASCII or UTF-8 (PowerShell: `Out-File -Encoding ascii`)"
                .to_owned(),
        );
    }
    let labels: Vec<String> = labels(content).collect();
    if labels.iter().any(|label| wanted.takes(label)) {
        let encrypted = wanted == Wanted::Key && contains(content, b"Proc-Type: 4,ENCRYPTED");
        return encrypted.then(|| words("ENCRYPTED PRIVATE KEY"));
    }
    match labels.first() {
        Some(label) => Some(words(label)),
        None if is_pkcs12(content) => Some(
            "it is a PKCS#12 file; take it apart with `openssl pkcs12 -in FILE -nodes -out FILE.pem`"
                .to_owned(),
        ),
        None if is_der(content) => Some(format!(
            "it is DER, and PEM is needed; convert it with `openssl {} -inform DER -in FILE -out FILE.pem`",
            wanted.openssl()
        )),
        None => Some("it has no PEM block (`-----BEGIN …-----`)".to_owned()),
    }
}

/// The labels of all lines that begin a PEM block.
fn labels(content: &[u8]) -> impl Iterator<Item = String> {
    content.split(|byte| matches!(byte, b'\n' | b'\r')).filter_map(|line| {
        let label = line.trim_ascii().strip_prefix(b"-----BEGIN ")?.strip_suffix(b"-----")?;
        Some(String::from_utf8_lossy(label).chars().take(LABEL_SHOWN_MAX).collect())
    })
}

/// What a PEM block with this label is, and what to do if it is not wanted.
fn words(label: &str) -> String {
    match label {
        "CERTIFICATE" => "it holds a certificate".to_owned(),
        "X509 CRL" => "it holds a revocation list".to_owned(),
        "ENCRYPTED PRIVATE KEY" => {
            "it holds an encrypted private key; decrypt it with `openssl pkey -in FILE -out key.pem`"
                .to_owned()
        }
        "OPENSSH PRIVATE KEY" => {
            "it holds a private key in the format of OpenSSH; make one with openssl".to_owned()
        }
        "PUBLIC KEY" => "it holds a public key alone".to_owned(),
        "PKCS7" => {
            "it holds PKCS#7; convert it with `openssl pkcs7 -print_certs -in FILE -out FILE.pem`".to_owned()
        }
        label if is_request(label) => "it holds a signing request".to_owned(),
        label if label.ends_with("PRIVATE KEY") => "it holds a private key".to_owned(),
        label => format!("it holds {label:?}"),
    }
}

/// Whether the content is one DER SEQUENCE, as certificates, keys, requests and lists are.
pub(crate) fn is_der(content: &[u8]) -> bool {
    der_body(content).is_some()
}

/// Whether the content is a PKCS#12 file: a SEQUENCE whose first element is the version 3.
fn is_pkcs12(content: &[u8]) -> bool {
    der_body(content).is_some_and(|body| body.starts_with(&[0x02, 0x01, 0x03]))
}

/// The body of the SEQUENCE that the content begins with.
fn der_body(content: &[u8]) -> Option<&[u8]> {
    let [0x30, length, rest @ ..] = content else { return None };
    let skipped = match length {
        0x00..0x80 => 0,
        // Indefinite lengths are BER, which PKCS#12 files of some programs use.
        0x80..=0x84 => usize::from(length & 0x0f),
        _ => return None,
    };
    rest.get(skipped..)
}

fn contains(content: &[u8], text: &[u8]) -> bool {
    content.windows(text.len()).any(|part| part == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_holds_instead_is_named() {
        let block = |label: &str| {
            format!("Bag Attributes\r\n-----BEGIN {label}-----\r\nAAAA\r\n-----END {label}-----\r\n")
        };
        for (content, wanted, expected) in [
            (b" \r\n".to_vec(), Wanted::Key, Some("empty")),
            (b"\xff\xfe-\0-\0".to_vec(), Wanted::Certificate, Some("UTF-16")),
            (b"hello".to_vec(), Wanted::Certificate, Some("no PEM block")),
            (vec![0x30, 0x82, 1, 0, 0x02, 0x01, 0x03], Wanted::Key, Some("PKCS#12")),
            (vec![0x30, 0x82, 1, 0, 0x30, 0x01], Wanted::List, Some("openssl crl -inform DER")),
            (vec![0x30], Wanted::Key, Some("no PEM block")),
            (vec![0x30, 0x84, 1], Wanted::Key, Some("no PEM block")),
            (block("CERTIFICATE").into(), Wanted::Request, Some("a certificate")),
            (block("NEW CERTIFICATE REQUEST").into(), Wanted::Certificate, Some("a signing request")),
            (block("ENCRYPTED PRIVATE KEY").into(), Wanted::Key, Some("encrypted private key")),
            (block("RSA PRIVATE KEY\r\nProc-Type: 4,ENCRYPTED").into(), Wanted::Key, Some("no PEM block")),
            (block("RSA PRIVATE KEY").into(), Wanted::Key, None),
            (block("X509 CRL").into(), Wanted::List, None),
            (block("FOO\u{7f}").into(), Wanted::List, Some("FOO\\u{7f}")),
        ] {
            let found = found_instead(&content, wanted);
            assert_eq!(found.is_some(), expected.is_some(), "{found:?}");
            assert!(found.as_deref().unwrap_or_default().contains(expected.unwrap_or_default()), "{found:?}");
        }
        let old =
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nAAAA\n-----END RSA PRIVATE KEY-----\n";
        assert!(found_instead(old.as_bytes(), Wanted::Key).unwrap().contains("encrypted"));
    }
}
