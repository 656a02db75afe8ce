//! Reads a .proto file, as far as ours use the language: one item a line, comments before what they describe. A line
//! that it does not know is an error, so that the document leaves nothing out.

use anyhow::{Context as _, bail};

/// A .proto file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ProtoFile {
    pub(super) name: String,
    pub(super) comment: Vec<String>,
    pub(super) services: Vec<Service>,
    pub(super) messages: Vec<Message>,
    /// Of the file, and within messages.
    pub(super) enums: Vec<Enum>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Enum {
    pub(super) name: String,
    pub(super) comment: Vec<String>,
    /// Name, number and comment.
    pub(super) values: Vec<(String, String, Vec<String>)>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) name: String,
    pub(super) comment: Vec<String>,
    pub(super) methods: Vec<Method>,
}

/// A method; request and response as written, `stream` included.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Method {
    pub(super) name: String,
    pub(super) comment: Vec<String>,
    pub(super) request: String,
    pub(super) response: String,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) name: String,
    pub(super) comment: Vec<String>,
    pub(super) fields: Vec<Field>,
    /// Numbers that are not used again.
    pub(super) reserved: Vec<String>,
}

/// A field; its type as written, with `repeated` or `optional`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) comment: Vec<String>,
    pub(super) kind: String,
    pub(super) number: String,
    /// The oneof that it is part of.
    pub(super) oneof: Option<String>,
}

/// Where a line stands.
enum Place {
    File,
    Service,
    Message,
    /// In a oneof of this name.
    Oneof(String),
    /// In an enum, within a message or not.
    Enum {
        nested: bool,
    },
}

/// Reads a file.
pub(super) fn file(name: &str, text: &str) -> anyhow::Result<ProtoFile> {
    let mut file = ProtoFile { name: name.to_owned(), ..ProtoFile::default() };
    let (mut place, mut comment) = (Place::File, Vec::new());
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if let Some(text) = line.strip_prefix("//") {
            comment.push(text.trim().to_owned());
            continue;
        }
        let comment = std::mem::take(&mut comment);
        if line.is_empty() {
            continue;
        }
        place = item(&mut file, place, line, comment).with_context(|| format!("line {number}: {line}"))?;
    }
    Ok(file)
}

/// Takes a line that is not a comment; returns where the next one stands.
fn item(file: &mut ProtoFile, place: Place, line: &str, comment: Vec<String>) -> anyhow::Result<Place> {
    const UNKNOWN: &str = "not understood: see xtask/src/api/parse.rs";
    let opened = |keyword: &str| {
        Some(line.strip_prefix(keyword)?.strip_prefix(' ')?.strip_suffix('{')?.trim().to_owned())
    };
    match place {
        Place::File => {
            if line.starts_with("syntax ") {
                file.comment = comment;
            } else if let Some(name) = opened("service") {
                file.services.push(Service { name, comment, methods: Vec::new() });
                return Ok(Place::Service);
            } else if let Some(name) = opened("message") {
                file.messages.push(Message { name, comment, ..Message::default() });
                return Ok(Place::Message);
            } else if let Some(name) = opened("enum") {
                file.enums.push(Enum { name, comment, values: Vec::new() });
                return Ok(Place::Enum { nested: false });
            } else if !line.starts_with("package ") {
                bail!(UNKNOWN);
            }
            Ok(Place::File)
        }
        Place::Service => {
            if line == "}" {
                return Ok(Place::File);
            }
            let service = file.services.last_mut().context(UNKNOWN)?;
            service.methods.push(method(line, comment).context(UNKNOWN)?);
            Ok(Place::Service)
        }
        Place::Enum { nested } => {
            if line == "}" {
                return Ok(if nested { Place::Message } else { Place::File });
            }
            let (name, number) =
                line.strip_suffix(';').and_then(|line| line.split_once(" = ")).context(UNKNOWN)?;
            let of = file.enums.last_mut().context(UNKNOWN)?;
            of.values.push((name.to_owned(), number.to_owned(), comment));
            Ok(place)
        }
        Place::Message | Place::Oneof(_) => {
            if let (Place::Message, Some(name)) = (&place, opened("enum")) {
                file.enums.push(Enum { name, comment, values: Vec::new() });
                return Ok(Place::Enum { nested: true });
            }
            let message = file.messages.last_mut().context(UNKNOWN)?;
            let oneof = match place {
                Place::Message if line == "}" => return Ok(Place::File),
                Place::Oneof(_) if line == "}" => return Ok(Place::Message),
                Place::Oneof(name) => Some(name),
                _ => None,
            };
            if let Some(name) = opened("oneof") {
                return Ok(Place::Oneof(name));
            }
            if let Some(numbers) = line.strip_prefix("reserved ").and_then(|line| line.strip_suffix(';')) {
                message.reserved.push(numbers.replace('"', "`"));
            } else {
                message.fields.push(field(line, comment, oneof.clone()).context(UNKNOWN)?);
            }
            Ok(oneof.map_or(Place::Message, Place::Oneof))
        }
    }
}

/// `rpc NAME(REQUEST) returns (RESPONSE);`
fn method(line: &str, comment: Vec<String>) -> Option<Method> {
    let (name, rest) = line.strip_prefix("rpc ")?.split_once('(')?;
    let (request, rest) = rest.split_once(')')?;
    let response = rest.trim().strip_prefix("returns (")?.strip_suffix(");")?;
    let [name, request, response] = [name, request, response].map(|part| part.trim().to_owned());
    Some(Method { name, comment, request, response })
}

/// `TYPE NAME = NUMBER;`
fn field(line: &str, comment: Vec<String>, oneof: Option<String>) -> Option<Field> {
    let (declared, number) = line.strip_suffix(';')?.split_once(" = ")?;
    let (kind, name) = declared.rsplit_once(' ')?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let [name, kind, number] = [name, kind, number].map(str::to_owned);
    is_number.then_some(Field { name, comment, kind, number, oneof })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_take_the_comments_before_them() {
        let text = "// The file,\n// in two lines.\nsyntax = \"proto3\";\n\npackage a.v1;\n\n// Far from anything.\n\n\
            // Asks.\nservice Query {\n  // Once.\n  rpc Ask(A) returns (stream B);\n}\n\n\
            message A {\n  oneof kind {\n    // One.\n    B b = 1;\n    string c = 2;\n  }\n\
            \x20 map<string, string> labels = 3;\n  reserved 4;\n  reserved \"old\";\n}\n";
        let file = file("a.proto", text).unwrap();
        assert_eq!(file.comment, ["The file,", "in two lines."]);
        let [Service { name, comment, methods }] = &file.services[..] else { panic!("{file:?}") };
        assert_eq!((name.as_str(), &comment[..]), ("Query", &["Asks.".to_owned()][..]));
        assert_eq!(
            (methods[0].request.as_str(), methods[0].response.as_str(), &methods[0].comment[0][..]),
            ("A", "stream B", "Once.")
        );
        let fields = &file.messages[0].fields;
        let short = fields.iter().map(|field| format!("{} {} {:?}", field.kind, field.name, field.oneof));
        assert_eq!(
            short.collect::<Vec<_>>(),
            ["B b Some(\"kind\")", "string c Some(\"kind\")", "map<string, string> labels None"]
        );
        assert_eq!((&fields[0].comment[..], fields[1].comment.len()), (&["One.".to_owned()][..], 0));
        assert_eq!(file.messages[0].reserved, ["4", "`old`"]);
    }

    #[test]
    fn a_line_that_is_not_understood_is_an_error() {
        for text in [
            "import \"b.proto\";",
            "message A {\n  extensions 4 to 9;",
            "service S {\n  option a = b;",
            "enum E {\n  option allow_alias = true;\n  A = 0 B",
        ] {
            assert!(file("a.proto", text).is_err(), "{text}");
        }
    }
}
