//! Rules for the manifests: which crate may depend on which, and which crates may use a foreign crate.
//!
//! `partial`, `journal` and `settings` do not depend on the rest; the two servers do not depend on each other; each
//! dependency behind the product's guarantees (TLS, certificates, the store, the actors) belongs to one crate.

use super::File;

/// All our crates, each with those of our crates that it may depend on; `None`: any.
const OWN: [(&str, Option<&[&str]>); 15] = [
    ("partial", Some(&[])),
    ("journal", Some(&[])),
    ("settings", Some(&[])),
    ("proto", Some(&["partial"])),
    ("promql", Some(&["partial"])),
    ("columns", Some(&["proto"])),
    ("certs", Some(&["journal", "proto", "settings"])),
    ("gateway", Some(&["certs", "journal", "partial", "proto", "settings"])),
    ("aggregator", Some(&["certs", "columns", "journal", "partial", "promql", "proto", "settings"])),
    ("cli", Some(&["aggregator", "certs", "columns", "gateway", "partial", "proto", "settings"])),
    ("fuzz", Some(&["certs", "gateway", "journal", "partial", "promql", "proto"])),
    ("simulation", Some(&["aggregator", "gateway", "journal", "partial", "proto"])),
    ("tests", None),
    ("bench", Some(&["certs", "gateway", "partial", "proto"])),
    ("xtask", Some(&[])),
];

/// Foreign crates, the crates that may depend on them, and why not the others. `tests` may use what an outsider would.
const FOREIGN: [(&str, &[&str], &str); 8] = [
    ("rustls", &["certs", "tests"], "certs builds all TLS configurations"),
    ("rcgen", &["certs", "tests", "bench"], "certs issues all certificates; a reference of the bench"),
    ("x509-parser", &["certs", "tests"], "after the handshake a peer is an identity, not a certificate"),
    ("sled", &["aggregator", "bench"], "the store is the aggregator's, and a reference of the bench"),
    ("actix", &["gateway"], "actors are the gateway's"),
    ("actix-rt", &["gateway", "tests"], "actors are the gateway's"),
    ("axum", &["settings", "gateway", "aggregator"], "plain HTTP is for probes and metrics alone"),
    (
        "anyhow",
        &["settings", "certs", "gateway", "aggregator", "fuzz", "tests", "bench", "xtask"],
        "libraries define their own errors",
    ),
];

/// The only crates that a crate without input and output may depend on.
const PURE: [(&str, &[&str]); 1] = [("partial", &["thiserror"])];

/// Names of the dependencies of a manifest; `dev`: also those of its tests.
fn dependencies(manifest: &str, dev: bool) -> Vec<&str> {
    let mut names = Vec::new();
    let mut inside = false;
    for line in manifest.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end_matches(']');
            inside = section.ends_with("dependencies") && (dev || !section.ends_with("dev-dependencies"));
            continue;
        }
        let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
        if inside && !name.is_empty() && !name.starts_with('#') {
            names.push(name);
        }
    }
    names
}

/// Checks all manifests.
pub(super) fn check(files: &[File]) -> Vec<String> {
    let mut findings = Vec::new();
    for (name, own) in OWN {
        let path = format!("{name}/Cargo.toml");
        let Some(manifest) = files.iter().find(|file| file.path == path) else {
            findings.push(format!("{path}: does not exist, but the rules for crates name it"));
            continue;
        };
        let names = dependencies(&manifest.text, true);
        for other in names.iter().filter_map(|name| name.strip_prefix("catchment-")) {
            if own.is_some_and(|own| !own.contains(&other)) {
                findings.push(format!("{path}: {name} may not depend on {other}"));
            }
        }
        for (foreign, users, why) in FOREIGN {
            if names.contains(&foreign) && !users.contains(&name) {
                findings.push(format!("{path}: {name} may not depend on {foreign}: {why}"));
            }
        }
        for (_, allowed) in PURE.iter().filter(|(pure, _)| *pure == name) {
            for foreign in dependencies(&manifest.text, false) {
                if !allowed.contains(&foreign) {
                    findings.push(format!("{path}: {name} is pure and may not depend on {foreign}"));
                }
            }
        }
    }
    let manifests = files.iter().filter_map(|file| file.path.strip_suffix("/Cargo.toml"));
    let unknown = manifests.filter(|name| !OWN.iter().any(|(own, _)| own == name));
    findings.extend(
        unknown.map(|name| format!("{name}/Cargo.toml: no rule lists the dependencies of this crate")),
    );
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(name: &str, manifest: &str) -> Vec<String> {
        let mut files: Vec<_> = OWN
            .iter()
            .map(|(name, _)| File { path: format!("{name}/Cargo.toml"), text: String::new() })
            .filter(|file| file.path != format!("{name}/Cargo.toml"))
            .collect();
        files.push(File { path: format!("{name}/Cargo.toml"), text: manifest.into() });
        check(&files)
    }

    #[test]
    fn dependencies_are_parsed() {
        let manifest = "[package]\nname = \"a\"\n[dependencies]\nb.workspace = true\n# c\nd = { path = \"x\" }\n\n\
            [dev-dependencies]\ne = \"1\"\n[features]\nf = []\n";
        assert_eq!(dependencies(manifest, true), ["b", "d", "e"]);
        assert_eq!(dependencies(manifest, false), ["b", "d"]);
    }

    #[test]
    fn forbidden_dependencies_are_found() {
        assert_eq!(
            run("gateway", "[dependencies]\ncatchment-proto.workspace = true\nactix = \"1\""),
            [""; 0]
        );
        assert_eq!(run("tests", "[dependencies]\ncatchment-gateway = 1\nrustls = 1"), [""; 0]);
        assert_eq!(run("partial", "[dev-dependencies]\nproptest = 1"), [""; 0]);
        for (name, dependency) in [
            ("gateway", "catchment-aggregator"),
            ("gateway", "sled"),
            ("aggregator", "actix"),
            ("aggregator", "catchment-gateway"),
            ("cli", "rustls"),
            ("journal", "catchment-proto"),
            ("partial", "tokio"),
            ("strange", "clap"),
        ] {
            let findings = run(name, &format!("[dependencies]\n{dependency}.workspace = true\n"));
            assert_eq!(findings.len(), 1, "{name} on {dependency}: {findings:?}");
        }
    }
}
