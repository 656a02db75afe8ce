//! The open windows of one series, in order of their start.
//!
//! Most series have one or two, in a vector of exact size. A device that sends its history opens hundreds of
//! thousands: more than [`FEW`] move into a tree, so that the cost to find, open and close one depends little on
//! their number and order.

use std::{collections::BTreeMap, ops::Bound};

use catchment_partial::{Partial, Window};

/// Most windows in a vector, which is searched linearly.
const FEW: usize = 16;
/// A tree with fewer becomes a vector again: fewer than [`FEW`], so that opening and closing one window in turn does
/// not move all of them each time.
const MANY: usize = FEW / 2;

/// An open window of a series.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) window: Window,
    pub(super) part: u64,
    pub(super) revision: u64,
    /// Position by which it falls due: its part, unless damage to the journal may have taken the entry that opened it.
    pub(super) due_position: u64,
    pub(super) partial: Partial,
}

/// Open windows, each once.
#[derive(Clone, Debug)]
pub(super) enum Windows {
    /// In order.
    Few(Vec<Open>),
    Many(BTreeMap<Window, Open>),
}

impl Default for Windows {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Windows {
    /// Whether none is open.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Few(few) => few.is_empty(),
            Self::Many(many) => many.is_empty(),
        }
    }

    /// The window, if it is open.
    pub(super) fn get(&self, window: Window) -> Option<&Open> {
        match self {
            Self::Few(few) => few.iter().rfind(|open| open.window == window),
            Self::Many(many) => many.get(&window),
        }
    }

    /// The window, and whether `new` opened it just now.
    pub(super) fn get_or_open(&mut self, window: Window, new: impl FnOnce() -> Open) -> (&mut Open, bool) {
        if let Self::Few(few) = self
            && few.len() >= FEW
            && few.iter().all(|open| open.window != window)
        {
            *self = Self::Many(few.drain(..).map(|open| (open.window, open)).collect());
        }
        match self {
            Self::Few(few) => {
                let found = few.iter().rposition(|open| open.window <= window);
                let at = found.map_or(0, |at| at + 1);
                match found {
                    Some(found) if few.get(found).is_some_and(|open| open.window == window) => {
                        (few.get_mut(found).expect("found above"), false)
                    }
                    _ => {
                        // Ten thousands of series mostly have one window.
                        few.reserve_exact(1);
                        few.insert(at, new());
                        (few.get_mut(at).expect("put there above"), true)
                    }
                }
            }
            Self::Many(many) => {
                let mut opened = false;
                let open = many.entry(window).or_insert_with(|| {
                    opened = true;
                    new()
                });
                (open, opened)
            }
        }
    }

    /// Closes a window.
    pub(super) fn remove(&mut self, window: Window) -> Option<Open> {
        match self {
            Self::Few(few) => {
                let at = few.iter().position(|open| open.window == window)?;
                Some(few.remove(at))
            }
            Self::Many(many) => {
                let open = many.remove(&window)?;
                if many.len() < MANY {
                    *self = Self::Few(std::mem::take(many).into_values().collect());
                }
                Some(open)
            }
        }
    }

    /// All of them, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Open> {
        self.after(None)
    }

    /// Those after a window, or all of them, in order.
    pub(super) fn after(&self, window: Option<Window>) -> impl Iterator<Item = &Open> {
        let (few, many) = match self {
            Self::Few(few) => (Some(few.iter()), None),
            Self::Many(many) => {
                let first = window.map_or(Bound::Unbounded, Bound::Excluded);
                (None, Some(many.range((first, Bound::Unbounded)).map(|(_, open)| open)))
            }
        };
        let few = few.into_iter().flatten().filter(move |open| Some(open.window) > window);
        few.chain(many.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use catchment_partial::Width;
    use proptest::prelude::*;

    use super::*;

    fn window(index: i64, width: u32) -> Window {
        Window::from_index(index, Width::from_millis(width).unwrap()).unwrap()
    }

    fn open(window: Window, part: u64) -> Open {
        Open { window, part, revision: part, due_position: part, partial: Partial::empty() }
    }

    proptest! {
        #[test]
        fn windows_are_those_of_a_map_in_its_order(
            steps in prop::collection::vec((any::<bool>(), 0_i64..60, 0_u32..2), 0..400),
        ) {
            let (mut windows, mut model) = (Windows::default(), BTreeMap::new());
            for (at, (opens, index, width)) in steps.into_iter().enumerate() {
                let window = window(index, 1_000 + width);
                let at = at as u64;
                if opens {
                    let (found, new) = windows.get_or_open(window, || open(window, at));
                    prop_assert_eq!(new, !model.contains_key(&window));
                    prop_assert_eq!(found.part, *model.entry(window).or_insert(at));
                } else {
                    prop_assert_eq!(windows.remove(window).map(|open| open.part), model.remove(&window));
                }
                prop_assert_eq!(windows.get(window).map(|open| open.part), model.get(&window).copied());
                let listed: Vec<_> = windows.iter().map(|open| (open.window, open.part)).collect();
                prop_assert_eq!(listed, model.iter().map(|(w, p)| (*w, *p)).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_tree_is_given_up_when_few_are_left() {
        let mut windows = Windows::default();
        for index in 0..100 {
            windows.get_or_open(window(index, 1_000), || open(window(index, 1_000), 1));
        }
        assert!(matches!(windows, Windows::Many(_)));
        for index in 0..96 {
            assert!(windows.remove(window(index, 1_000)).is_some());
        }
        assert!(matches!(&windows, Windows::Few(few) if few.len() == 4));
    }
}
