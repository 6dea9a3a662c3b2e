//! `usher`: hands the process's arguments, streams and environment to the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    usher_cli::main(std::env::args_os())
}
