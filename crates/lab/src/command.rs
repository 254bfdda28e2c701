//! Runs the system's own programs (`ip`, `nsenter`, `iptables-restore`) and says what they said when they fail.

use std::io::{self, Write};
use std::process::{Command, Stdio};

/// Runs a program to its end with `input` as its standard input.
///
/// # Errors
/// It cannot be started, or it failed: then with all that it wrote to stderr.
pub fn run(program: &str, arguments: &[&str], input: &str) -> io::Result<String> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| io::Error::new(error.kind(), format!("{program}: {error}")))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends without reading says why by itself.
        let _ = stdin.write_all(input.as_bytes());
    }
    let done = child.wait_with_output()?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        return Err(io::Error::other(format!(
            "{program} {}: {}: {}",
            arguments.join(" "),
            done.status,
            said.trim()
        )));
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}
