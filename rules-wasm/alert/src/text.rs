//! Formats an alert as text for a person.

use std::fmt::{self, Write as _};

use anstyle::{AnsiColor, Style};
use serde_json::{Map, Value};

use crate::{Alert, Severity};

/// Options of a text for a person.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TextStyle {
    /// Colors the severity, and dims the names of fields.
    pub color: bool,
    /// Includes all fields of the context and the reference, instead of who did what, when and from where.
    pub details: bool,
    /// Includes the runbook.
    pub runbook: bool,
}

/// Maximum number of characters of a value in a line of several.
const LONGEST_PART: usize = 70;
/// Maximum number of characters of a line that is wrapped, without its indentation.
const WIDTH: usize = 100;

impl Alert {
    /// Returns the alert as text: a line with its severity and title, and who did what, when and from where. With
    /// details, a line for each field that has a value.
    #[must_use]
    pub fn text(&self, style: TextStyle) -> String {
        let mut text = Text::new(style);
        text.title(self.severity, &self.title);
        let context = self.context.members();
        if style.details {
            text.line("rule", &format!("{} {}", self.about.rule_id, self.about.rule_version));
            for (name, value) in [("time", &self.event_time), ("audit id", &self.audit_id)] {
                text.line_of(name, value.as_deref());
            }
            for (name, value) in context.iter().filter(|(_, value)| !value.is_null()) {
                text.line(name, &readable(value));
            }
            text.line_of("reference", self.about.reference.as_deref());
        } else {
            text.sentence(&[
                ("", self.event_time.as_deref()),
                ("by ", word(&context, "username").as_deref()),
                ("from ", part(&context, "sourceIPs").as_deref()),
                ("with ", part(&context, "userAgent").as_deref()),
            ]);
            let object = word(&context, "requestURI").or_else(|| word(&context, "resource"));
            text.sentence(&[
                ("", word(&context, "verb").as_deref()),
                ("", object.as_deref()),
                ("answered with ", part(&context, "responseStatus").as_deref()),
                ("", Some(&format!("({} {})", self.about.rule_id, self.about.rule_version))),
            ]);
        }
        if let Some(runbook) = self.about.runbook.as_ref().filter(|_| style.runbook) {
            text.paragraph("runbook", runbook);
        }
        text.into_string()
    }
}

/// Writes the text with details, without colors and without the runbook.
impl fmt::Display for Alert {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text(TextStyle { details: true, ..TextStyle::default() }))
    }
}

/// Returns the words of a line in lines that are not too long. A word that is too long has its own.
fn wrapped(line: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in line.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Returns a member of a context that is one word of a line. Who chooses it must not write the rest of the line.
fn word(context: &Map<String, Value>, name: &str) -> Option<String> {
    let part = part(context, name)?;
    Some(if part.contains(char::is_whitespace) { format!("{part:?}") } else { part })
}

/// Returns a member of a context as text that is not too long for a line of several.
fn part(context: &Map<String, Value>, name: &str) -> Option<String> {
    let text = readable(context.get(name).filter(|value| !value.is_null())?);
    let Some((end, _)) = text.char_indices().nth(LONGEST_PART) else { return Some(text) };
    Some(format!("{}…", &text[..end]))
}

/// A text that consists of a title and of named lines below it.
#[derive(Debug)]
pub struct Text {
    style: TextStyle,
    text: String,
}

impl Text {
    /// Creates an empty text.
    #[must_use]
    pub fn new(style: TextStyle) -> Self {
        Self { style, text: String::new() }
    }

    /// Appends the title.
    pub fn title(&mut self, severity: Severity, title: &str) {
        let color = if self.style.color { color(severity) } else { Style::new() };
        let severity = severity.to_string().to_uppercase();
        let _ = writeln!(self.text, "{color}[{severity}]{color:#} {}", printable(title));
    }

    /// Appends a line with a name.
    pub fn line(&mut self, name: &str, value: &str) {
        let faint = if self.style.color { Style::new().dimmed() } else { Style::new() };
        let _ = writeln!(self.text, "    {faint}{:<14}{faint:#} {}", printable(name), printable(value));
    }

    /// Appends a line with a name, if there is a value.
    pub fn line_of(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.line(name, value);
        }
    }

    /// Appends a line of what is there of these values, each with the word before it.
    fn sentence(&mut self, parts: &[(&str, Option<&str>)]) {
        let parts = parts.iter().filter_map(|(word, part)| Some(format!("{word}{}", printable((*part)?))));
        let sentence = parts.collect::<Vec<_>>().join(" ");
        if !sentence.is_empty() {
            let _ = writeln!(self.text, "    {sentence}");
        }
    }

    /// Appends prose with a name, each of its lines wrapped to at most 100 characters.
    pub fn prose(&mut self, name: &str, prose: &str) {
        let wrapped: Vec<String> = prose.lines().flat_map(wrapped).collect();
        self.paragraph(name, &wrapped.join("\n"));
    }

    /// Appends a value of several lines. Only the first of them has the name.
    fn paragraph(&mut self, name: &str, value: &str) {
        for (n, line) in value.trim_end().lines().enumerate() {
            self.line(if n == 0 { name } else { "" }, line);
        }
    }

    /// Returns the text.
    #[must_use]
    pub fn into_string(self) -> String {
        self.text
    }
}

fn color(severity: Severity) -> Style {
    let style = |color: AnsiColor| Style::new().fg_color(Some(color.into()));
    match severity {
        Severity::Info => style(AnsiColor::Blue),
        Severity::Low => style(AnsiColor::Cyan),
        Severity::Medium => style(AnsiColor::Yellow).bold(),
        Severity::High => style(AnsiColor::Red).bold(),
        Severity::Critical => style(AnsiColor::White).bg_color(Some(AnsiColor::Red.into())).bold(),
    }
}

/// Formats a value of a context without JSON's punctuation. Commas separate items and members, semicolons separate the
/// objects of a list.
#[must_use]
pub fn readable(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let separator = if items.iter().any(Value::is_object) { "; " } else { ", " };
            items.iter().map(readable).collect::<Vec<_>>().join(separator)
        }
        Value::Object(members) => {
            let member = |(name, value): (&String, &Value)| format!("{name} {}", readable(value));
            members.iter().map(member).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

/// Returns whether a character can make a text look like another one: a control, a line or paragraph separator, a mark
/// that changes the direction of others (Unicode Standard Annex 9), or one that is not shown (`Default_Ignorable_Code_Point`
/// and `Cf` of the Unicode Character Database).
#[must_use]
pub fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}' | '\u{891}'
            | '\u{8e2}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}'
            | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
        )
}

/// Escapes the characters that control a terminal or change its text direction. Clients choose much of an alert's text.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for c in text.chars() {
        if is_deceptive(c) {
            printable.extend(c.escape_default());
        } else {
            printable.push(c);
        }
    }
    printable
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lines(context: &Value) -> String {
        let context = context.as_object().expect("an object");
        let mut text = Text::new(TextStyle::default());
        text.sentence(&[
            ("by ", word(context, "username").as_deref()),
            ("from ", part(context, "sourceIPs").as_deref()),
        ]);
        text.into_string()
    }

    #[test]
    fn a_line_is_made_of_what_is_there() {
        assert_eq!(
            lines(&json!({"username": "ada", "sourceIPs": ["8.8.4.4", "::1"]})),
            "    by ada from 8.8.4.4, ::1\n"
        );
        assert_eq!(lines(&json!({"username": null, "sourceIPs": "8.8.4.4"})), "    from 8.8.4.4\n");
        assert_eq!(lines(&json!({})), "");
    }

    #[test]
    fn a_name_does_not_write_the_rest_of_its_line() {
        let forged = lines(&json!({"username": "ada from 10.0.0.1\nb", "sourceIPs": ["8.8.4.4"]}));
        assert_eq!(forged, "    by \"ada from 10.0.0.1\\nb\" from 8.8.4.4\n");
        let long = lines(&json!({"username": "é".repeat(LONGEST_PART + 1)}));
        assert_eq!(long, format!("    by {}…\n", "é".repeat(LONGEST_PART)));
    }

    #[test]
    fn prose_is_wrapped_and_keeps_its_lines() {
        let mut text = Text::new(TextStyle::default());
        text.prose("why", &format!("{}\n2. {}", "word ".repeat(30), "x".repeat(WIDTH + 1)));
        let text = text.into_string();
        let lines: Vec<&str> = text.lines().map(|line| &line[19..]).collect();
        let words = |count| "word ".repeat(count).trim_end().to_owned();
        assert_eq!(lines, [&*words(20), &words(10), "2.", &"x".repeat(WIDTH + 1)]);
    }
}
