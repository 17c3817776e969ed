//! What is wrong with a text and where, shown with the offending line. Pure.

use std::fmt;

/// The most letters of a line that are shown.
const WIDTH: usize = 100;

/// What is wrong with a text, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong and what to write instead.
    pub what: String,
    /// Where, if that can be told.
    pub place: Option<Place>,
}

/// A place in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The line, from 1.
    pub line: usize,
    /// The letter within the line, from 1.
    pub column: usize,
    /// The line itself, with blanks for control characters.
    text: String,
}

impl Place {
    /// That place of a text; both numbers from 1.
    pub fn new(text: &str, line: usize, column: usize) -> Self {
        let found = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
        let plain = found.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        Self { line, column, text: plain }
    }

    /// The place of that byte of a text.
    pub fn of_byte(text: &str, byte: usize) -> Self {
        let before = text.get(..text.floor_char_boundary(byte)).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        let column = before.get(line_start..).map_or(0, |part| part.chars().count()) + 1;
        Self::new(text, before.matches('\n').count() + 1, column)
    }

    /// The part of the line around the column, and the column within that part.
    fn window(&self) -> (String, usize) {
        let skipped = if self.column > WIDTH { self.column - WIDTH / 2 } else { 0 };
        let mut shown: String = self.text.chars().skip(skipped).take(WIDTH).collect();
        let mut column = self.column - skipped;
        if skipped > 0 {
            shown.insert(0, '…');
            column += 1;
        }
        if self.text.chars().count() > skipped + WIDTH {
            shown.push('…');
        }
        (shown.trim_end().to_owned(), column)
    }
}

impl Fault {
    /// Something that is wrong with the text as a whole.
    pub fn whole(what: impl Into<String>) -> Self {
        Self { what: what.into(), place: None }
    }

    /// The fault of a text that is larger than [`super::MAX_BYTES`].
    pub fn too_large() -> Self {
        Self::whole(format!(
            "is larger than {} KiB, more than an execution can hold; pass large data as a ConfigMap, a Secret or an artifact",
            super::MAX_BYTES / 1024
        ))
    }

    /// The fault with the name of the text before it and the offending line below it.
    pub fn show(&self, name: &str) -> String {
        let Some(place) = &self.place else { return format!("{name}: {}", self.what) };
        let (shown, column) = place.window();
        let number = place.line.to_string();
        let margin = " ".repeat(number.len());
        format!(
            "{name}:{}:{}: {}\n {margin} |\n {number} | {shown}\n {margin} | {}^",
            place.line,
            place.column,
            self.what,
            " ".repeat(column.saturating_sub(1)),
        )
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "line {}, column {}: {}", place.line, place.column, self.what),
            None => f.write_str(&self.what),
        }
    }
}

impl std::error::Error for Fault {}
