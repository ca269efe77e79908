//! `holdover status --watch`: keeps the status on the screen up to date until Ctrl-C.
//!
//! | standard output | each new status |
//! |---|---|
//! | a terminal that is not dumb | is written over the one before |
//! | anything else | follows the one before, behind an empty line |
//!
//! A sidecar that cannot be asked for a while (it is started again, say) is no reason to end: the
//! screen shows why until it answers again.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use super::colours::{Palette, is_screen};
use crate::adapters::admin::client::Client;
use crate::telemetry::console;
use crate::telemetry::reading::Reading;

/// Moves to the upper left corner.
const HOME: &str = "\x1b[H";
/// Clears the rest of the line.
const CLEAR_LINE: &str = "\x1b[K";
/// Clears everything below.
const CLEAR_BELOW: &str = "\x1b[J";

/// Shows one status after the other, at this interval, until SIGINT comes or nobody reads any more.
///
/// # Errors
/// Signals cannot be received, or standard output cannot be written.
pub(super) async fn watch(
    client: &Client,
    first: Reading,
    every: Duration,
    show: impl Fn(&Reading) -> String,
) -> anyhow::Result<ExitCode> {
    let mut interrupted = signal(SignalKind::interrupt()).context("cannot receive signals")?;
    let palette = Palette::of_standard_output();
    let is_screen = is_screen();
    let mut asked = Ok(first);
    let mut is_first = true;
    loop {
        let text = match &asked {
            Ok(reading) => palette.paint(&show(reading)),
            Err(error) => format!("holdover: {error}\n"),
        };
        let frame = match (is_screen, is_first) {
            (true, _) => over_the_last(&text, is_first),
            (false, true) => text,
            (false, false) => format!("\n{text}"),
        };
        is_first = false;
        match write(&frame) {
            Err(error) if console::is_reader_gone(&error) => return Ok(ExitCode::SUCCESS),
            written => written.context("cannot write to standard output")?,
        }
        let next = async {
            sleep(every).await;
            client.status().await
        };
        asked = tokio::select! {
            _ = interrupted.recv() => return Ok(ExitCode::SUCCESS),
            asked = next => asked,
        };
    }
}

fn write(frame: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(frame.as_bytes())?;
    out.flush()
}

/// A text that takes the place of the one before on a terminal. Nothing is cleared before its new
/// content is there, so that the screen does not flicker.
fn over_the_last(text: &str, is_first: bool) -> String {
    let cleared = if is_first { CLEAR_BELOW } else { "" };
    let lines: String = text.lines().map(|line| format!("{line}{CLEAR_LINE}\n")).collect();
    format!("{HOME}{cleared}{lines}{CLEAR_BELOW}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_of_the_last_text_is_cleared() {
        assert_eq!(over_the_last("a\nb\n", true), "\x1b[H\x1b[Ja\x1b[K\nb\x1b[K\n\x1b[J");
        assert_eq!(over_the_last("a\n", false), "\x1b[Ha\x1b[K\n\x1b[J");
    }
}
