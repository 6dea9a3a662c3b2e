//! As many schedules as a long run has time for: 2,000, or `USHER_SCHEDULES`.

#[test]
fn whatever_happens_the_promises_hold_for_thousands_of_schedules() {
    let schedules =
        std::env::var("USHER_SCHEDULES").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000_u64);
    // Half to each core.
    std::thread::scope(|scope| {
        scope.spawn(|| super::run((0..schedules).step_by(2)));
        super::run((1..schedules).step_by(2));
    });
}
