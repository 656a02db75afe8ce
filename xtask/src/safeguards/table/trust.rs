//! Safeguards of trust: who issued whom, what is revoked, and what is taken from a changed identity folder.

use super::{Check, Safeguard, unit};

const CHAINS: Check = unit("catchment-certs", "tests::chains");
const ANCHORS: Check = unit("catchment-certs", "anchors::tests");
const KEPT: Check = unit("catchment-certs", "kept_revocations::tests");
const LIVE: Check = unit("catchment-certs", "tests::live_sessions");
const LISTS: Check = unit("catchment-certs", "revocation::tests");
const WATCHED: Check = unit("catchment-certs", "tests::trust");

pub(in crate::safeguards) const TRUST: &[Safeguard] = &[
    Safeguard {
        name: "a site issues for itself",
        without: "the issuing certificate of one site issues devices of another",
        file: "certs/src/chain.rs",
        find: "if leaf.identity.site() != Some(&self.site) {",
        replace: "if leaf.identity.site().is_none() {",
        check: CHAINS,
        quick: false,
    },
    Safeguard {
        name: "a site issues no operators",
        without: "the issuing certificate of a site issues operators and aggregators",
        file: "certs/src/chain.rs",
        find: "                return Err(ChainError::Role(leaf.identity.role()));",
        replace: "                return Ok(());",
        check: CHAINS,
        quick: false,
    },
    Safeguard {
        name: "anchors are roots",
        without: "the issuing certificate of a site is a trust anchor, and issues everybody",
        file: "certs/src/anchors.rs",
        find: "            check_anchor(&certificate, domain).map_err(|reason| refused(&name, reason))?;",
        replace: "            let _ = check_anchor(&certificate, domain).map_err(|reason| refused(&name, reason));",
        check: ANCHORS,
        quick: false,
    },
    Safeguard {
        name: "a root outside its dates",
        without: "an expired root in ca.pem counts, and a thief of its key issues everybody",
        file: "certs/src/anchors.rs",
        find: ".filter(|root| root.is_in_force(now) && (is_certain || root.signed(&last)))",
        replace: ".filter(|root| now > SystemTime::UNIX_EPOCH && (is_certain || root.signed(&last)))",
        check: ANCHORS,
        quick: false,
    },
    Safeguard {
        name: "the root that verified a session",
        without: "a session outlives its root if another root has the same name",
        file: "certs/src/anchors.rs",
        find: "let is_certain = named().all(|root| root.key == first.key);",
        replace: "let is_certain = named().all(|root| root.subject == first.subject);",
        check: LIVE,
        quick: false,
    },
    Safeguard {
        name: "lists are kept before they count",
        without: "a server killed the moment after a revocation has forgotten it",
        file: "certs/src/trust.rs",
        find: "            state.keep(&merged.revocations);\n            state.replace_lists(&merged.revocations);",
        replace: "            state.replace_lists(&merged.revocations);",
        check: KEPT,
        quick: false,
    },
    Safeguard {
        name: "a revoked issuer",
        without: "certificates below a revoked issuing certificate pass",
        file: "certs/src/revocation/check.rs",
        find: "    for certificate in chain {",
        replace: "    for certificate in chain.iter().take(1) {",
        check: CHAINS,
        quick: false,
    },
    Safeguard {
        name: "fail closed",
        without: "servers accept peers with no revocation list, or an outdated one",
        file: "certs/src/revocation/check.rs",
        find: "if self.required && !up_to_date {",
        replace: "if self.required && !up_to_date && now.is_none() {",
        check: CHAINS,
        quick: false,
    },
    Safeguard {
        name: "a site revokes its own",
        without: "the list of one site revokes devices of another",
        file: "certs/src/revocation.rs",
        find: "let lists = self.inner.sites.get(site).into_iter().flatten();",
        replace: "let lists = self.inner.sites.values().filter(|_| !site.as_str().is_empty()).flatten();",
        check: CHAINS,
        quick: false,
    },
    Safeguard {
        name: "a list never goes back",
        without: "an older revocation list replaces a newer one",
        file: "certs/src/revocation/merge.rs",
        find: "if before.number > list.number {",
        replace: "if before.number == u64::MAX {",
        check: LISTS,
        quick: false,
    },
    Safeguard {
        name: "lists are signed",
        without: "a list counts by its issuer's name alone",
        file: "certs/src/revocation/signer.rs",
        find: " && list.is_signed_by(self.certificate.public_key())",
        replace: "",
        check: LISTS,
        quick: false,
    },
    Safeguard {
        name: "a folder keeps its identity",
        without: "a running server takes the certificate of another identity",
        file: "certs/src/trust/swap.rs",
        find: "if running != found {",
        replace: "if running.is_empty() {",
        check: WATCHED,
        quick: false,
    },
    Safeguard {
        name: "going back is reported",
        without: "a crl.pem that goes back to an older list is not reported",
        file: "certs/src/trust/swap.rs",
        find: "let merged = folder.merged_into(&self.from_file);",
        replace: "let merged = folder.merged_into(&Revocations::default());",
        check: WATCHED,
        quick: false,
    },
    Safeguard {
        name: "received lists survive a swap",
        without: "a changed identity folder takes back the lists that came over the uplink",
        file: "certs/src/trust/swap.rs",
        find: "let revocations = received.with(&from_file);",
        replace: "let revocations = from_file.with(&from_file);\n        let _ = received;",
        check: WATCHED,
        quick: false,
    },
];
