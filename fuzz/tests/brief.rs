//! Each target over its seeds and some thousands of seeded mutations of them. `make fuzz` looks further.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use safeconduct_fuzz::{Mutator, TARGETS};

/// Stacks as large as those the product parses on.
const STACK_BYTES: usize = 64 << 20;

fn drive(name: &'static str, times: u64) {
    let run = move || {
        let target = TARGETS.iter().find(|target| target.name == name).unwrap();
        let mut inputs = (target.seeds)();
        inputs.iter().for_each(|seed| (target.run)(seed));
        let seed = std::env::var("SEED").map_or(1, |text| text.parse().unwrap());
        let times = std::env::var("TIMES").map_or(times, |text| text.parse().unwrap());
        let mut mutator = Mutator::seeded(seed);
        for number in 0..times {
            let input = mutator.change(&inputs);
            let caught = std::panic::catch_unwind(|| (target.run)(&input));
            if caught.is_err() {
                panic!("{name}: input {number} of SEED={seed} does not hold: {:?}", String::from_utf8_lossy(&input));
            }
            // Some go on to be changed further.
            if number % 64 == 0 && inputs.len() < 64 && input.len() < 4096 {
                inputs.push(input);
            }
        }
    };
    std::thread::Builder::new().stack_size(STACK_BYTES).spawn(run).unwrap().join().expect("see above");
}

#[test]
fn f41_f33_the_wire_holds_for_any_bytes() {
    drive("wire", 40_000);
}

#[test]
fn f30_f34_facts_hold_for_any_text() {
    drive("sql", 20_000);
}

#[test]
fn f49_a_bundle_of_any_files_is_judged() {
    drive("bundle", 30);
}
