//! Finds the series of an index that a selector selects, in steps of bounded work.
//!
//! A matcher adds the series with some values, or removes them. One that accepts the empty text, which a missing label
//! is, removes those that have the label with another value. Adding ones go first, cheapest first. Once few series are
//! left, the rest of the matchers are cheaper to check on each of them, which is left to the caller.

use std::ops::Range;

use regex::Regex;

use super::{
    automaton::{Automaton, Unknown},
    bits::Bits,
    lists::ListCursor,
    literals::Literals,
    postings::Postings,
};
use crate::selector::{Matcher, Selector, Test};

/// Work of a step, in bytes matched or decoded: some microseconds.
const STEP_WORK: usize = 8 << 10;
/// Work of testing a value, besides its bytes.
const VALUE_WORK: usize = 8;
/// Work of a value that the regex library matches: a step of its own.
const LIBRARY_WORK: usize = STEP_WORK;
/// Work of checking a single series with the whole selector.
const CHECK_WORK: usize = 256;
/// A text that a regular expression requires somewhere is searched for if there are this many values, and few of this
/// many samples have it. One that it requires at the end always is.
const SEARCH_VALUES_MIN: usize = if cfg!(test) { 4 } else { 2_048 };
const SAMPLES: usize = 64;
const SAMPLES_WITH_MAX: usize = 4;
/// Values searched in a step, and the work of it.
const SEARCHED_AT_ONCE: usize = 4_096;
const SEARCH_WORK: usize = STEP_WORK / 2;

/// The matchers of a selector, ready to be looked up in indexes.
pub(super) struct Matchers<'a> {
    all: Vec<Lookup<'a>>,
    selects_nothing: bool,
}

/// A matcher as a set of values whose series it adds or removes.
struct Lookup<'a> {
    label: &'a str,
    values: Values<'a>,
    /// The series that have the label, but none of the values.
    others: bool,
    removes: bool,
}

enum Values<'a> {
    One(&'a str),
    All,
    Matching { regex: &'a Regex, automaton: Option<Box<Automaton>>, literals: Literals },
}

impl<'a> Matchers<'a> {
    pub(super) fn new(selector: &'a Selector) -> Self {
        let mut matchers = Self { all: Vec::new(), selects_nothing: false };
        let count = selector.matchers().len();
        for Matcher { label, test } in selector.matchers() {
            let (values, others, removes) = match test {
                Test::Equal(text) if text.is_empty() => (Values::All, false, true),
                Test::NotEqual(text) if text.is_empty() => (Values::All, false, false),
                Test::Equal(text) => (Values::One(text), false, false),
                Test::NotEqual(text) => (Values::One(text), false, true),
                // `.*` and `.+` are frequent, and match everything.
                Test::Regex(regex) if regex.as_str() == r"\A(?s:.*)\z" => continue,
                Test::NotRegex(regex) if regex.as_str() == r"\A(?s:.*)\z" => {
                    matchers.selects_nothing = true;
                    continue;
                }
                Test::Regex(regex) if regex.as_str() == r"\A(?s:.+)\z" => (Values::All, false, false),
                Test::NotRegex(regex) if regex.as_str() == r"\A(?s:.+)\z" => (Values::All, false, true),
                Test::Regex(regex) | Test::NotRegex(regex) => {
                    let automaton = Automaton::new(regex.as_str(), count).map(Box::new);
                    let literals = Literals::of(regex.as_str());
                    (Values::Matching { regex, automaton, literals }, regex.is_match(""), test.passes(""))
                }
            };
            matchers.all.push(Lookup { label, values, others, removes });
        }
        matchers
    }

    /// Memory of the regular expressions, bytes.
    pub(super) fn bytes(&self) -> usize {
        let bytes = |lookup: &Lookup<'_>| match &lookup.values {
            Values::Matching { automaton: Some(automaton), .. } => automaton.bytes(),
            _ => 0,
        };
        size_of_val(self.all.as_slice()) + self.all.iter().map(bytes).sum::<usize>()
    }
}

impl Lookup<'_> {
    /// About how much work it is.
    fn work(&self, postings: &Postings) -> usize {
        let Some(label) = postings.find_label(self.label) else { return 0 };
        match &self.values {
            Values::All => postings.present_runs_about(label),
            Values::One(text) => {
                let value = postings.find_value(label, text);
                value.map_or(0, |value| postings.runs_about(value))
            }
            Values::Matching { automaton, literals, .. } => {
                let each = if automaton.is_some() { VALUE_WORK } else { CHECK_WORK };
                let values = postings.values_with_prefix(label, &literals.prefix);
                values.len() * each + postings.list_bytes(values)
            }
        }
    }

    /// What is required of some values and is found sooner than they are tested.
    fn filter(&self, postings: &Postings, values: &Range<usize>) -> Filter {
        let Values::Matching { literals, .. } = &self.values else { return Filter::None };
        if !literals.suffix.is_empty() {
            return Filter::Suffix;
        }
        let Some(text) = &literals.inner else { return Filter::None };
        if values.len() < SEARCH_VALUES_MIN {
            return Filter::None;
        }
        let samples = values.clone().step_by((values.len() / SAMPLES).max(1));
        let with = samples.filter(|value| text.find(postings.value(*value).as_bytes()).is_some());
        if with.count() <= SAMPLES_WITH_MAX { Filter::Text } else { Filter::None }
    }

    /// The first of some values that has what is required.
    fn find_required(&self, postings: &Postings, values: Range<usize>, filter: Filter) -> Option<usize> {
        let Values::Matching { literals, .. } = &self.values else { return None };
        match filter {
            Filter::None => Some(values.start),
            Filter::Suffix => postings.find_with_suffix(values, &literals.suffix),
            Filter::Text => postings.find_within(values, literals.inner.as_deref()?),
        }
    }

    /// How many bytes all values have in common that are tested, at least.
    const fn shared_by_all(&self) -> usize {
        match &self.values {
            Values::Matching { literals, .. } => literals.prefix.len(),
            _ => 0,
        }
    }

    /// Whether a value, which has its first `shared` bytes in common with the last one tested, is one of its values;
    /// and the next value to test.
    fn test(
        &mut self,
        postings: &Postings,
        value: usize,
        end: usize,
        shared: usize,
        work: &mut usize,
    ) -> (bool, usize) {
        let Values::Matching { regex, automaton, .. } = &mut self.values else { return (false, end) };
        let text = postings.value(value);
        if let Some(known) = automaton {
            match known.test(text.as_bytes(), shared) {
                Ok(verdict) => {
                    *work += VALUE_WORK + verdict.work;
                    let dead = verdict.dead_prefix.and_then(|len| text.as_bytes().get(..len));
                    let next = dead.map_or(value + 1, |prefix| postings.after_prefix(value..end, prefix));
                    return (verdict.matches, next);
                }
                Err(Unknown::Value) => {}
                Err(Unknown::All) => *automaton = None,
            }
        }
        *work += LIBRARY_WORK;
        (regex.is_match(text), value + 1)
    }
}

/// The search for the series of one index.
pub(super) struct Search {
    /// Matchers to look up, the next one last.
    rest: Vec<usize>,
    /// The series that the matchers so far select; `None`: all.
    selected: Option<Bits>,
    current: Option<Current>,
}

/// The lookup of one matcher.
struct Current {
    matcher: usize,
    found: Bits,
    /// To remove from `found` at the end.
    but_not: Option<Bits>,
    list: Option<List>,
    /// Values not tested yet.
    values: Range<usize>,
    /// Which of them are tested.
    filter: Filter,
    /// The value before the next one was tested, or all between that and the next share more with it than the next.
    continues: bool,
}

/// Values that do not have this are not tested.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Filter {
    None,
    /// The text at the end that the expression requires.
    Suffix,
    /// The text anywhere that the expression requires, and few seem to have.
    Text,
}

enum List {
    OfLabel(ListCursor),
    OfValue(ListCursor),
}

/// The result of a search.
pub(super) struct Found {
    /// The series selected.
    pub(super) series: Bits,
    /// Not all matchers were looked up: each series must be checked.
    pub(super) unchecked: bool,
}

impl Search {
    pub(super) fn new(matchers: &Matchers<'_>, postings: &Postings) -> Self {
        let mut rest: Vec<usize> = (0..matchers.all.len()).collect();
        let key = |matcher: &usize| matchers.all.get(*matcher).map(|m| (m.removes, m.work(postings)));
        rest.sort_by_cached_key(|matcher| std::cmp::Reverse(key(matcher)));
        let selected = matchers.selects_nothing.then(|| Bits::none(postings.len()));
        Self { rest, selected, current: None }
    }

    /// A step; the result once it is complete.
    pub(super) fn step(&mut self, matchers: &mut Matchers<'_>, postings: &Postings) -> Option<Found> {
        let Some(mut current) = self.current.take() else {
            return self.begin_next(matchers, postings);
        };
        let Some(lookup) = matchers.all.get_mut(current.matcher) else { return self.finish(postings, true) };
        if !current.step(lookup, postings) {
            self.current = Some(current);
            return None;
        }
        match &mut self.selected {
            Some(selected) if lookup.removes => selected.subtract(&current.found),
            Some(selected) => selected.intersect(&current.found),
            None if lookup.removes => {
                let mut all = Bits::all(postings.len());
                all.subtract(&current.found);
                self.selected = Some(all);
            }
            None => self.selected = Some(current.found),
        }
        None
    }

    fn begin_next(&mut self, matchers: &Matchers<'_>, postings: &Postings) -> Option<Found> {
        let left = self.selected.as_ref().map(Bits::count);
        let Some(matcher) = self.rest.pop() else { return self.finish(postings, false) };
        let Some(lookup) = matchers.all.get(matcher) else { return self.finish(postings, true) };
        if left == Some(0) {
            return self.finish(postings, false);
        }
        if left.is_some_and(|left| left as usize * CHECK_WORK <= lookup.work(postings)) {
            return self.finish(postings, true);
        }
        self.current = Some(Current::new(matcher, lookup, postings));
        None
    }

    fn finish(&mut self, postings: &Postings, unchecked: bool) -> Option<Found> {
        let series = self.selected.take().unwrap_or_else(|| Bits::all(postings.len()));
        Some(Found { series, unchecked })
    }

    /// Memory in bytes.
    pub(super) fn bytes(&self) -> usize {
        let current = self.current.as_ref().map(|current| [Some(&current.found), current.but_not.as_ref()]);
        let all = current.into_iter().flatten().flatten().chain(&self.selected);
        all.map(Bits::bytes).sum()
    }
}

impl Current {
    fn new(matcher: usize, lookup: &Lookup<'_>, postings: &Postings) -> Self {
        let none = || Bits::none(postings.len());
        let mut current = Self {
            matcher,
            found: none(),
            but_not: None,
            list: None,
            values: 0..0,
            filter: Filter::None,
            continues: false,
        };
        let Some(label) = postings.find_label(lookup.label) else { return current };
        match &lookup.values {
            Values::All => current.list = Some(List::OfLabel(postings.present(label))),
            Values::One(text) => {
                let value = postings.find_value(label, text);
                current.list = value.map(|value| List::OfValue(postings.list(value)));
            }
            Values::Matching { literals, .. } => {
                current.values = postings.values_with_prefix(label, &literals.prefix);
                current.filter = lookup.filter(postings, &current.values);
                if lookup.others {
                    current.list = Some(List::OfLabel(postings.present(label)));
                    current.but_not = Some(none());
                }
            }
        }
        current
    }

    /// A step; true once it is complete.
    fn step(&mut self, lookup: &mut Lookup<'_>, postings: &Postings) -> bool {
        let mut work = 0;
        while work < STEP_WORK {
            if let Some(list) = &mut self.list {
                let (run, set) = match list {
                    List::OfLabel(cursor) => (postings.next_present(cursor), &mut self.found),
                    List::OfValue(cursor) => {
                        (postings.next_of_list(cursor), self.but_not.as_mut().unwrap_or(&mut self.found))
                    }
                };
                match run {
                    Some(run) => {
                        work += 2 + run.len() / 64;
                        set.insert(run);
                    }
                    None => self.list = None,
                }
                continue;
            }
            if self.values.is_empty() {
                if let Some(but_not) = &self.but_not {
                    self.found.subtract(but_not);
                }
                return true;
            }
            if self.filter != Filter::None {
                let begin = self.values.start;
                let end = begin.saturating_add(SEARCHED_AT_ONCE).min(self.values.end);
                let found = lookup.find_required(postings, begin..end, self.filter);
                self.values.start = found.unwrap_or(end);
                work += SEARCH_WORK * (self.values.start - begin) / SEARCHED_AT_ONCE;
                self.continues &= found == Some(begin);
                if found.is_none() {
                    continue;
                }
            }
            let value = self.values.start;
            let shared = if self.continues { postings.shared(value) } else { 0 };
            let shared = shared.max(lookup.shared_by_all());
            self.continues = true;
            let (belongs, next) = lookup.test(postings, value, self.values.end, shared, &mut work);
            self.list = belongs.then(|| List::OfValue(postings.list(value)));
            self.values.start = next;
        }
        false
    }
}
