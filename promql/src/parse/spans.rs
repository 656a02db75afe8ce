//! Where the nodes of a tree are written: the library does not say, but its tree follows the order of the text.

use promql_parser::parser::{Expr, FunctionArgs};

use crate::{
    error::Span,
    guard::token::{Token, What},
};

/// The places of all nodes: a node before its parts. The whole text for each, should the walk fail.
pub(super) fn spans(tree: &Expr, text: &str, tokens: &[Token]) -> Vec<Span> {
    let mut walk = Walk { text, tokens, at: 0, spans: Vec::new() };
    let complete = walk.node(tree).is_some() && walk.at == tokens.len();
    let whole = Span { from: 0, to: text.len() };
    if complete { walk.spans } else { vec![whole; nodes(tree)] }
}

fn nodes(tree: &Expr) -> usize {
    let of = |parts: &mut dyn Iterator<Item = &Expr>| 1 + parts.map(nodes).sum::<usize>();
    match tree {
        Expr::Aggregate(tree) => of(&mut tree.param.as_deref().into_iter().chain([&*tree.expr])),
        Expr::Unary(tree) => of(&mut [&*tree.expr].into_iter()),
        Expr::Binary(tree) => of(&mut [&*tree.lhs, &*tree.rhs].into_iter()),
        Expr::Paren(tree) => of(&mut [&*tree.expr].into_iter()),
        Expr::Subquery(tree) => of(&mut [&*tree.expr].into_iter()),
        Expr::Call(tree) => of(&mut tree.args.args.iter().map(|of| &**of)),
        _ => 1,
    }
}

struct Walk<'t> {
    text: &'t str,
    tokens: &'t [Token],
    at: usize,
    spans: Vec<Span>,
}

impl Walk<'_> {
    fn node(&mut self, tree: &Expr) -> Option<()> {
        let index = self.spans.len();
        self.spans.push(Span::default());
        let first = self.at;
        // A sign before a number is part of it, and a plus before anything else left no trace.
        let is_number = matches!(tree, Expr::NumberLiteral(_));
        while self.next_is("+") || is_number && self.next_is("-") {
            self.at += 1;
        }
        let from = self.tokens.get(if is_number { first } else { self.at })?.span.from;
        self.parts(tree)?;
        let to = self.tokens.get(self.at.checked_sub(1)?)?.span.to;
        *self.spans.get_mut(index)? = Span { from, to };
        Some(())
    }

    fn parts(&mut self, tree: &Expr) -> Option<()> {
        match tree {
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) => self.take(),
            Expr::Unary(of) => {
                self.expect("-")?;
                self.node(&of.expr)
            }
            Expr::Paren(of) => {
                self.expect("(")?;
                self.node(&of.expr)?;
                self.expect(")")
            }
            Expr::Binary(of) => {
                self.node(&of.lhs)?;
                self.take()?;
                self.matching();
                self.node(&of.rhs)
            }
            Expr::Call(of) => {
                self.take()?;
                self.arguments(&of.args)
            }
            Expr::Aggregate(of) => {
                self.take()?;
                self.grouping();
                self.expect("(")?;
                if let Some(parameter) = &of.param {
                    self.node(parameter)?;
                    self.expect(",")?;
                }
                self.node(&of.expr)?;
                self.expect(")")?;
                self.grouping();
                Some(())
            }
            Expr::VectorSelector(_) => {
                self.selector();
                self.modifiers();
                Some(())
            }
            Expr::MatrixSelector(_) => {
                self.selector();
                self.skip("]");
                self.modifiers();
                Some(())
            }
            Expr::Subquery(of) => {
                self.node(&of.expr)?;
                self.skip("]");
                self.modifiers();
                Some(())
            }
            Expr::Extension(_) => None,
        }
    }

    fn arguments(&mut self, arguments: &FunctionArgs) -> Option<()> {
        self.expect("(")?;
        for (index, argument) in arguments.args.iter().enumerate() {
            if index > 0 {
                self.expect(",")?;
            }
            self.node(argument)?;
        }
        self.expect(")")
    }

    /// Skips what stands between an operator and its right operand.
    fn matching(&mut self) {
        while let Some(next) = self.next() {
            let is_fill = next.is_keyword(self.text, &["fill", "fill_left", "fill_right"]);
            let is_called = self.tokens.get(self.at + 1).is_some_and(|next| next.is(self.text, "("));
            let known = ["bool", "on", "ignoring", "group_left", "group_right"];
            let is_modifier = next.is_keyword(self.text, &known) || is_fill && is_called;
            if !is_modifier {
                return;
            }
            self.at += 1;
            if is_called {
                self.skip(")");
            }
        }
    }

    /// Skips `by (…)` and `without (…)`.
    fn grouping(&mut self) {
        if self.next().is_some_and(|next| next.is_keyword(self.text, &["by", "without"])) {
            self.skip(")");
        }
    }

    /// Skips a metric and its matchers.
    fn selector(&mut self) {
        if self.next().is_some_and(|next| next.what == What::Name) {
            self.at += 1;
        }
        if self.next_is("{") {
            self.skip("}");
        }
    }

    /// Skips `@` and `offset`.
    fn modifiers(&mut self) {
        while let Some(next) = self.next() {
            if next.what != What::At && !next.is_keyword(self.text, &["offset"]) {
                return;
            }
            self.at += 1;
            while self.next_is("+") || self.next_is("-") {
                self.at += 1;
            }
            self.at += 1;
            if self.next_is("(") {
                self.skip(")");
            }
        }
    }

    fn next(&self) -> Option<Token> {
        self.tokens.get(self.at).copied()
    }

    fn next_is(&self, symbol: &str) -> bool {
        self.next().is_some_and(|next| next.is(self.text, symbol))
    }

    fn take(&mut self) -> Option<()> {
        self.next()?;
        self.at += 1;
        Some(())
    }

    fn expect(&mut self, symbol: &str) -> Option<()> {
        if self.next_is(symbol) { self.take() } else { None }
    }

    /// Skips words until a bracket.
    fn skip(&mut self, until: &str) {
        while let Some(next) = self.next() {
            self.at += 1;
            if next.is(self.text, until) {
                return;
            }
        }
    }
}
