//! The store on a disk that loses power, and on a real one.

mod credentials;
mod disk;
mod power;
mod real;
