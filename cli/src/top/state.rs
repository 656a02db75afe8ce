//! View, filter, order and selected row, and what keys do. Rows keep their places while values change.

use std::{collections::HashMap, sync::Arc};

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{
    fetch::{Data, Wanted},
    rows::{Key, Row},
    spark::Glyphs,
};
use crate::args::View;

/// Longest filter, in characters.
const FILTER_MAX: usize = 60;

/// The order of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// By name.
    Name,
    /// The worst first: down, lag, not seen for long.
    Worst,
    /// Those with most series first.
    Series,
}

impl Sort {
    /// For people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Worst => "worst first",
            Self::Series => "most series",
        }
    }

    fn next(self) -> Self {
        match self {
            Self::Name => Self::Worst,
            Self::Worst => Self::Series,
            Self::Series => Self::Name,
        }
    }
}

/// What a key led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Continue,
    Quit,
}

/// All that the screen shows.
#[derive(Debug)]
pub(super) struct State {
    view: View,
    data: Data,
    filter: String,
    /// Whether keys write the filter.
    pub(super) typing: bool,
    sort: Sort,
    /// The places of rows, fixed when the order was chosen; rows that came later follow.
    places: HashMap<Key, usize>,
    /// Indices of the rows shown, in order.
    order: Vec<usize>,
    selected: usize,
    selected_key: Option<Key>,
    /// The first row on the screen, and how many fit.
    pub(super) top: usize,
    page: usize,
    refreshes: u64,
}

impl State {
    pub(super) fn new(view: View, filter: &str) -> Self {
        Self {
            view,
            data: Data { view, ..Data::default() },
            filter: filter.chars().take(FILTER_MAX).collect(),
            typing: false,
            sort: Sort::Name,
            places: HashMap::new(),
            order: Vec::new(),
            selected: 0,
            selected_key: None,
            top: 0,
            page: 20,
            refreshes: 0,
        }
    }

    pub(super) fn view(&self) -> View {
        self.view
    }

    pub(super) fn filter(&self) -> &str {
        &self.filter
    }

    pub(super) fn sort(&self) -> Sort {
        self.sort
    }

    /// What was said last, of any view.
    pub(super) fn data(&self) -> &Data {
        &self.data
    }

    /// The selected row, counted among those shown.
    pub(super) fn selected(&self) -> usize {
        self.selected
    }

    /// Number of rows of the view, before the filter; `None`: not known yet.
    pub(super) fn total(&self) -> Option<usize> {
        self.data.rows.as_ref().map(|rows| rows.list.len())
    }

    /// Whether there are more rows than those.
    pub(super) fn is_cut(&self) -> bool {
        self.data.rows.as_ref().is_some_and(|rows| rows.cut)
    }

    /// The rows that the filter lets pass, in order.
    pub(super) fn shown(&self) -> impl Iterator<Item = &Row> {
        let list = self.data.rows.as_ref().map_or(&[][..], |rows| &rows.list);
        self.order.iter().filter_map(|index| list.get(*index))
    }

    /// Their number.
    pub(super) fn count(&self) -> usize {
        self.order.len()
    }

    /// All cells of a row.
    pub(super) fn cells(&self, row: &Row, glyphs: Glyphs, now_ms: i64) -> Vec<String> {
        let spark = self.data.sparks.get(&row.key);
        let latest =
            spark.and_then(|spark| spark.latest()).map_or_else(|| "-".to_owned(), super::rows::short_number);
        let line = spark.map(|spark| spark.text(glyphs, self.view != View::Metrics)).unwrap_or_default();
        row.key.iter().cloned().chain(row.cells(now_ms)).chain([latest, line]).collect()
    }

    /// Takes what the aggregator said. Of another view than the one shown, it only says whether it answers.
    pub(super) fn take(&mut self, data: Data) {
        if data.view != self.view {
            self.data.trouble = data.trouble;
            return;
        }
        self.data = data;
        self.arrange();
    }

    /// What to ask for, if so many rows fit.
    pub(super) fn wanted(&mut self, page: usize) -> Wanted {
        self.page = page.max(1);
        self.scroll();
        let visible = self.shown().skip(self.top).take(page.min(super::fetch::SPARKS_MAX));
        Wanted {
            view: self.view,
            visible: visible.map(|row| row.key.clone()).collect(),
            refreshes: self.refreshes,
        }
    }

    /// Chooses and orders the rows to show.
    fn arrange(&mut self) {
        let Some(rows) = self.data.rows.as_ref().map(Arc::clone) else {
            self.order.clear();
            return;
        };
        if self.places.is_empty() {
            self.place(&rows.list);
        } else {
            for row in &rows.list {
                let next = self.places.len();
                self.places.entry(row.key.clone()).or_insert(next);
            }
        }
        let filter = self.filter.to_lowercase();
        let mut order: Vec<(usize, &Row)> =
            rows.list.iter().enumerate().filter(|(_, row)| row.matches(&filter)).collect();
        // They come in order of their names.
        if self.sort != Sort::Name {
            order.sort_by_key(|(_, row)| self.places.get(&row.key).copied().unwrap_or(usize::MAX));
        }
        self.order = order.into_iter().map(|(index, _)| index).collect();
        let key = self.selected_key.as_ref();
        let place = key.and_then(|key| self.shown().position(|row| row.key == *key));
        self.select(place.unwrap_or(self.selected));
    }

    /// Gives all rows their places anew.
    fn place(&mut self, list: &[Row]) {
        let mut sorted: Vec<&Row> = list.iter().collect();
        match self.sort {
            Sort::Name => {}
            Sort::Worst => sorted.sort_by_key(|row| std::cmp::Reverse(row.badness())),
            Sort::Series => sorted.sort_by_key(|row| std::cmp::Reverse(row.series())),
        }
        self.places = sorted.into_iter().enumerate().map(|(place, row)| (row.key.clone(), place)).collect();
    }

    fn select(&mut self, place: usize) {
        self.selected = place.min(self.order.len().saturating_sub(1));
        let key = self.shown().nth(self.selected).map(|row| row.key.clone());
        self.selected_key = key;
        self.scroll();
    }

    /// Keeps the selected row on the screen.
    fn scroll(&mut self) {
        self.top = self.top.clamp((self.selected + 1).saturating_sub(self.page), self.selected);
    }

    fn show(&mut self, view: View) {
        if view != self.view {
            let trouble = self.data.trouble.take();
            self.view = view;
            self.data = Data { view, trouble, ..Data::default() };
            self.selected_key = None;
            (self.selected, self.top) = (0, 0);
            self.sort_anew();
        }
    }

    fn sort_anew(&mut self) {
        self.places.clear();
        self.arrange();
    }

    /// What a key does.
    pub(super) fn key(&mut self, key: KeyEvent) -> Next {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return if key.code == KeyCode::Char('c') { Next::Quit } else { Next::Continue };
        }
        if self.typing {
            self.type_key(key.code)
        } else {
            return self.command_key(key.code);
        }
        Next::Continue
    }

    fn type_key(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.typing = false,
            KeyCode::Esc => {
                self.typing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char(character) if self.filter.chars().count() < FILTER_MAX => {
                self.filter.push(character)
            }
            _ => {}
        }
        self.arrange();
    }

    fn command_key(&mut self, code: KeyCode) -> Next {
        match code {
            KeyCode::Char('q') => return Next::Quit,
            KeyCode::Char('1') => self.show(View::Sites),
            KeyCode::Char('2') => self.show(View::Gateways),
            KeyCode::Char('3') => self.show(View::Devices),
            KeyCode::Char('4') => self.show(View::Metrics),
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Char('s') => {
                self.sort = self.sort.next();
                // The first rows are why it was chosen.
                self.selected_key = None;
                (self.selected, self.top) = (0, 0);
                self.sort_anew();
            }
            KeyCode::Char('r') => {
                self.refreshes += 1;
                self.sort_anew();
            }
            KeyCode::Esc => {
                self.filter.clear();
                self.arrange();
            }
            KeyCode::Up | KeyCode::Char('k') => self.select(self.selected.saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.select(self.selected + 1),
            KeyCode::PageUp => self.select(self.selected.saturating_sub(self.page)),
            KeyCode::PageDown => self.select(self.selected + self.page),
            KeyCode::Home | KeyCode::Char('g') => self.select(0),
            KeyCode::End | KeyCode::Char('G') => self.select(usize::MAX),
            _ => {}
        }
        Next::Continue
    }
}
