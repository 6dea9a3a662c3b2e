//! SIGKILL at every system call, and at hundreds of moments.

#![allow(clippy::print_stdout, reason = "the figures are worth reading")]

use crate::{
    crash::{Place, autostart::Home},
    support::random::Random,
};

#[test]
fn killed_at_every_system_call_of_its_life_it_starts_again() {
    let place = Place::new();
    let calls = place.system_calls();
    let killed: usize = calls.iter().map(|call| place.kill_at_each(call)).sum();
    println!("killed at {killed} system calls, which are {} different ones", calls.len());
    assert!(killed > 150, "a start, a call and an end have only {killed} system calls");
}

#[test]
fn killed_at_every_system_call_that_writes_the_store_is_as_before_or_as_it_was_to_be() {
    let place = Place::with_store();
    let calls = place.system_calls();
    let writes =
        ["openat", "write", "fsync", "fdatasync", "rename", "renameat2", "unlink", "unlinkat", "fchmod"];
    let killed: usize =
        writes.iter().filter(|call| calls.contains(**call)).map(|call| place.kill_at_each(call)).sum();
    println!("killed at {killed} system calls that open, write, sync, rename or remove");
    assert!(killed > 15, "a life with a store has only {killed} of them");
}

#[test]
fn killed_at_hundreds_of_moments_of_writing_the_store_is_as_before_or_as_it_was_to_be() {
    let (place, mut random) = (Place::with_store(), Random::new());
    let (mut killed, mut fetched) = (0, 0);
    // How many tokens come before a kill depends on how fast the disk is.
    while killed < 300 || fetched <= 300 && killed < 3000 {
        fetched += place.kill_while_it_writes(&mut random, 100);
        killed += 100;
    }
    println!("killed {killed} times, after {fetched} tokens");
    assert!(fetched > 300);
}

#[test]
fn killed_at_hundreds_of_moments_it_starts_again() {
    let (place, mut random) = (Place::new(), Random::new());
    let starting = place.kill_while_it_starts(&mut random, 300);
    let answered = place.kill_under_load(&mut random, 300);
    println!("killed {starting} times before it was ready, 300 times under load, after {answered} calls");
    assert!(starting > 20 && answered > 200);
}

#[test]
fn usher_and_the_usherd_that_it_starts_are_killed_at_every_system_call_and_the_next_caller_gets_its_token() {
    let home = Home::new();
    let (mut killed, mut told) = (0, 0);
    for (call, count) in home.system_calls() {
        let (kills, others) = home.kill_at_each(&call, count);
        killed += kills;
        told += others;
    }
    println!("usher was killed {killed} times, and usherd, or neither, {told} times");
    assert!(killed > 100 && told > 50);
}
