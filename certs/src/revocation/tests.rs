//! Lists of roots and sites: who may sign, which number counts, what they name.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{list::UnverifiedList, *};
use crate::{
    Identity, Role, TrustDomain,
    tests::forge::{Ca, list, root, site},
};

fn merged(before: &Revocations, roots: &[&Ca], lists: &[Vec<u8>], issuers: &[&Ca]) -> Merged {
    let anchors: Vec<_> = roots.iter().map(|ca| ca.der.clone()).collect();
    let issuers: Vec<_> = issuers.iter().map(|ca| ca.der.clone()).collect();
    let lists: Vec<&[u8]> = lists.iter().map(Vec::as_slice).collect();
    before.merged(&anchors, &lists, &issuers)
}

fn der(signer: &Ca, number: u64, serials: &[&Serial]) -> Vec<u8> {
    list(signer, number, serials, 7).der().to_vec()
}

/// Whether the lists name a device's certificate: one that a root issued, or the issuing certificate of a site.
fn names(lists: &Revocations, serial: &Serial, issuer: Option<(&Ca, &str)>) -> bool {
    let site = issuer.map_or("somewhere", |(_, site)| site);
    lists.names(&Peer {
        identity: Identity::from_parts(Role::Device, site.parse().ok(), "x".parse().unwrap()).unwrap(),
        trust_domain: TrustDomain::new("d").unwrap(),
        serial: serial.clone(),
        issuer: issuer.map(|(issuer, _)| issuer.serial.clone()),
        root: None,
        not_after: SystemTime::now(),
    })
}

#[test]
fn the_highest_number_of_each_issuer_counts() {
    let (one, other) = (root(), root());
    let (a, b) = (Serial::random(), Serial::random());
    let none = Revocations::default();
    let first = merged(&none, &[&one, &other], &[der(&one, 5, &[&a]), der(&other, 1, &[&b])], &[]);
    assert!(first.changed && first.refused.is_empty());
    let lists = first.revocations;
    assert!(names(&lists, &a, None) && names(&lists, &b, None));
    // An older one is refused, the others are taken.
    let next = merged(&lists, &[&one, &other], &[der(&one, 4, &[]), der(&other, 2, &[])], &[]);
    assert_eq!(next.refused, [(0, RevocationError::RolledBack { known: 5, found: 4 })]);
    assert!(next.changed && names(&next.revocations, &a, None) && !names(&next.revocations, &b, None));
    // The same number is no news, unless it names more: then somebody else signs with this key.
    let clash = merged(&next.revocations, &[&one, &other], &[der(&one, 5, &[&a, &b])], &[]);
    assert_eq!(clash.refused, [(0, RevocationError::SameNumber { number: 5 })]);
    let same = merged(&next.revocations, &[&one, &other], &[der(&one, 5, &[])], &[]);
    assert!(!same.changed && same.refused.is_empty() && names(&same.revocations, &a, None));
    // Without its root, a list is gone.
    let without = merged(&same.revocations, &[&other], &[], &[]);
    assert!(without.changed && !names(&without.revocations, &a, None));
    assert_eq!(without.revocations.lists().len(), 1);
}

#[test]
fn only_roots_and_their_sites_sign() {
    let (one, stranger) = (root(), root());
    let (berlin, foreign) = (site(&one, "berlin"), site(&stranger, "berlin"));
    let serial = Serial::random();
    let none = Revocations::default();
    let all = [&stranger, &foreign, &berlin].map(|ca| der(ca, 1, &[&serial]));
    let merged_all = merged(&none, &[&one], &all, &[&foreign]);
    assert_eq!(merged_all.refused, [0, 1, 2].map(|index| (index, RevocationError::Signature)));
    assert!(!merged_all.changed && merged_all.revocations.lists().is_empty());
    let with_issuer = merged(&none, &[&one], &all[2..], &[&foreign, &berlin]);
    assert_eq!(with_issuer.refused, []);
    let list = &with_issuer.revocations.lists()[0];
    assert_eq!((list.site().unwrap().as_str(), list.issuer.as_ref()), ("berlin", Some(&berlin.der)));
    assert!(with_issuer.revocations.ends().is_none(), "a site's list does not stand for a root's");
    assert!(names(&with_issuer.revocations, &serial, Some((&berlin, "berlin"))));
    assert!(!names(&with_issuer.revocations, &serial, Some((&berlin, "paris"))));
    assert!(!names(&with_issuer.revocations, &serial, None));
    // The next list of a known site needs no certificate beside it; a revoked site's lists are gone.
    let next = merged(&with_issuer.revocations, &[&one], &[der(&berlin, 2, &[])], &[]);
    assert!(next.changed && next.refused.is_empty());
    let gone = merged(&next.revocations, &[&one], &[der(&one, 1, &[&berlin.serial])], &[]);
    assert_eq!(gone.revocations.lists().len(), 1);
    assert!(names(&gone.revocations, &serial, Some((&berlin, "berlin"))));
    let again = merged(&gone.revocations, &[&one], &[der(&berlin, 3, &[])], &[&berlin]);
    assert!(!again.changed && again.refused.is_empty());
}

#[test]
fn any_changed_bit_is_refused() {
    let root = root();
    let list = der(&root, 300, &[&Serial::random(), &Serial::random()]);
    for place in 0..list.len() {
        let mut bytes = list.clone();
        bytes[place] ^= 1 << (place % 8);
        let merged = merged(&Revocations::default(), &[&root], &[bytes], &[]);
        assert_eq!(merged.refused.len(), 1, "a changed bit in byte {place} passes");
    }
    for length in 0..list.len() {
        assert!(UnverifiedList::read(&list[..length]).is_err());
    }
    let longer = [&list[..], &[0]].concat();
    assert!(UnverifiedList::read(&longer).is_err());
}

#[test]
fn many_entries_are_read_within_bounds() {
    let root = root();
    let serials: Vec<Serial> = (0..2_000).map(|_| Serial::random()).collect();
    let list = der(&root, u64::MAX, &serials.iter().collect::<Vec<_>>());
    let merged = merged(&Revocations::default(), &[&root], &[list], &[]);
    assert_eq!(merged.refused, []);
    assert_eq!(
        (merged.revocations.lists()[0].len(), merged.revocations.lists()[0].number),
        (2_000, u64::MAX)
    );
    assert!(serials.iter().all(|serial| names(&merged.revocations, serial, None)));
    assert!(!names(&merged.revocations, &Serial::random(), None));
}

/// What the lists should say, written as the rules are.
#[derive(Default)]
struct Model {
    /// Number and serials of the list that counts, by signer: roots 0 and 1, sites 2 and 3.
    lists: BTreeMap<usize, (u64, BTreeSet<usize>)>,
}

impl Model {
    fn add(&mut self, signer: usize, number: u64, serials: &BTreeSet<usize>) {
        if self.lists.get(&signer).is_none_or(|(known, _)| *known < number) {
            self.lists.insert(signer, (number, serials.clone()));
        }
    }

    fn names(&self, signer: usize, serial: usize) -> bool {
        self.lists.get(&signer).is_some_and(|(_, serials)| serials.contains(&serial))
    }

    /// Serial numbers 0 and 1 are those of the sites' issuing certificates.
    fn is_revoked(&self, serial: usize, site: Option<usize>) -> bool {
        let by_root = |serial| self.names(0, serial) || self.names(1, serial);
        by_root(serial) || site.is_some_and(|site| by_root(site) || self.names(2 + site, serial))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn lists_say_what_the_model_says(
        steps in prop::collection::vec(
            (0..4_usize, 1..6_u64, prop::collection::btree_set(0..8_usize, 0..5)),
            1..12,
        ),
    ) {
        let roots = [root(), root()];
        let sites = [site(&roots[0], "one"), site(&roots[1], "two")];
        let signers = [&roots[0], &roots[1], &sites[0], &sites[1]];
        let mut serials: Vec<Serial> = sites.iter().map(|site| site.serial.clone()).collect();
        serials.extend((2..8).map(|_| Serial::random()));
        let (mut model, mut lists) = (Model::default(), Revocations::default());
        for (signer, number, named) in &steps {
            let revoked: Vec<&Serial> = named.iter().map(|index| &serials[*index]).collect();
            let new = der(signers[*signer], *number, &revoked);
            lists = merged(&lists, &[&roots[0], &roots[1]], &[new], &[&sites[0], &sites[1]]).revocations;
            model.add(*signer, *number, named);
            // A revoked issuer's list is dropped, which a later list without its number brings back in the model only.
            for site in 0..2 {
                if model.is_revoked(site, None) {
                    model.lists.remove(&(2 + site));
                }
            }
            for (index, serial) in serials.iter().enumerate() {
                prop_assert_eq!(names(&lists, serial, None), model.is_revoked(index, None));
                for (site, certificate) in sites.iter().enumerate() {
                    let issuer = Some((certificate, ["one", "two"][site]));
                    prop_assert_eq!(
                        names(&lists, serial, issuer), model.is_revoked(index, Some(site)),
                        "serial {} of site {} after {:?}", index, site, steps
                    );
                }
            }
        }
    }
}

#[test]
fn of_two_lists_of_a_root_in_one_file_the_newer_counts_and_none_is_refused() {
    let (root, other) = (root(), root());
    let (old, new) = (list(&root, 3, &[], 7), list(&root, 5, &[], 7));
    let anchors = [root.der.clone(), other.der.clone()];
    for (known, lists) in [
        (Revocations::default(), [new.der().as_ref(), old.der().as_ref()]),
        (Revocations::default(), [old.der().as_ref(), new.der().as_ref()]),
        (
            Revocations::default().merged(&anchors, &[new.der()], &[]).revocations,
            [new.der().as_ref(), old.der()],
        ),
    ] {
        let merged = known.merged(&anchors, &lists, &[]);
        assert_eq!(merged.refused, []);
        assert_eq!(merged.revocations.lists()[0].number, 5);
    }
    let both = Revocations::default().merged(&anchors, &[new.der(), old.der()], &[]);
    assert_eq!(both.older, [(3, 5)]);
    // Alone it has gone back, also beside a list of the same number of another root.
    let lists = [old.der().as_ref(), list(&other, 5, &[], 7).der().as_ref()].map(<[u8]>::to_vec);
    let merged = both.revocations.merged(&anchors, &lists.each_ref().map(Vec::as_slice), &[]);
    assert_eq!(merged.refused, [(0, RevocationError::RolledBack { known: 5, found: 3 })]);
}
