//! The rows of several tables and of memory in order, some at a time.

use std::{cmp::Reverse, collections::BinaryHeap, collections::VecDeque, ops::Range, sync::Arc};

use catchment_partial::{Timestamp, Window};

use crate::store::{
    ROWS_A_CALL,
    memtable::row::PartialName,
    tables::{
        block::{BlockCursor, TableBlock},
        build::REPLACES,
        fresh::FreshRows,
        resolution::Resolution,
    },
};

/// Where rows of one series come from.
struct Rows {
    series: u32,
    from: Timestamp,
    to: Timestamp,
    is_windows: bool,
}

/// Rows of one series that start in a span, in order. Of windows, the highest revision of each name; of merged rows all,
/// but not those in place of which a younger table has another.
pub(super) struct SortedRows {
    rows: Rows,
    /// The youngest table first, then memory.
    sources: Vec<Source>,
    /// The next row of each source.
    next: BinaryHeap<Reverse<Key>>,
    /// What starts here was visited: a name of windows, or the place of a row that replaces those of older tables.
    done: Option<PartialName>,
}

/// The order of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    /// Of merged rows, only start and width.
    name: PartialName,
    /// Greater for a lower revision of windows.
    age: u64,
    /// Place of the source.
    source: usize,
}

enum Source {
    Table(Box<TableRows>),
    /// Places of rows in memory.
    Fresh(Range<usize>),
}

/// The rows of a table.
struct TableRows {
    blocks: VecDeque<Arc<TableBlock>>,
    /// In the first block.
    cursor: BlockCursor,
    /// The row before the cursor.
    head: Option<Head>,
}

/// A row without its body, and where that is in the block.
struct Head {
    name: PartialName,
    revision: u64,
    body: Range<usize>,
}

impl SortedRows {
    /// Rows of a series that start in [from, to): of the blocks of each table, the youngest first, and of memory.
    pub(super) fn new(
        series: u32,
        (from, to): (Timestamp, Timestamp),
        resolution: Resolution,
        tables: impl Iterator<Item = VecDeque<Arc<TableBlock>>>,
        fresh: &FreshRows,
    ) -> Self {
        let rows = Rows { series, from, to, is_windows: resolution == Resolution::Windows };
        let tables = tables
            .filter_map(|blocks| TableRows::new(&rows, blocks))
            .map(|table| Source::Table(Box::new(table)));
        let in_memory = fresh.range(from, to);
        let in_memory = (!in_memory.is_empty()).then_some(Source::Fresh(in_memory));
        let mut sources: Vec<Source> = tables.chain(in_memory).collect();
        let mut next = BinaryHeap::with_capacity(sources.len());
        for (place, source) in sources.iter_mut().enumerate() {
            if let Source::Table(table) = source {
                table.advance(&rows);
            }
            next.extend(source.key(place, &rows, fresh).map(Reverse));
        }
        Self { rows, sources, next, done: None }
    }

    /// Visits the next rows; returns whether there are more.
    pub(super) fn emit(&mut self, fresh: &FreshRows, visit: &mut dyn FnMut(Window, &[u8])) -> bool {
        let mut left = ROWS_A_CALL;
        while left > 0
            && let Some(Reverse(first)) = self.next.pop()
        {
            self.run(first, &mut left, fresh, visit);
        }
        !self.next.is_empty()
    }

    /// Visits rows of one source as long as no other has one that comes before.
    fn run(
        &mut self,
        mut key: Key,
        left: &mut usize,
        fresh: &FreshRows,
        visit: &mut dyn FnMut(Window, &[u8]),
    ) {
        let Self { rows, sources, next, done } = self;
        let bound = next.peek().map(|Reverse(key)| *key);
        let (place, Some(source)) = (key.source, sources.get_mut(key.source)) else { return };
        while *left > 0 && bound.is_none_or(|bound| key < bound) {
            *left -= 1;
            // Rows in memory are parts of their own of an interval.
            let may_repeat = rows.is_windows || matches!(source, Source::Table(_));
            if !may_repeat || *done != Some(key.name) {
                let Some((name, revision, body)) = source.first(rows, fresh) else { return };
                visit(name.window(), body);
                if may_repeat && (rows.is_windows || revision == REPLACES) {
                    *done = Some(key.name);
                }
            }
            match source {
                Source::Fresh(places) => places.start += 1,
                Source::Table(table) => {
                    if bound.is_none() {
                        // Within a table each name, and each place, occurs once.
                        table.visit(rows, left, visit);
                    }
                    table.advance(rows);
                }
            }
            match source.key(place, rows, fresh) {
                Some(following) => key = following,
                None => return,
            }
        }
        next.push(Reverse(key));
    }

    /// Memory of blocks, bytes; other rows may be in them too.
    pub(super) fn memory(&self) -> usize {
        let blocks = self.sources.iter().filter_map(|source| match source {
            Source::Table(table) => Some(&table.blocks),
            Source::Fresh(_) => None,
        });
        blocks.flatten().map(|block| block.weight() as usize).sum()
    }
}

impl Source {
    /// The next row.
    fn first<'a>(&'a self, rows: &Rows, fresh: &'a FreshRows) -> Option<(PartialName, u64, &'a [u8])> {
        match self {
            Self::Fresh(places) => {
                let row = fresh.row(rows.series, places.start).filter(|_| !places.is_empty())?;
                Some((row.name, row.revision, row.body))
            }
            Self::Table(table) => {
                let head = table.head.as_ref()?;
                let body = table.blocks.front()?.content().get(head.body.clone())?;
                Some((head.name, head.revision, body))
            }
        }
    }

    fn key(&self, source: usize, rows: &Rows, fresh: &FreshRows) -> Option<Key> {
        let (name, revision) = match self {
            Self::Fresh(places) => {
                let (name, revision) = fresh.name(places.start).filter(|_| !places.is_empty())?;
                (*name, revision)
            }
            Self::Table(table) => table.head.as_ref().map(|head| (head.name, head.revision))?,
        };
        Some(match rows.is_windows {
            true => Key { name, age: u64::MAX - revision, source },
            false => Key { name: PartialName { epoch: 0, shard: 0, part: 0, ..name }, age: 0, source },
        })
    }
}

impl TableRows {
    fn new(rows: &Rows, blocks: VecDeque<Arc<TableBlock>>) -> Option<Self> {
        let cursor = blocks.front()?.cursor_of(rows.series, rows.from, rows.to);
        Some(Self { blocks, cursor, head: None })
    }

    /// Moves to the next row.
    fn advance(&mut self, rows: &Rows) {
        self.head = None;
        while let Some(block) = self.blocks.front() {
            if let Some(row) = self.cursor.next(block) {
                let end = self.cursor.body_end() as usize;
                let body = end.saturating_sub(row.body.len())..end;
                self.head = Some(Head { name: row.name, revision: row.revision, body });
                return;
            }
            self.next_block(rows);
        }
    }

    /// Visits the rows after the head.
    fn visit(&mut self, rows: &Rows, left: &mut usize, visit: &mut dyn FnMut(Window, &[u8])) {
        while *left > 0
            && let Some(block) = self.blocks.front()
        {
            while *left > 0 {
                let Some(row) = self.cursor.next(block) else {
                    self.next_block(rows);
                    break;
                };
                *left -= 1;
                visit(row.name.window(), row.body);
            }
        }
    }

    fn next_block(&mut self, rows: &Rows) {
        self.blocks.pop_front();
        if let Some(block) = self.blocks.front() {
            self.cursor = block.cursor_of(rows.series, rows.from, rows.to);
        }
    }
}
