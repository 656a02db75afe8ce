//! The page's own files, which are part of the program; compressed once, when the first one is asked for.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::Write as _,
    sync::LazyLock,
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use hyper::{HeaderMap, Response, StatusCode, header};

use crate::proxy::{Body, whole};

/// A file of the page.
pub(super) struct File {
    path: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
}

macro_rules! file {
    ($path:literal, $name:literal, $kind:literal) => {
        File { path: $path, kind: $kind, bytes: include_bytes!(concat!("../../page/", $name)) }
    };
    ($name:literal) => {
        File {
            path: concat!("/", $name),
            kind: "text/javascript; charset=utf-8",
            bytes: include_bytes!(concat!("../../page/", $name)),
        }
    };
}

/// All of them.
const FILES: &[File] = &[
    file!("/", "index.html", "text/html; charset=utf-8"),
    file!("/style.css", "style.css", "text/css; charset=utf-8"),
    file!("/icon.svg", "icon.svg", "image/svg+xml"),
    file!("app.js"),
    file!("ask.js"),
    file!("chart.js"),
    file!("complete.js"),
    file!("devices.js"),
    file!("dom.js"),
    file!("explore.js"),
    file!("fleet.js"),
    file!("form.js"),
    file!("format.js"),
    file!("gateways.js"),
    file!("list.js"),
    file!("live.js"),
    file!("panel.js"),
    file!("readout.js"),
    file!("scale.js"),
    file!("state.js"),
    file!("timeline.js"),
    file!("values.js"),
];

/// A file as it is served.
pub(super) struct Served {
    file: &'static File,
    gzip: Bytes,
    /// Names this version of the file.
    tag: String,
}

static SERVED: LazyLock<Vec<Served>> = LazyLock::new(|| FILES.iter().map(Served::new).collect());

/// The file at a path.
pub(super) fn at(path: &str) -> Option<&'static Served> {
    SERVED.iter().find(|served| served.file.path == path)
}

/// Whether a browser takes an encoding. A weight of 0 is a refusal.
fn accepts(request: &HeaderMap, encoding: &str) -> bool {
    let lists = request.get_all(header::ACCEPT_ENCODING).iter().filter_map(|list| list.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|one| {
        let (name, weight) = one.split_once(';').unwrap_or((one, ""));
        let weight = weight.trim().strip_prefix("q=").and_then(|weight| weight.trim().parse::<f32>().ok());
        name.trim().eq_ignore_ascii_case(encoding) && weight.is_none_or(|weight| weight > 0.0)
    })
}

impl Served {
    fn new(file: &'static File) -> Self {
        let mut hasher = DefaultHasher::new();
        file.bytes.hash(&mut hasher);
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        // Memory takes all of it.
        let gzip = gzip.write_all(file.bytes).and_then(|()| gzip.finish()).unwrap_or_default();
        Self { file, gzip: gzip.into(), tag: format!("{:016x}", hasher.finish()) }
    }

    /// The answer to a request for it: the file, or that the browser's copy is right.
    pub(super) fn answer(&self, request: &HeaderMap) -> Response<Body> {
        let gzip = accepts(request, "gzip") && !self.gzip.is_empty();
        let tag = format!("\"{}{}\"", self.tag, if gzip { "-gzip" } else { "" });
        let known = request.get_all(header::IF_NONE_MATCH).iter().filter_map(|tags| tags.to_str().ok());
        let known = known.flat_map(|tags| tags.split(',')).any(|one| one.trim() == tag);
        let bytes = match (known, gzip) {
            (true, _) => Bytes::new(),
            (false, true) => self.gzip.clone(),
            (false, false) => Bytes::from_static(self.file.bytes),
        };
        let mut answer = Response::new(whole(bytes));
        if known {
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
        }
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(self.file.kind));
        headers.insert(header::VARY, header::HeaderValue::from_static("Accept-Encoding"));
        if gzip {
            headers.insert(header::CONTENT_ENCODING, header::HeaderValue::from_static("gzip"));
        }
        // Ask each time: the next program on this port may be another version.
        headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-cache"));
        if let Ok(tag) = tag.parse() {
            headers.insert(header::ETAG, tag);
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    #[test]
    fn every_file_of_the_page_is_served_and_they_are_small() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("page");
        let there: BTreeSet<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let name = |file: &File| if file.path == "/" { "index.html" } else { &file.path[1..] }.to_owned();
        assert_eq!(FILES.iter().map(name).collect::<BTreeSet<_>>(), there);
        // All at once, not as each import is found.
        let page = std::str::from_utf8(FILES[0].bytes).unwrap();
        let modules = FILES.iter().filter(|file| file.path.ends_with(".js"));
        for file in modules {
            assert!(page.contains(&format!("\"{}\"", file.path)), "index.html does not name {}", file.path);
        }
        let bytes: usize = FILES.iter().map(|file| file.bytes.len()).sum();
        let packed: usize = SERVED.iter().map(|served| served.gzip.len()).sum();
        assert!(bytes < 200 << 10 && packed < 40 << 10, "{bytes} bytes, {packed} compressed");
    }

    #[test]
    fn a_file_is_compressed_for_those_who_take_that() {
        let answer = |encodings: &[&str]| {
            let headers = encodings.iter().map(|text| (header::ACCEPT_ENCODING, text.parse().unwrap()));
            at("/app.js").unwrap().answer(&headers.collect())
        };
        let encoding = |answer: &Response<Body>| answer.headers().get(header::CONTENT_ENCODING).cloned();
        for taken in [&["gzip, deflate, br"][..], &["br", "GZIP;q=0.5"]] {
            assert_eq!(encoding(&answer(taken)).unwrap(), "gzip", "{taken:?}");
        }
        for refused in [&[][..], &["br"], &["gzip;q=0, br"], &["gzip; q=0.0"]] {
            assert_eq!(encoding(&answer(refused)), None, "{refused:?}");
        }
        assert_ne!(answer(&[]).headers()[header::ETAG], answer(&["gzip"]).headers()[header::ETAG]);
        for served in SERVED.iter() {
            let mut bytes = Vec::new();
            let mut gzip = flate2::read::GzDecoder::new(&served.gzip[..]);
            std::io::Read::read_to_end(&mut gzip, &mut bytes).unwrap();
            assert_eq!(bytes, served.file.bytes, "{}", served.file.path);
        }
    }

    #[test]
    fn nothing_in_the_page_makes_html_of_text_or_points_elsewhere() {
        for file in FILES {
            let text = std::str::from_utf8(file.bytes).unwrap();
            for word in
                ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "onclick="]
            {
                assert!(!text.contains(word), "{}: {word}", file.path);
            }
            // Names of namespaces are no addresses.
            let elsewhere = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!elsewhere.contains("http://") && !elsewhere.contains("https://"), "{}", file.path);
        }
    }

    #[test]
    fn a_copy_that_is_right_is_not_sent_again() {
        let file = at("/app.js").unwrap();
        let first = file.answer(&HeaderMap::new());
        assert_eq!(first.status(), 200);
        let tag = first.headers()[header::ETAG].clone();
        let known = HeaderMap::from_iter([(header::IF_NONE_MATCH, tag)]);
        assert_eq!(file.answer(&known).status(), 304);
        let other = HeaderMap::from_iter([(header::IF_NONE_MATCH, "\"0\"".parse().unwrap())]);
        assert_eq!(file.answer(&other).status(), 200);
        assert!(at("/../Cargo.toml").is_none() && at("").is_none());
    }
}
