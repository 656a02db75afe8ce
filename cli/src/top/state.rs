//! View, filter, order and selected row, and what keys do. Rows keep their places while values change.

use std::{collections::HashMap, sync::Arc};

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{
    fetch::{Data, Wanted},
    rows::{Key, Page, Row},
    spark::Glyphs,
};
use crate::args::View;

/// Longest filter, in characters.
const FILTER_MAX: usize = 60;
/// Most rows of a page: more than any screen shows, so that moving by some lines asks nothing.
pub(super) const PAGE_ROWS: usize = 500;
/// How near to an end of the page the selected row may come.
const PAGE_MARGIN: usize = 100;

/// The order of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    /// By name.
    #[default]
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

/// Which rows of a view are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// A part of their names, in lower case; empty: all.
    pub(super) search: String,
    pub(super) sort: Sort,
    /// Rows to leave out at the beginning.
    pub(super) offset: usize,
    /// Counts requests to ask and sort at once.
    pub(super) refreshes: u64,
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
    /// The first row of the page that is asked for.
    offset: usize,
    /// Where to go as soon as the page that is asked for is there.
    jump: Option<Jump>,
}

#[derive(Clone, Copy, Debug)]
enum Jump {
    First,
    Last,
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
            offset: 0,
            jump: None,
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

    /// What is asked for.
    fn asked(&self) -> Asked {
        let Self { sort, offset, refreshes, .. } = *self;
        Asked { search: self.filter.to_lowercase(), sort, offset, refreshes }
    }

    /// The page that the rows are, if they are one.
    fn part(&self) -> Option<&Page> {
        self.data.rows.as_ref()?.page.as_ref()
    }

    /// The page, if it is searched for what the filter is now.
    fn found(&self) -> Option<&Page> {
        self.part().filter(|page| page.asked.search == self.filter.to_lowercase())
    }

    /// Number of rows of the view, before the filter; `None`: not known yet.
    pub(super) fn total(&self) -> Option<usize> {
        let rows = self.data.rows.as_ref()?;
        Some(rows.page.as_ref().map_or(rows.list.len(), |page| page.total))
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

    /// Number of rows that the filter lets pass, of other pages too.
    pub(super) fn count(&self) -> usize {
        self.found().map_or(self.order.len(), |page| page.found)
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
        let before = self.part().map(|page| page.asked.clone());
        self.data = data;
        let now = self.part().map(|page| page.asked.clone());
        let mut jump = None;
        if let Some(now) = now
            && before.as_ref() != Some(&now)
        {
            jump = self.jump.take_if(|_| now.offset == self.offset);
            // Other rows, or another order: they get their places anew. The same rows stay where they are on the screen.
            self.places.clear();
            let start = before.map_or(0, |before| before.offset);
            let moved = |place: usize| (place + start).saturating_sub(now.offset);
            (self.selected, self.top) = (moved(self.selected), moved(self.top));
        }
        self.arrange();
        match jump {
            Some(Jump::First) => self.select(0),
            Some(Jump::Last) => self.select(usize::MAX),
            None => {}
        }
    }

    /// What to ask for, if so many rows fit.
    pub(super) fn wanted(&mut self, page: usize) -> Wanted {
        self.page = page.max(1);
        self.scroll();
        self.follow();
        let visible = self.shown().skip(self.top).take(page.min(super::fetch::SPARKS_MAX));
        Wanted { view: self.view, visible: visible.map(|row| row.key.clone()).collect(), asked: self.asked() }
    }

    /// Asks for another page when the selected row comes near an end of this one.
    fn follow(&mut self) {
        let Some(page) = self.found().filter(|page| page.asked.offset == self.offset) else { return };
        let (found, rows) = (page.found, self.order.len());
        let near_start = self.selected < PAGE_MARGIN && self.offset > 0;
        let near_end = self.selected + PAGE_MARGIN >= rows && self.offset + rows < found;
        if near_start || near_end {
            let middle = (self.offset + self.selected).saturating_sub(PAGE_ROWS / 2);
            self.offset = middle.min(found.saturating_sub(PAGE_ROWS));
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
        // What the aggregator searched for is found; until it has, what is here is filtered.
        let filter = if self.found().is_some() { String::new() } else { self.filter.to_lowercase() };
        let mut order: Vec<(usize, &Row)> =
            rows.list.iter().enumerate().filter(|(_, row)| row.matches(&filter)).collect();
        let is_by_name = rows.page.as_ref().is_none_or(|page| page.asked.sort == Sort::Name);
        match self.sort {
            Sort::Name if is_by_name => {}
            Sort::Name => order.sort_by(|(_, a), (_, b)| a.key.cmp(&b.key)),
            _ => order.sort_by_key(|(_, row)| self.places.get(&row.key).copied().unwrap_or(usize::MAX)),
        }
        self.order = order.into_iter().map(|(index, _)| index).collect();
        let key = self.selected_key.as_ref();
        let place = key.and_then(|key| self.shown().position(|row| row.key == *key));
        self.select(place.unwrap_or(self.selected));
    }

    /// Gives all rows their places anew.
    fn place(&mut self, list: &[Row]) {
        let mut sorted: Vec<&Row> = list.iter().collect();
        // A page has the order that was asked for.
        let has_order = self
            .part()
            .is_some_and(|page| (page.asked.sort, page.asked.refreshes) == (self.sort, self.refreshes));
        match self.sort {
            _ if has_order => {}
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
            self.select_start();
            self.sort_anew();
        }
    }

    /// Selects the first row.
    fn select_start(&mut self) {
        self.selected_key = None;
        (self.selected, self.top, self.offset, self.jump) = (0, 0, 0, Some(Jump::First));
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
        (self.offset, self.jump) = (0, Some(Jump::First));
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
                self.select_start();
                self.sort_anew();
            }
            KeyCode::Char('r') => {
                self.refreshes += 1;
                self.sort_anew();
            }
            KeyCode::Esc => {
                self.filter.clear();
                (self.offset, self.jump) = (0, Some(Jump::First));
                self.arrange();
            }
            code => self.move_key(code),
        }
        Next::Continue
    }

    fn move_key(&mut self, code: KeyCode) {
        self.jump = None;
        match code {
            KeyCode::Up | KeyCode::Char('k') => self.select(self.selected.saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.select(self.selected + 1),
            KeyCode::PageUp => self.select(self.selected.saturating_sub(self.page)),
            KeyCode::PageDown => self.select(self.selected + self.page),
            KeyCode::Home | KeyCode::Char('g') => {
                self.select_start();
                self.select(0);
            }
            KeyCode::End | KeyCode::Char('G') => {
                self.offset = self.count().saturating_sub(PAGE_ROWS);
                self.jump = Some(Jump::Last);
                self.select(usize::MAX);
            }
            _ => {}
        }
    }
}
