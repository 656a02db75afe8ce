//! The page's own files, which are part of the program.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

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
    file!("panel.js"),
    file!("readout.js"),
    file!("scale.js"),
    file!("state.js"),
    file!("timeline.js"),
    file!("values.js"),
];

/// The file at a path.
pub(super) fn at(path: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.path == path)
}

impl File {
    /// The answer to a request for it: the file, or that the browser's copy is right.
    pub(super) fn answer(&self, request: &HeaderMap) -> Response<Body> {
        let mut hasher = DefaultHasher::new();
        self.bytes.hash(&mut hasher);
        let tag = format!("\"{:016x}\"", hasher.finish());
        let known = request.get_all(header::IF_NONE_MATCH).iter().filter_map(|tags| tags.to_str().ok());
        let known = known.flat_map(|tags| tags.split(',')).any(|one| one.trim() == tag);
        let mut answer = Response::new(whole(if known { &[][..] } else { self.bytes }));
        if known {
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
        }
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(self.kind));
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
        let bytes: usize = FILES.iter().map(|file| file.bytes.len()).sum();
        assert!(bytes < 200 << 10, "{bytes} bytes");
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
