//! Logs go to stderr, by a thread of their own: a terminal that is stopped, or a pipe that nobody reads,
//! must not stop the daemon.

use std::io::{IsTerminal as _, stderr};

use tracing::Level;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{filter::Targets, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use super::args::LogFormat;

/// Lines that wait for a stderr that is slow to take them. Those beyond are dropped.
const WAITING_LINES: usize = 1024;

/// Begins to log. What waits is written when the guard is dropped.
///
/// The level is for usher's own lines; other crates' are only heard when something is wrong, since what
/// they write at lower levels is made of what passes through them.
pub(super) fn begin(format: LogFormat, level: Level) -> WorkerGuard {
    let targets = Targets::new().with_default(Level::WARN).with_target("usher_daemon", level);
    let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(WAITING_LINES);
    let (writer, guard) = builder.thread_name("log").finish(stderr());
    let registry = tracing_subscriber::registry().with(targets);
    match format {
        LogFormat::Human => {
            registry.with(fmt::layer().with_writer(writer).with_ansi(stderr().is_terminal())).init();
        }
        LogFormat::Json => registry.with(fmt::layer().json().with_writer(writer)).init(),
    }
    guard
}
