//! The state as a picture: views, status, rows, keys.

use catchment_settings::text::printable;
use ratatui::{
    Frame,
    layout::{Constraint, Layout},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Cell, Row as TableRow, Table, TableState},
};

use super::{
    Look, rows,
    rows::{key_columns, noun, short_span},
    spark::Glyphs,
    state::State,
};
use crate::args::View;

/// Rows of the screen that are not the table's: views, status, header, keys.
const OTHER_ROWS: u16 = 4;

/// Characters of a name, with which rows can be told apart.
const NAME_LEAST: usize = 8;

/// How many rows of the table fit.
pub(super) fn page(height: u16) -> usize {
    usize::from(height.saturating_sub(OTHER_ROWS).max(1))
}

impl Look {
    fn coloured(self, colour: Color, modifier: Modifier) -> Style {
        let style = Style::new().add_modifier(modifier);
        if self.colours { style.fg(colour) } else { style }
    }

    /// A text that a terminal, and its character set, can show.
    fn text(self, text: &str) -> String {
        let text = printable(text);
        match self.glyphs {
            Glyphs::Unicode => text,
            Glyphs::Ascii => text.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect(),
        }
    }
}

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, state: &State, look: Look, server: &str, now_ms: i64) {
    let parts = [Constraint::Length(1), Constraint::Length(1), Constraint::Fill(1), Constraint::Length(1)];
    let [views, status, table, keys] = Layout::vertical(parts).areas(frame.area());
    frame.render_widget(views_line(state.view(), look, server), views);
    frame.render_widget(status_line(state, look, now_ms), status);
    let mut place = TableState::new();
    place.select((state.count() > 0).then(|| state.selected().saturating_sub(state.top)));
    frame.render_stateful_widget(
        the_table(state, look, now_ms, (table.width, page(frame.area().height))),
        table,
        &mut place,
    );
    let help = match state.typing {
        true => "type a filter  Enter keep  Esc clear",
        false => "1-4 view  / filter  s sort  r refresh  arrows move  q quit",
    };
    frame.render_widget(Line::styled(help, look.coloured(Color::DarkGray, Modifier::empty())), keys);
}

fn views_line(view: View, look: Look, server: &str) -> Line<'static> {
    let mut spans = Vec::new();
    for (number, other) in (1..).zip([View::Sites, View::Gateways, View::Devices, View::Metrics]) {
        let style = if other == view { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() };
        spans.push(Span::styled(format!(" {number} {} ", noun(other)), style));
    }
    spans.push(Span::raw(format!("  {}", look.text(server))));
    Line::from(spans)
}

/// How many rows there are and how old they are; during an outage, why.
fn status_line(state: &State, look: Look, now_ms: i64) -> Line<'static> {
    let data = state.data();
    if let Some((since, why)) = &data.trouble {
        let lasted = short_span(now_ms.saturating_sub(*since));
        let line = format!("NO ANSWER for {lasted}, retrying: {}", look.text(why));
        return Line::styled(line, look.coloured(Color::Red, Modifier::BOLD));
    }
    let Some(total) = state.total() else { return Line::raw("asking the aggregator") };
    let more = if state.is_cut() { "more than " } else { "" };
    let mut line = format!("{more}{total} {}", noun(state.view()));
    if state.typing || !state.filter().is_empty() {
        let cursor = if state.typing { "_" } else { "" };
        line += &format!(", {} with /{}{cursor}", state.count(), look.text(state.filter()));
    }
    let age = short_span(now_ms.saturating_sub(data.at_ms));
    line += &format!(", sort: {}, {age} old", state.sort().name());
    Line::raw(line)
}

/// How many columns beside the names fit: on a narrow terminal those at the right go first.
fn fitting(view: View, width: u16) -> usize {
    let names = key_columns(view);
    let rest = rows::widths(view);
    let takes = |shown: usize| {
        let widths = rest.iter().take(shown).map(|width| usize::from(*width) + 1).sum::<usize>();
        names * (NAME_LEAST + 1) + widths
    };
    (1..=rest.len()).rev().find(|shown| takes(*shown) <= usize::from(width) + 1).unwrap_or(1)
}

/// The rows that are on the screen, of a width and a number of rows.
fn the_table(state: &State, look: Look, now_ms: i64, (width, page): (u16, usize)) -> Table<'static> {
    let view = state.view();
    let names = key_columns(view);
    // A device's name is longer than that of its site.
    let name = |column: usize| Constraint::Fill(if column + 1 == names { 2 } else { 1 });
    let shown = fitting(view, width);
    let rest = rows::widths(view).iter().take(shown).map(|width| Constraint::Length(*width));
    let widths = (0..names).map(name).chain(rest);
    let columns = names + shown;
    let last = rows::header(view).len() - 1;
    let aligned = |column: usize, text: String| {
        let line = Line::raw(text);
        Cell::new(if column < names || column == last { line } else { line.right_aligned() })
    };
    let header = rows::header(view)
        .iter()
        .take(columns)
        .enumerate()
        .map(|(column, text)| aligned(column, (*text).to_owned()));
    let header = TableRow::new(header).style(Style::new().add_modifier(Modifier::BOLD));
    let rows = state.shown().skip(state.top).take(page).map(|row| {
        let cells = state.cells(row, look.glyphs, now_ms).into_iter().take(columns).enumerate();
        let cells =
            cells.map(|(column, text)| aligned(column, if column < names { look.text(&text) } else { text }));
        let style = match row.is_problem(now_ms) {
            true => look.coloured(Color::Red, Modifier::BOLD),
            false => Style::new(),
        };
        TableRow::new(cells).style(style)
    });
    Table::new(rows, widths)
        .header(header)
        .column_spacing(1)
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_room_on_narrow_terminals() {
        for view in [View::Sites, View::Gateways, View::Devices, View::Metrics] {
            let all = rows::widths(view).len();
            assert_eq!(fitting(view, 120), all);
            assert!(fitting(view, 40) < all && fitting(view, 20) == 1, "{view:?}");
        }
        // The sparkline stays at 80 columns.
        assert_eq!(fitting(View::Devices, 80), rows::widths(View::Devices).len());
    }
}
