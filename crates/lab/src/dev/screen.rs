//! What `lateen dev` shows: a table that is drawn anew in a terminal, plain lines elsewhere.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};

use super::tally::{Caller, Tally};

/// Where things are shown. With `-o json` standard output belongs to the report, and lines go to standard error.
#[derive(Debug)]
pub struct Screen {
    json: bool,
    live: bool,
    drawn: usize,
}

impl Screen {
    /// A screen for this process.
    #[must_use]
    pub fn new(json: bool) -> Self {
        Self {
            json,
            live: !json && std::io::stdout().is_terminal(),
            drawn: 0,
        }
    }

    /// Whether the table is drawn.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// A line that stays.
    pub fn say(&mut self, line: &str) {
        self.erase();
        self.write(&format!("{line}\n"));
    }

    /// Draws the table in the place of the last one.
    pub fn draw(&mut self, tally: &Tally, head: &str, files: &str) {
        let text = table(tally, head, files);
        self.erase();
        self.drawn = text.lines().count();
        self.write(&text);
    }

    fn erase(&mut self) {
        if self.drawn > 0 {
            let up = self.drawn;
            self.write(&format!("\x1b[{up}A\r\x1b[J"));
            self.drawn = 0;
        }
    }

    fn write(&self, text: &str) {
        // Nobody listens any more: the mesh goes on until it is told to end.
        if self.json {
            let _ = std::io::stderr().write_all(text.as_bytes());
        } else {
            let mut out = std::io::stdout();
            let _ = out.write_all(text.as_bytes());
            let _ = out.flush();
        }
    }
}

/// The terminal cuts lines at its edge instead of breaking them, which would spoil the next drawing; and back.
const CUT: &str = "\x1b[?7l";
const BREAK: &str = "\x1b[?7h";

fn table(tally: &Tally, head: &str, files: &str) -> String {
    let mut text = format!("{CUT}\n{head}\n\n");
    let widest = |length: fn(&str, &Caller) -> usize| {
        let lengths = tally.callers.iter();
        let lengths = lengths.map(|(key, caller)| length(key, caller));
        lengths.max().unwrap_or(0)
    };
    let name = widest(|key, _| key.len());
    let url = widest(|_, caller| caller.url.len());
    for (key, caller) in &tally.callers {
        let (called, state) = (&caller.url, state(caller));
        let _ = writeln!(text, "  {key:name$}  {called:url$}  {state}");
        let wrong = caller.unexpected + caller.failed > 0;
        if let Some(detail) = caller.surprise.as_deref().filter(|_| wrong) {
            let _ = writeln!(text, "  {:name$}  {detail}", "");
        } else if let Some(identity) = &caller.identity {
            let _ = writeln!(text, "  {:name$}  the server saw {identity}", "");
        }
    }
    let _ = writeln!(text, "\n  {}", tally.summary());
    let _ = writeln!(text, "  Edit and save: {files}{BREAK}");
    text
}

fn state(caller: &Caller) -> String {
    let mut parts = Vec::new();
    let answers: u64 = caller.versions.values().sum();
    for (version, count) in &caller.versions {
        let name = if version.is_empty() {
            "answered"
        } else {
            version
        };
        parts.push(format!(
            "{name} {:.0} %",
            *count as f64 * 100.0 / caller.calls.max(1) as f64
        ));
    }
    if caller.refused > 0 {
        let why = caller
            .expectation
            .refusal()
            .map_or_else(String::new, |why| format!(": {why}"));
        parts.push(format!("refused {}{why}", caller.refused));
    }
    if caller.failed + caller.unexpected > 0 {
        parts.push(format!(
            "FAILED {} UNEXPECTED {}",
            caller.failed, caller.unexpected
        ));
    }
    if answers > 0 {
        parts.push(format!(
            "p50 {:.1} p99 {:.1} ms",
            caller.percentile(0.5),
            caller.percentile(0.99)
        ));
    }
    parts.join("  ")
}
