//! The steps of a section of the README: its `sh` blocks, each with the `text` block that shows its output.

/// A block of commands.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Step {
    /// The last line of prose that begins with a number, `3. …`, up to its first full stop.
    pub(crate) title: String,
    /// The commands of the block, unchanged.
    pub(crate) commands: String,
    /// Lines that the commands print.
    pub(crate) shown: Vec<String>,
}

/// The title of a numbered line.
fn title(line: &str) -> Option<String> {
    let (number, rest) = line.split_once(". ")?;
    let numbered = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    numbered.then(|| rest.split(['.', ':']).next().unwrap_or(rest).replace("**", ""))
}

/// The steps of a section, in order.
pub(crate) fn steps(text: &str, section: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let (mut inside, mut fence, mut last_title) = (false, None, String::new());
    for line in text.lines() {
        let bare = line.trim();
        if let Some(info) = bare.strip_prefix("```") {
            if fence.is_some() {
                fence = None;
                continue;
            }
            fence = Some(info);
            if inside && info == "sh" {
                steps.push(Step { title: last_title.clone(), ..Step::default() });
            }
            continue;
        }
        match fence {
            Some("sh") if inside => {
                if let Some(step) = steps.last_mut() {
                    step.commands.push_str(line.strip_prefix("   ").unwrap_or(line));
                    step.commands.push('\n');
                }
            }
            Some("text") if inside => {
                if let Some(step) = steps.last_mut() {
                    step.shown.push(bare.to_owned());
                }
            }
            None if line.starts_with("## ") => inside = bare.get(3..) == Some(section),
            None => last_title = title(line).unwrap_or(last_title),
            Some(_) => {}
        }
    }
    steps
}

/// Whether a line matches the shown one; `…` matches anything.
pub(crate) fn matches(shown: &str, line: &str) -> bool {
    let mut rest = line.trim();
    let mut pieces = shown.split('…').peekable();
    let mut first = true;
    while let Some(piece) = pieces.next() {
        let last = pieces.peek().is_none();
        let Some(at) = (if last && !first { rest.rfind(piece) } else { rest.find(piece) }) else {
            return false;
        };
        let (before, from) = rest.split_at_checked(at).unwrap_or_default();
        rest = from.strip_prefix(piece).unwrap_or_default();
        if (first && !before.is_empty()) || (last && !rest.is_empty()) {
            return false;
        }
        first = false;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# X\n```sh\nnot this\n```\n## Deploy\n\n1. **Build** it. With cargo:\n\n   ```sh\n   a\n     b\n   ```\n\n\
        2. Ask: it answers\n   ```sh\n   c\n   ```\n   ```text\n   d … e\n   ```\n## Next\n```sh\nnor this\n```\n";

    #[test]
    fn blocks_of_the_section_become_steps() {
        let step = |title: &str, commands: &str, shown: &[&str]| Step {
            title: title.into(),
            commands: commands.into(),
            shown: shown.iter().map(|&line| line.into()).collect(),
        };
        assert_eq!(
            steps(TEXT, "Deploy"),
            [step("Build it", "a\n  b\n", &[]), step("Ask", "c\n", &["d … e"])]
        );
        assert_eq!(steps(TEXT, "Absent"), []);
    }

    #[test]
    fn an_ellipsis_matches_anything() {
        for (shown, line, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("a", "ba", false),
            ("a … c", "a b c", true),
            ("a … c", "a b c d", false),
            ("…b…", "abc", true),
            ("a…", "abc", true),
            ("…c", "abcc", true),
            ("a…b…c", "acb", false),
        ] {
            assert_eq!(matches(shown, line), expected, "{shown} / {line}");
        }
    }
}
