//! What a slow fault is compared with.

use super::*;

/// The stretch before a fault that it is compared with, in seconds from the run's start.
#[test]
fn a_slow_fault_is_compared_with_the_quiet_stretch_before_it() {
    let watch = |patch: &str| {
        let watches = compiled(patch).plan.watches();
        let [watch] = &watches[..] else {
            panic!("{patch}: {watches:?}");
        };
        let seconds = [watch.before, watch.start, watch.end].map(|at| at.as_secs_f64());
        (watch.fault, watch.group, seconds)
    };
    const SLOW: &str = "{slow: {clients: sub, count: 1, read: none, after: 5s, for: 10s}}";
    let phases = |before: &str, faults: &str, length: &str| {
        format!("{{phases: [{before}, {{name: b, for: {length}, faults: [{faults}{SLOW}]}}]}}")
    };
    // Half a minute, or the length of the fault if that is more.
    let long = "{name: a, for: 100s}";
    assert_eq!(
        watch(&phases(long, "", "20s")),
        (0, 0, [75.0, 105.0, 115.0])
    );
    let longer = phases(long, "", "60s").replace("for: 10s", "for: 40s");
    assert_eq!(watch(&longer), (0, 0, [65.0, 105.0, 145.0]));
    // Not from before the run, nor while anything opens or has just done so: all at once at the start.
    let short = "{name: a, for: 10s}";
    assert_eq!(watch(&phases(short, "", "20s")).2, [1.0, 15.0, 25.0]);
    let opening = "{name: a, for: 12s, open: {sub: linear}}";
    assert_eq!(watch(&phases(opening, "", "20s")).2, [13.0, 17.0, 27.0]);
    // Nor while another fault lasts.
    let burst = "{burst: {clients: pub, rate: 2x, for: 3s}}, ";
    assert_eq!(
        watch(&phases(long, burst, "20s")),
        (1, 0, [103.0, 105.0, 115.0])
    );
    // Where nothing is left it is empty, not negative.
    let burst = "{burst: {clients: pub, rate: 2x, for: 9s}}, ";
    assert_eq!(watch(&phases(long, burst, "20s")).2, [105.0, 105.0, 115.0]);
}
