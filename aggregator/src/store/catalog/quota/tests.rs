use std::collections::BTreeMap;

use catchment_proto::Name;
use proptest::prelude::*;

use super::*;
use crate::testing::key;

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
        Self { quota: Quota::new(bounds), bounds, gateways }
    }

    fn usages(gateways: &BTreeMap<GatewayId, [u64; 4]>) -> Vec<Usage<'_>> {
        gateways
            .iter()
            .map(|(gateway, [series, forgotten, ..])| Usage {
                gateway,
                series: *series,
                forgotten: *forgotten,
            })
            .collect()
    }

    fn budget(&mut self, of: &GatewayId) {
        let told = self.quota.budget(&Self::usages(&self.gateways), of, 1);
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
        self.quota.fits(&Self::usages(&self.gateways), of, new)?;
        let [held, _, made, _] = self.gateways.get_mut(of).unwrap();
        (*held, *made) = (*held + new, 0);
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
    let both = [first, second].map(|gateway| Usage { gateway, series: 0, forgotten: 0 });
    assert_eq!(quota.budget(&both, first, 1), 2);
    assert_eq!(quota.fits(&both, second, 8), Ok(()));
    let refused = quota.fits(&both, second, 9).unwrap_err();
    let wanted = "no room for 9 new series: site berlin may have 10 series and has 0, 2 more are granted to other gateways; \
                  raise series_per_site_max to 11 or more, or forget series";
    assert_eq!(refused, wanted);
    assert_eq!(quota.fits(&both, first, 10), Ok(()), "its own grant is its own");
}

#[test]
fn pending_series_count_once_and_until_they_arrive() {
    let mut quota = Quota::new(Bounds { total: 3, site: 3, gateway: 3 });
    let of = &ids()[0];
    let keys: Vec<_> = ["a", "b"].map(|metric| key("d", metric, &[])).into();
    quota.reserve(of, &keys);
    quota.reserve(of, &keys);
    assert!(quota.is_pending(of, &keys[0]) && !quota.is_pending(&ids()[1], &keys[0]));
    assert_eq!(quota.fits(&[], of, 1), Ok(()));
    assert!(
        quota.fits(&[], of, 2).unwrap_err().contains("gateway berlin/g1 may have 3 series and has 2; raise")
    );
    quota.release(of, &keys);
    assert_eq!(quota.fits(&[], of, 3), Ok(()));
    let series = [Usage { gateway: of, series: 2, forgotten: 0 }];
    assert!(quota.fits(&series, of, 2).is_err());
}

#[test]
fn a_new_folder_may_hold_the_names_of_the_lost_one() {
    let mut quota = Quota::new(Bounds { total: 10, site: 10, gateway: 10 });
    let of = &ids()[0];
    let full = [Usage { gateway: of, series: 10, forgotten: 0 }];
    assert_eq!(quota.budget(&full, of, 1), 10);
    assert_eq!(quota.budget(&full, of, 2), 10, "another epoch, the same devices");
    // A store that held more than its limit from the beginning keeps it.
    let over = [Usage { gateway: of, series: 12, forgotten: 0 }];
    assert_eq!(quota.budget(&over, of, 2), 12);
    let refused = quota.fits(&over, of, 1).unwrap_err();
    assert!(refused.contains("may have 10 series and has 12; raise series_per_gateway_max to 13 or more"));
    assert_eq!(quota.fits(&over, of, 0), Ok(()));
}

#[test]
fn forgetting_makes_room_at_the_gateway_that_filled_the_limit() {
    let mut quota = Quota::new(Bounds { total: 100, site: 100, gateway: 10 });
    let of = &ids()[0];
    assert_eq!(quota.budget(&[Usage { gateway: of, series: 10, forgotten: 0 }], of, 1), 10);
    let after = [Usage { gateway: of, series: 4, forgotten: 6 }];
    assert_eq!(quota.budget(&after, of, 1), 16, "its folder still has all ten names");
}

#[test]
fn a_nearly_reached_limit_is_reported_once() {
    let mut quota = Quota::new(Bounds { total: 1000, site: 100, gateway: 10 });
    let of = &ids()[0];
    let warn = |quota: &mut Quota, series| quota.warnings(&[Usage { gateway: of, series, forgotten: 0 }], of);
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
