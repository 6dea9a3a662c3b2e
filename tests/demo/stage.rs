//! How the demo speaks.

use std::{
    cell::Cell,
    io::{IsTerminal as _, stdout},
    time::Instant,
};

/// Prints, in colour where somebody watches.
pub(crate) struct Stage {
    colour: bool,
    steps: Cell<u32>,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let colour =
            stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { colour, steps: Cell::new(0) }
    }

    pub(crate) fn title(&self, text: &str) {
        println!("\n{}", self.painted("1", text));
    }

    /// Something new begins.
    pub(crate) fn step(&self, text: &str) {
        self.steps.set(self.steps.get() + 1);
        println!("\n{} {}", self.painted("1;36", &format!("{}.", self.steps.get())), self.painted("1", text));
    }

    /// What a user would type.
    pub(crate) fn command(&self, text: &str) {
        println!("   {} {text}", self.painted("32", "$"));
    }

    /// What came of it.
    pub(crate) fn say(&self, text: &str) {
        println!("   {text}");
    }

    /// An aside.
    pub(crate) fn quiet(&self, text: &str) {
        println!("   {}", self.painted("2", text));
    }

    /// A file.
    pub(crate) fn listing(&self, name: &str, text: &str) {
        self.quiet(name);
        for line in text.lines() {
            println!("   {} {line}", self.painted("2", "|"));
        }
    }

    /// The last word.
    pub(crate) fn result(&self, text: &str) {
        println!("\n{}", self.painted("1;32", text));
    }

    fn painted(&self, style: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Tells how long something took, for people.
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "for people to read; nothing depends on it")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn read(&self) -> String {
        format!("{} ms", self.0.elapsed().as_millis())
    }
}

/// At most a line of it.
pub(crate) fn shortened(text: &str) -> String {
    const MAX: usize = 90;
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() <= MAX {
        return line.to_owned();
    }
    let mut short: String = line.chars().take(MAX).collect();
    short.push_str("...");
    short
}
