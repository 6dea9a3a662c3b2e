//! usherd. What it does, in order, is in [`usher_daemon::start`].

use std::process::ExitCode;

fn main() -> ExitCode {
    usher_daemon::start::main()
}
