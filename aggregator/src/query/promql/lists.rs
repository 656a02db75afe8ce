//! Lists of series, label names and label values, collected page by page.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use bytes::Bytes;
use catchment_promql::{Labels, METRIC_NAME, Matcher};

use super::{
    super::{error::QueryError, sink::Sink},
    ListRequest, Listing,
    select::Naming,
    views::{self, View},
};
use crate::{
    selector::label_value,
    store::{QueryStore, SeriesEntry},
};

/// Entries between two yield points.
const CHECK_EVERY: usize = 16;
/// Approximate memory of an item without its text.
const ITEM_BYTES: usize = 64;
/// Texts that were seen lately, so that most are not looked up among all.
const SEEN_MAX: usize = 1_024;

/// Items of a list, sorted; beyond the limit, the greatest are left out.
struct Items<T> {
    items: BTreeSet<T>,
    limit: usize,
    truncated: bool,
    bytes: usize,
}

impl<T: Ord> Items<T> {
    fn new(limit: Option<usize>) -> Self {
        Self { items: BTreeSet::new(), limit: limit.unwrap_or(usize::MAX), truncated: false, bytes: 0 }
    }

    fn insert(&mut self, item: T, bytes: impl Fn(&T) -> usize) {
        let added = ITEM_BYTES + bytes(&item);
        if !self.items.insert(item) {
            return;
        }
        self.bytes += added;
        if self.items.len() > self.limit {
            self.truncated = true;
            let removed = self.items.pop_last().map_or(0, |item| ITEM_BYTES + bytes(&item));
            self.bytes = self.bytes.saturating_sub(removed);
        }
    }

    fn finish(self) -> Listing<T> {
        Listing { items: self.items.into_iter().collect(), truncated: self.truncated }
    }
}

/// Visits the series of a request, once for each of its lists of matchers. `visit` returns how many bytes are held.
async fn each(
    store: &dyn QueryStore,
    request: &ListRequest,
    sink: &Sink<Bytes>,
    mut visit: impl FnMut(&[Matcher], &View, &SeriesEntry) -> usize,
) -> Result<(), QueryError> {
    let all: Arc<[Matcher]> = Arc::new([]);
    let matches = if request.matches.is_empty() { std::slice::from_ref(&all) } else { &*request.matches };
    let mut bytes = 0;
    for matchers in matches {
        let views = if matchers.is_empty() { vec![View::all()] } else { views::views(matchers)? };
        for view in &views {
            let mut selection = store.select(&view.selector);
            loop {
                sink.yield_point().await?;
                let Some(page) = selection.next_page() else { break };
                for (number, entry) in page.iter().enumerate() {
                    if number % CHECK_EVERY == CHECK_EVERY - 1 {
                        sink.yield_point().await?;
                    }
                    let (first, last) = (entry.windows.0.as_millis(), entry.windows.1.as_millis());
                    let in_range = first < request.to_ms && last >= request.from_ms;
                    if in_range && view.admits(entry.key.metric.as_str()) {
                        bytes = visit(matchers, view, entry);
                    }
                }
                sink.set_memory(bytes.saturating_add(selection.memory()))?;
            }
        }
    }
    Ok(())
}

/// The labels of the series.
///
/// # Errors
/// What ends the query.
pub(super) async fn series(
    store: &dyn QueryStore,
    request: &ListRequest,
    sink: &Sink<Bytes>,
) -> Result<Listing<Labels>, QueryError> {
    let mut items = Items::new(request.limit);
    let mut naming = HashMap::<bool, Naming<'static>>::new();
    let mut texts = 0;
    each(store, request, sink, |matchers, view, entry| {
        let with_gateway = matchers.iter().any(|matcher| &*matcher.label == "gateway");
        let naming = naming.entry(with_gateway).or_insert_with(|| Naming::new(matchers, None));
        let (labels, new) = naming.labels(view, entry);
        texts += new;
        items.insert(labels, |labels| labels.len() * size_of::<(Arc<str>, Arc<str>)>());
        items.bytes + texts
    })
    .await?;
    Ok(items.finish())
}

/// The names of their labels.
///
/// # Errors
/// What ends the query.
pub(super) async fn label_names(
    store: &dyn QueryStore,
    request: &ListRequest,
    sink: &Sink<Bytes>,
) -> Result<Listing<Arc<str>>, QueryError> {
    let mut items = Items::new(request.limit);
    let mut seen = Seen::default();
    each(store, request, sink, |matchers, _, entry| {
        for (name, value) in Naming::new(matchers, None).each(entry, METRIC_NAME) {
            if !value.is_empty() && seen.is_new(name) {
                items.insert(Arc::from(name), |name: &Arc<str>| name.len());
            }
        }
        items.bytes
    })
    .await?;
    Ok(items.finish())
}

/// The values of one of their labels.
///
/// # Errors
/// What ends the query.
pub(super) async fn label_values(
    store: &dyn QueryStore,
    label: &str,
    request: &ListRequest,
    sink: &Sink<Bytes>,
) -> Result<Listing<Arc<str>>, QueryError> {
    let mut items = Items::new(request.limit);
    let mut seen = Seen::default();
    each(store, request, sink, |_, view, entry| {
        let value = label_value(&entry.gateway, &entry.key, label);
        if label == METRIC_NAME && view.is_windows {
            let name = views::name_of(value, true);
            if seen.is_new(&name) {
                items.insert(Arc::from(name), |name: &Arc<str>| name.len());
            }
        } else if !value.is_empty() && seen.is_new(value) {
            items.insert(Arc::from(value), |value: &Arc<str>| value.len());
        }
        items.bytes
    })
    .await?;
    Ok(items.finish())
}

/// Texts that were seen lately.
#[derive(Default)]
struct Seen(hashbrown::HashSet<Box<str>>);

impl Seen {
    fn is_new(&mut self, text: &str) -> bool {
        if self.0.contains(text) {
            return false;
        }
        if self.0.len() >= SEEN_MAX {
            self.0.clear();
        }
        self.0.insert(text.into());
        true
    }
}
