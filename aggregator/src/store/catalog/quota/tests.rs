use std::collections::{BTreeMap, BTreeSet};

use catchment_proto::Name;
use proptest::prelude::*;

use super::*;
use crate::{
    store::{
        GatewayEpoch,
        catalog::Catalog,
        testing::{batch, entry},
        wal::{
            apply::{CheckedBatch, StoreState},
            entry::JournalEntry,
        },
    },
    testing::key,
};

fn id(site: &str, name: &str) -> GatewayId {
    GatewayId { site: Name::new(site).unwrap(), name: Name::new(name).unwrap() }
}

fn ids() -> [GatewayId; 4] {
    [id("berlin", "g1"), id("berlin", "g2"), id("lyon", "g1"), id("oslo", "g1")]
}

/// Gateways that keep within their budgets, and a store that keeps their deliveries.
struct World {
    quota: Quota,
    bounds: Bounds,
    /// By gateway: series in the store, forgotten ones, those made by the folder and not delivered, and the newest
    /// budget.
    gateways: BTreeMap<GatewayId, [u64; 4]>,
}

impl World {
    fn new(bounds: Bounds) -> Self {
        let gateways = ids().map(|id| (id, [0; 4])).into();
        let mut world = Self { quota: Quota::new(bounds), bounds, gateways };
        ids().iter().for_each(|id| world.note(id));
        world
    }

    /// Tells the quota what the store holds of a gateway.
    fn note(&mut self, of: &GatewayId) {
        let [series, forgotten, ..] = self.gateways[of];
        self.quota.note(of, Some(Usage { series, forgotten }));
    }

    fn budget(&mut self, of: &GatewayId) {
        let told = self.quota.budget(of, 1);
        self.gateways.get_mut(of).unwrap()[3] = told;
    }

    /// The folder makes series as far as its budget allows; returns how many.
    fn make(&mut self, of: &GatewayId, wanted: u64) -> u64 {
        let [held, forgotten, made, budget] = self.gateways.get_mut(of).unwrap();
        let new = wanted.min(budget.saturating_sub(*held + *forgotten + *made));
        *made += new;
        new
    }

    /// Delivers everything that the folder has made.
    fn deliver(&mut self, of: &GatewayId) -> Result<(), String> {
        let new = self.gateways[of][2];
        self.quota.fits(of, new)?;
        let [held, _, made, _] = self.gateways.get_mut(of).unwrap();
        (*held, *made) = (*held + new, 0);
        self.note(of);
        Ok(())
    }

    /// Series within a limit, delivered or not.
    fn sum(&self, within: impl Fn(&GatewayId) -> bool) -> u64 {
        self.gateways.iter().filter(|(id, _)| within(id)).map(|(_, [held, _, made, _])| held + made).sum()
    }

    fn is_within(&self) -> bool {
        let Bounds { total, site, gateway } = self.bounds;
        self.sum(|_| true) <= total
            && ids().iter().all(|id| self.sum(|other| other.site == id.site) <= site)
            && ids().iter().all(|id| self.sum(|other| other == id) <= gateway)
    }
}

#[derive(Clone, Debug)]
enum Step {
    Budget(usize),
    Make(usize, u64),
    Deliver(usize),
    Forget(usize, u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..4_usize).prop_map(Step::Budget),
        (0..4_usize, 0..40_u64).prop_map(|(who, count)| Step::Make(who, count)),
        (0..4_usize).prop_map(Step::Deliver),
        (0..4_usize, 0..20_u64).prop_map(|(who, count)| Step::Forget(who, count)),
    ]
}

proptest! {
    #[test]
    fn gateways_within_their_budgets_never_exceed_a_limit(
        (total, site, gateway) in (1..200_u64, 1..100_u64, 1..60_u64),
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let mut world = World::new(Bounds { total, site, gateway });
        for step in steps {
            match step {
                Step::Budget(who) => world.budget(&ids()[who]),
                Step::Make(who, count) => _ = world.make(&ids()[who], count),
                Step::Deliver(who) => prop_assert_eq!(world.deliver(&ids()[who]), Ok(()), "granted series fit"),
                Step::Forget(who, count) => {
                    let [held, forgotten, ..] = world.gateways.get_mut(&ids()[who]).unwrap();
                    let gone = count.min(*held);
                    (*held, *forgotten) = (*held - gone, *forgotten + gone);
                    world.note(&ids()[who]);
                }
            }
            prop_assert!(world.is_within(), "{:?}", world.gateways);
        }
        // And nobody is kept from the last slot: while one is free, some gateway gets it.
        for _ in 0..1000 {
            let mut moved = false;
            for id in ids() {
                world.budget(&id);
                world.make(&id, u64::MAX);
                moved |= world.gateways[&id][2] > 0;
                prop_assert_eq!(world.deliver(&id), Ok(()));
            }
            if !moved {
                break;
            }
        }
        let full = |id: &GatewayId| {
            world.sum(|_| true) == total
                || world.sum(|other| other.site == id.site) == site
                || world.sum(|other| other == id) == gateway
        };
        prop_assert!(ids().iter().all(full), "{:?}", world.gateways);
    }
}

#[test]
fn a_lone_gateway_reaches_its_limit_in_few_rounds() {
    let mut world = World::new(Bounds { total: 1_000_000, site: 500_000, gateway: 250_000 });
    let of = &ids()[2];
    for _ in 0..12 {
        world.budget(of);
        world.make(of, u64::MAX);
        world.deliver(of).unwrap();
    }
    assert_eq!(world.gateways[of][0], 250_000);
}

#[test]
fn a_grant_is_not_available_to_other_gateways() {
    let mut quota = Quota::new(Bounds { total: 10, site: 10, gateway: 10 });
    let [first, second, ..] = &ids();
    [first, second].iter().for_each(|gateway| quota.note(gateway, Some(Usage::default())));
    assert_eq!(quota.budget(first, 1), 2);
    assert_eq!(quota.fits(second, 8), Ok(()));
    let refused = quota.fits(second, 9).unwrap_err();
    let wanted = "no room for 9 new series: site berlin may have 10 series and has 0, 2 more are granted to other gateways; \
                  raise series_per_site_max to 11 or more, or forget series";
    assert_eq!(refused, wanted);
    assert_eq!(quota.fits(first, 10), Ok(()), "its own grant is its own");
}

#[test]
fn pending_series_count_once_and_until_they_arrive() {
    let mut quota = Quota::new(Bounds { total: 3, site: 3, gateway: 3 });
    let of = &ids()[0];
    let keys: Vec<_> = ["a", "b"].map(|metric| key("d", metric, &[])).into();
    quota.reserve(of, &keys);
    quota.reserve(of, &keys);
    assert!(quota.is_pending(of, &keys[0]) && !quota.is_pending(&ids()[1], &keys[0]));
    assert_eq!(quota.fits(of, 1), Ok(()));
    assert!(quota.fits(of, 2).unwrap_err().contains("gateway berlin/g1 may have 3 series and has 2; raise"));
    quota.release(of, &keys);
    assert_eq!(quota.fits(of, 3), Ok(()));
    quota.note(of, Some(Usage { series: 2, forgotten: 0 }));
    assert!(quota.fits(of, 2).is_err());
}

#[test]
fn a_new_folder_may_hold_the_names_of_the_lost_one() {
    let mut quota = Quota::new(Bounds { total: 10, site: 10, gateway: 10 });
    let of = &ids()[0];
    quota.note(of, Some(Usage { series: 10, forgotten: 0 }));
    assert_eq!(quota.budget(of, 1), 10);
    assert_eq!(quota.budget(of, 2), 10, "another epoch, the same devices");
    // A store that held more than its limit from the beginning keeps it.
    quota.note(of, Some(Usage { series: 12, forgotten: 0 }));
    assert_eq!(quota.budget(of, 2), 12);
    let refused = quota.fits(of, 1).unwrap_err();
    assert!(refused.contains("may have 10 series and has 12; raise series_per_gateway_max to 13 or more"));
    assert_eq!(quota.fits(of, 0), Ok(()));
}

#[test]
fn forgetting_makes_room_at_the_gateway_that_filled_the_limit() {
    let mut quota = Quota::new(Bounds { total: 100, site: 100, gateway: 10 });
    let of = &ids()[0];
    quota.note(of, Some(Usage { series: 10, forgotten: 0 }));
    assert_eq!(quota.budget(of, 1), 10);
    quota.note(of, Some(Usage { series: 4, forgotten: 6 }));
    assert_eq!(quota.budget(of, 1), 16, "its folder still has all ten names");
}

#[test]
fn a_nearly_reached_limit_is_reported_once() {
    let mut quota = Quota::new(Bounds { total: 1000, site: 100, gateway: 10 });
    let of = &ids()[0];
    let warn = |quota: &mut Quota, series| {
        quota.note(of, Some(Usage { series, forgotten: 0 }));
        quota.warnings(of)
    };
    assert!(warn(&mut quota, 8).is_empty());
    let news = warn(&mut quota, 9);
    assert_eq!(news.len(), 1);
    assert!(
        news[0].starts_with("gateway berlin/g1 has 9 of 10 allowed series")
            && news[0].contains("series_per_gateway_max")
    );
    assert!(warn(&mut quota, 10).is_empty(), "reported already");
    assert!(warn(&mut quota, 5).is_empty());
    assert_eq!(warn(&mut quota, 10).len(), 1, "again, after there was room");
}

/// The limits as they apply to a gateway, from a walk over all gateways and series.
fn headroom_by_walk(quota: &Quota, catalog: &Catalog, of: &GatewayId) -> Headroom {
    let Bounds { total, site, gateway } = quota.bounds;
    let [mut total, mut site, mut own] = [total, site, gateway].map(|max| Level { max, ..Level::default() });
    let mut known = 0;
    let mut counted: BTreeSet<GatewayId> =
        catalog.gateways.iter().map(|gateway| gateway.id.clone()).collect();
    counted.extend(catalog.new_gateways().map(|state| state.epoch.gateway.clone()));
    counted.insert(of.clone());
    for gateway in counted {
        let is_its = |number: u32| catalog.gateways[number as usize].id == gateway;
        let held = catalog.series.iter().filter(|(_, series)| is_its(series.gateway)).count() as u64;
        let series = held + quota.pending(&gateway);
        let may_hold = series + catalog.forgotten(&gateway);
        let granted = quota.last_sent(&gateway).map_or(0, |sent| sent.saturating_sub(may_hold));
        let add = |level: &mut Level| {
            level.series += series;
            level.granted += if gateway == *of { 0 } else { granted };
            level.gateways += 1;
        };
        add(&mut total);
        if gateway.site == of.site {
            add(&mut site);
        }
        if gateway == *of {
            add(&mut own);
            known = may_hold;
        }
    }
    Headroom { total, site, gateway: own, known }
}

fn of_gateway(gateway: &GatewayId, id: u64) -> GatewayEpoch {
    let (gateway, created_ms) = (gateway.clone(), id as i64);
    GatewayEpoch { gateway, id, created_ms, shards: 2, run: 0, previous_runs: Default::default() }
}

#[derive(Clone, Debug)]
enum Change {
    Start(usize, u64),
    Deliver(usize, u64, Vec<u32>),
    Remove(u32),
    Reserve(usize, u32),
    Release(usize, u32),
    Budget(usize, u64),
}

fn change() -> impl Strategy<Value = Change> {
    let (who, epoch) = (0..4_usize, 1..4_u64);
    prop_oneof![
        (who.clone(), epoch.clone()).prop_map(|(who, epoch)| Change::Start(who, epoch)),
        (who.clone(), epoch.clone(), prop::collection::vec(0..3_u32, 1..3))
            .prop_map(|(who, epoch, series)| Change::Deliver(who, epoch, series)),
        (0..12_u32).prop_map(Change::Remove),
        (who.clone(), 0..3_u32).prop_map(|(who, series)| Change::Reserve(who, series)),
        (who.clone(), 0..3_u32).prop_map(|(who, series)| Change::Release(who, series)),
        (who, epoch).prop_map(|(who, epoch)| Change::Budget(who, epoch)),
    ]
}

proptest! {
    #[test]
    fn sums_are_those_of_a_walk_over_all_gateways(changes in prop::collection::vec(change(), 1..60)) {
        let (mut state, mut quota) = (StoreState::default(), Quota::new(Bounds { total: 20, site: 12, gateway: 8 }));
        let metric = |series: u32| key("d", ["a", "b", "c"][series as usize], &[]);
        for (number, change) in (1..).zip(changes) {
            match change {
                Change::Start(who, epoch) => state.catalog.begin(&of_gateway(&ids()[who], epoch)),
                Change::Deliver(who, epoch, series) => {
                    let entries = series.into_iter().map(|series| entry(series, 1, 1, 1)).collect();
                    let entry = JournalEntry::new(&of_gateway(&ids()[who], epoch), batch(0, number, entries));
                    state.apply(&CheckedBatch::new(entry).unwrap());
                }
                Change::Remove(id) => state.catalog.remove_series(id),
                Change::Reserve(who, series) => quota.reserve(&ids()[who], &[metric(series)]),
                Change::Release(who, series) => quota.release(&ids()[who], &[metric(series)]),
                Change::Budget(who, epoch) => _ = quota.budget(&ids()[who], epoch),
            }
            state.catalog.report_usages(&mut quota);
            for of in ids().iter().chain([&id("rome", "never-seen")]) {
                prop_assert_eq!(quota.headroom(of), headroom_by_walk(&quota, &state.catalog, of));
            }
        }
    }
}

#[test]
fn a_budget_looks_only_at_gateways_that_have_changed() {
    let mut catalog = Catalog::default();
    let mut quota = Quota::new(Bounds { total: 1_000_000, site: 500_000, gateway: 250_000 });
    let numbered = |number: u64| id(["berlin", "lyon", "oslo"][number as usize % 3], &format!("g{number}"));
    let gateways = 16_384 + 300;
    for number in 0..gateways {
        let gateway = numbered(number);
        catalog.begin(&of_gateway(&gateway, 1));
        assert!(catalog.report_usages(&mut quota) <= 2, "itself, and one that is forgotten for it");
        quota.budget(&gateway, 1);
        assert_eq!(catalog.report_usages(&mut quota), 0);
    }
    assert_eq!((quota.usages.total().gateways, quota.others.len()), (16_384, 300));
    for of in [numbered(0), numbered(gateways - 1)] {
        assert_eq!(quota.headroom(&of), headroom_by_walk(&quota, &catalog, &of));
        assert!(quota.last_sent(&of).is_some(), "also of one that does not count: it may be connected");
    }
    (0..OTHERS_MAX as u64).for_each(|number| _ = quota.budget(&id("rome", &number.to_string()), 1));
    assert!(quota.others.len() <= OTHERS_MAX);
}
