//! The store on a disk that loses power, and on a real one.

mod credential_power;
mod credentials;
mod disk;
mod power;
mod real;
