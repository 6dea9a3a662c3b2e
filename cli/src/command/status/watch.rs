//! `usher status --watch`: the same again and again, in place on a terminal, or as a line of JSON each time.

use std::{fmt::Write as _, io, time::Duration};

use nix::sys::signal::{Signal as Stop, raise};
use tokio::signal::unix::{Signal, SignalKind, signal};
use usher_proto::v1::{StatusRequest, StatusResponse};

use super::{json, text};
use crate::{
    call,
    caller::{Caller, Screen, printable},
    error::Error,
    exit,
    follow::may_pass,
    time::{human, now, span},
};

/// Another screen, without a cursor, on which long lines end at the edge; and back to how it was.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// Shows the status every so often until a signal comes, whatever becomes of usherd meanwhile.
pub(super) fn run(
    message: &StatusRequest,
    every: Duration,
    deadline: Duration,
    caller: &mut Caller<'_>,
) -> Result<u8, Error> {
    let runtime = call::runtime()?;
    let mut signals = {
        let _within = runtime.enter();
        Signals::catch().map_err(no_signals)?
    };
    let asked = Asked { message, every, deadline };
    if caller.json() {
        return runtime.block_on(lines(&asked, &mut signals, caller));
    }
    let dumb = caller.var("TERM").is_some_and(|term| term == "dumb");
    if caller.screen().is_none() || dumb {
        return Err(Error::usage(
            "--watch redraws a terminal, and stdout is none that can",
            "`usher status --watch --json` writes a line of JSON each time",
        ));
    }
    caller.answer(ENTER)?;
    let ended = runtime.block_on(frames(&asked, &mut signals, caller));
    caller.answer(LEAVE)?;
    ended
}

/// What is asked for, and how.
struct Asked<'a> {
    message: &'a StatusRequest,
    every: Duration,
    deadline: Duration,
}

impl Asked<'_> {
    /// The status, or why there is none now but may be later.
    async fn ask(&self, caller: &Caller<'_>) -> Result<Result<StatusResponse, Error>, Error> {
        match call::status(caller, self.deadline, self.message.clone()).await {
            Err(error) if !may_pass(&error) => Err(error),
            outcome => Ok(outcome),
        }
    }
}

/// A line of JSON each time; what is wrong with usherd goes to stderr, once.
async fn lines(asked: &Asked<'_>, signals: &mut Signals, caller: &mut Caller<'_>) -> Result<u8, Error> {
    let mut told = String::new();
    loop {
        let outcome = tokio::select! {
            outcome = asked.ask(caller) => outcome?,
            code = signals.end() => return Ok(code),
        };
        match outcome {
            Ok(answer) => {
                told.clear();
                caller.answer(&json(&answer)?)?;
                caller.flush()?;
            }
            Err(error) => {
                let why = error.to_string();
                if why != told {
                    caller.warn(&format!("{why}; looking for usherd again"));
                    told = why;
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(asked.every) => {}
            code = signals.end() => return Ok(code),
        }
    }
}

/// A frame each time, and whenever the terminal changes its size.
async fn frames(asked: &Asked<'_>, signals: &mut Signals, caller: &mut Caller<'_>) -> Result<u8, Error> {
    let mut resized = signal(SignalKind::window_change()).map_err(no_signals)?;
    let mut stopped = signal(SignalKind::from_raw(Stop::SIGTSTP as i32)).map_err(no_signals)?;
    let mut seen = Seen { every: asked.every, last: None, trouble: None };
    loop {
        let outcome = tokio::select! {
            outcome = asked.ask(caller) => outcome?,
            code = signals.end() => return Ok(code),
        };
        seen.take(outcome, now());
        let pause = tokio::time::sleep(asked.every);
        tokio::pin!(pause);
        loop {
            if let Some(screen) = caller.screen() {
                caller.answer(&frame(&seen.text(now(), screen), screen.rows))?;
                caller.flush()?;
            }
            tokio::select! {
                () = &mut pause => break,
                _ = resized.recv() => {}
                _ = stopped.recv() => stop(caller)?,
                code = signals.end() => return Ok(code),
            }
        }
    }
}

/// Ctrl-Z: the shell gets the terminal as it was, until it has us go on.
fn stop(caller: &mut Caller<'_>) -> Result<(), Error> {
    caller.answer(LEAVE)?;
    caller.flush()?;
    // One that cannot be caught: here this process stands still.
    let _ = raise(Stop::SIGSTOP);
    caller.answer(ENTER)
}

/// What is known of usherd.
struct Seen {
    every: Duration,
    /// Its last answer, and when that was.
    last: Option<(StatusResponse, i64)>,
    /// Why it does not answer any more.
    trouble: Option<String>,
}

impl Seen {
    fn take(&mut self, outcome: Result<StatusResponse, Error>, now: i64) {
        match outcome {
            Ok(answer) => (self.last, self.trouble) = (Some((answer, now)), None),
            Err(error) => self.trouble = Some(printable(error.to_string().trim_end())),
        }
    }

    /// All there is to show.
    fn text(&self, now: i64, screen: Screen) -> String {
        let mut all = format!("every {}, Ctrl-C ends it\n", interval(self.every));
        if let Some(trouble) = &self.trouble {
            let _ = write!(all, "\n{trouble}\nusherd is looked for again");
            let _ = match &self.last {
                Some((_, at)) => writeln!(all, "; what it said last, {}:", span(*at, now)),
                None => writeln!(all, "."),
            };
        }
        if let Some((answer, _)) = &self.last {
            all.push('\n');
            all.push_str(&text(answer, now, Some(screen)));
        }
        all
    }
}

/// `text` over what the screen shows; what does not fit is counted in the last line.
fn frame(text: &str, rows: u16) -> String {
    let (lines, rows) = (text.lines().collect::<Vec<_>>(), usize::from(rows));
    let shown = if lines.len() > rows { rows.saturating_sub(1) } else { lines.len() };
    let mut shown_lines: Vec<_> = lines[..shown].iter().map(|line| (*line).to_owned()).collect();
    if shown < lines.len() {
        shown_lines.push(format!("... and {} more lines: a taller window shows them", lines.len() - shown));
    }
    // From the top, each to the edge, and nothing below: what does not change does not flicker.
    format!("\x1b[H{}\x1b[K\x1b[J", shown_lines.join("\x1b[K\r\n"))
}

fn interval(every: Duration) -> String {
    if every.subsec_nanos() == 0 { human(every) } else { format!("{every:?}") }
}

fn no_signals(source: io::Error) -> Error {
    Error::System { what: "cannot wait for signals", source }
}

/// The signals that end it.
struct Signals {
    interrupt: Signal,
    hangup: Signal,
    quit: Signal,
    terminate: Signal,
}

impl Signals {
    fn catch() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            quit: signal(SignalKind::quit())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for one that ends it. Answers the exit code: Ctrl-C is how it is meant to end, any other is told as a
    /// shell does.
    async fn end(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => exit::OK,
            _ = self.hangup.recv() => 129,
            _ = self.quit.recv() => 131,
            _ = self.terminate.recv() => 143,
        }
    }
}

#[cfg(test)]
mod tests {
    use usher_proto::client::ConnectError;

    use super::*;

    const SCREEN: Screen = Screen { columns: 80, rows: 24 };

    fn gone() -> Error {
        Error::from(ConnectError::NotRunning { path: "/run/usher.sock".into() })
    }

    #[test]
    fn what_was_seen_last_is_shown_beside_the_trouble() {
        let mut seen = Seen { every: Duration::from_secs(2), last: None, trouble: None };
        seen.take(Err(gone()), 100);
        assert_eq!(
            seen.text(100, SCREEN),
            "every 2s, Ctrl-C ends it\n\nusherd is not running: nobody listens on /run/usher.sock\n\
             usherd is looked for again.\n"
        );
        let answer = StatusResponse { version: "1.2.3".into(), pid: 42, ..Default::default() };
        seen.take(Ok(answer.clone()), 110);
        let good = seen.text(110, SCREEN);
        assert!(good.starts_with("every 2s, Ctrl-C ends it\n\nusherd 1.2.3, pid 42"), "{good}");
        seen.take(Err(gone()), 112);
        let bad = seen.text(125, SCREEN);
        assert!(bad.contains("again; what it said last, 15s ago:\n\nusherd 1.2.3"), "{bad}");
        seen.take(Ok(answer), 126);
        assert_eq!(seen.text(126, SCREEN), good);
        let often = Seen { every: Duration::from_millis(250), last: None, trouble: None };
        assert_eq!(often.text(0, SCREEN), "every 250ms, Ctrl-C ends it\n");
    }

    #[test]
    fn a_frame_has_as_many_lines_as_the_screen_and_clears_what_was_there() {
        assert_eq!(frame("a\nb\n", 2), "\x1b[Ha\x1b[K\r\nb\x1b[K\x1b[J");
        assert_eq!(
            frame("a\nb\nc\n", 2),
            "\x1b[Ha\x1b[K\r\n... and 2 more lines: a taller window shows them\x1b[K\x1b[J"
        );
        for rows in 1..5 {
            assert_eq!(frame("a\nb\nc\nd\ne\nf\n", rows).matches("\x1b[K").count(), usize::from(rows));
        }
    }
}
