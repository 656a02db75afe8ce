//! Elements of an SVG document. Every text is escaped here.

use std::fmt::Write as _;

use catchment_settings::text::printable;

/// Number of colours of series.
pub(super) const COLOURS: usize = 8;

/// Colours that people with colour blindness can tell apart (Okabe and Ito, the yellow darker), on light and on dark.
const LIGHT: [&str; COLOURS] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#b8860b", "#e69f00", "#555555"];
const DARK: [&str; COLOURS] =
    ["#56a8e0", "#ff8a3d", "#2fc99b", "#e79cc6", "#8ed0fa", "#d9b44a", "#f5bd3d", "#aaaaaa"];

const STYLE: &str = "
text{font:12px system-ui,sans-serif;fill:#222}
.title{font-size:15px;font-weight:600}
.panel{font-weight:600}
.tick,.note{fill:#555}
.background{fill:#fff}
.grid{stroke:#ddd}.axis{stroke:#888}
path{fill:none;stroke-width:1.8;stroke-linejoin:round}
.line.thin{stroke-width:.9}
.band{stroke:none;fill-opacity:.22}.band.faint{fill-opacity:.03}
.hatch{fill:url(#hatch)}#hatch path{stroke:#999;stroke-width:1}
.d1{stroke-dasharray:6 3}.d2{stroke-dasharray:2 3}
";

/// A document that is being written.
pub(super) struct Svg {
    text: String,
}

/// A text as XML holds it: without characters that XML has not.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in printable(text).chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            other => safe.push(other),
        }
    }
    safe
}

impl Svg {
    /// A document of a size in pixels, with the colours of the reader's scheme.
    pub(super) fn new(width: f64, height: f64) -> Self {
        let mut style = STYLE.to_owned();
        let colours = |style: &mut String, colours: [&str; COLOURS]| {
            for (index, colour) in colours.iter().enumerate() {
                let _ = writeln!(
                    style,
                    ".s{index}{{stroke:{colour}}}.band.s{index},.dot.s{index}{{fill:{colour};stroke:none}}"
                );
            }
        };
        colours(&mut style, LIGHT);
        style += "@media(prefers-color-scheme:dark){text{fill:#ddd}.tick,.note{fill:#aaa}.background{fill:#16181c}.grid{stroke:#333}\n";
        colours(&mut style, DARK);
        style += "}";
        let text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
             role=\"img\" aria-labelledby=\"t d\">\n<style>{style}</style>\n<defs><pattern id=\"hatch\" width=\"6\" height=\"6\" \
             patternUnits=\"userSpaceOnUse\"><path d=\"M0 6L6 0\"/></pattern></defs>\n\
             <rect class=\"background\" width=\"{width}\" height=\"{height}\"/>\n"
        );
        Self { text }
    }

    /// The texts for people who do not see it.
    pub(super) fn described(&mut self, title: &str, description: &str) {
        let (title, description) = (escaped(title), escaped(description));
        let _ = writeln!(self.text, "<title id=\"t\">{title}</title><desc id=\"d\">{description}</desc>");
    }

    pub(super) fn text(&mut self, x: f64, y: f64, anchor: &str, class: &str, text: &str) {
        let text = escaped(text);
        let _ = writeln!(
            self.text,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" class=\"{class}\">{text}</text>"
        );
    }

    /// A text with all of it, where the first is shortened, for a pointer that rests on it.
    pub(super) fn text_with_title(&mut self, x: f64, y: f64, text: &str, title: &str) {
        let (text, title) = (escaped(text), escaped(title));
        let _ = writeln!(self.text, "<text x=\"{x:.1}\" y=\"{y:.1}\">{text}<title>{title}</title></text>");
    }

    pub(super) fn line(&mut self, x1: f64, y1: f64, x2: f64, y2: f64, class: &str) {
        let _ = writeln!(
            self.text,
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" class=\"{class}\"/>"
        );
    }

    /// A path; nothing if it is empty.
    pub(super) fn path(&mut self, path: &str, class: &str) {
        if !path.is_empty() {
            let _ = writeln!(self.text, "<path class=\"{class}\" d=\"{path}\"/>");
        }
    }

    pub(super) fn dots(&mut self, dots: &[(f64, f64)], class: &str) {
        for (x, y) in dots {
            let _ = writeln!(self.text, "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.2\"/>");
        }
    }

    /// A hatched area, with its reason.
    pub(super) fn hatched(&mut self, x: f64, y: f64, width: f64, height: f64, why: &str) {
        let why = escaped(why);
        let _ = writeln!(
            self.text,
            "<rect class=\"hatch\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"><title>{why}</title></rect>"
        );
    }

    /// The whole document.
    pub(super) fn finish(self) -> String {
        self.text + "</svg>\n"
    }
}
