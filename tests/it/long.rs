//! Tests that take minutes: `cargo nextest run --profile long`. The default profile leaves them out.

mod crash;
mod soak;
mod socket;
