//! Races for the socket, hundreds and thousands of times.

#![allow(clippy::unwrap_used, reason = "a panic is the failure of the test")]

use usher_proto::v1::StatusRequest;

use crate::{
    socket::race::{one_of, race_another_user, race_ourselves},
    support::sandbox,
};

#[test]
fn another_user_who_swaps_the_directory_leads_no_socket_astray_10_000_times() {
    race_another_user(10_000);
}

#[test]
fn whoever_swaps_the_directory_leads_no_socket_to_one_that_was_not_checked_10_000_times() {
    race_ourselves(10_000);
}

#[test]
fn of_two_daemons_started_in_the_same_moment_one_serves_500_times() {
    let sandbox = sandbox();
    sandbox.config("");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for round in 0..500 {
        let usherd = one_of(&sandbox, 2);
        let status = runtime.block_on(async {
            let connection = usherd.connect().await;
            connection.admin().status(StatusRequest::default()).await.unwrap().into_inner()
        });
        assert_eq!(status.pid, usherd.pid(), "round {round}");
        // In turn there is a socket that nobody listens on, and none.
        if round % 2 == 0 {
            usherd.kill();
        }
    }
}
