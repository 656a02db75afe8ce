//! Patterns as a tree of their levels: the most specific match of a topic.
//!
//! Each node has one parent, so a search visits each at most once. It is as deep as the deepest pattern, whatever the
//! topic.

use hashbrown::HashMap;

use super::pattern::{Level, Pattern};

/// A level of the patterns that are alike up to here.
#[derive(Debug)]
struct Node<T> {
    literal: HashMap<Box<str>, Node<T>>,
    placeholder: Option<Box<Node<T>>>,
    one: Option<Box<Node<T>>>,
    /// Of the pattern that ends here.
    end: Option<T>,
    /// Of the pattern that continues with `#`.
    rest: Option<T>,
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { literal: HashMap::new(), placeholder: None, one: None, end: None, rest: None }
    }
}

/// Patterns with what each leads to.
#[derive(Debug)]
pub(super) struct Tree<T> {
    root: Node<T>,
    is_empty: bool,
}

impl<T> Default for Tree<T> {
    fn default() -> Self {
        Self { root: Node::default(), is_empty: true }
    }
}

impl<T> Tree<T> {
    /// Adds a pattern; in place of an equal one.
    pub(super) fn insert(&mut self, pattern: &Pattern<'_>, value: T) {
        self.is_empty = false;
        let mut node = &mut self.root;
        for level in &pattern.levels {
            node = match level {
                Level::Literal(text) => node.literal.entry(Box::from(*text)).or_default(),
                Level::Placeholder(_) => node.placeholder.get_or_insert_default(),
                Level::One => node.one.get_or_insert_default(),
                Level::Rest => {
                    node.rest = Some(value);
                    return;
                }
            };
        }
        node.end = Some(value);
    }

    /// What the most specific pattern that matches leads to.
    pub(super) fn find(&self, topic: &str) -> Option<&T> {
        if self.is_empty {
            return None;
        }
        // Wildcards do not stand for a first level that begins with a dollar sign.
        if topic.starts_with('$') {
            let (level, rest) = split_level(topic);
            return self.root.literal.get(level)?.find(rest);
        }
        self.root.find(Some(topic))
    }
}

impl<T> Node<T> {
    fn find(&self, topic: Option<&str>) -> Option<&T> {
        let Some(topic) = topic else {
            // `a/#` is for `a` too.
            return self.end.as_ref().or(self.rest.as_ref());
        };
        let (level, rest) = split_level(topic);
        let literal = self.literal.get(level).and_then(|node| node.find(rest));
        literal
            .or_else(|| self.placeholder.as_ref()?.find(rest))
            .or_else(|| self.one.as_ref()?.find(rest))
            .or(self.rest.as_ref())
    }
}

/// The first level of a topic, and the levels after it if there are any.
fn split_level(topic: &str) -> (&str, Option<&str>) {
    topic.split_once('/').map_or((topic, None), |(level, rest)| (level, Some(rest)))
}
