//! Runs every target on a stable compiler: its corpus, and as many mutated inputs as `ICWS_FUZZ_INPUTS` has, from the
//! seed `ICWS_FUZZ_SEED`. An input that fails is printed in hexadecimal, for a test of its own.

use std::panic;
use std::time::{Duration, Instant};
use std::{env, thread};

use icws_fuzz::corpus::seeds;
use icws_fuzz::mutation::{Random, mutate};
use icws_fuzz::targets::{ALL, Target};

/// Mutated inputs of each target where nothing is set: some seconds for all targets.
const INPUTS: usize = 300;
/// Far more than any input may take: what takes longer is a budget that is missing.
const PATIENCE: Duration = Duration::from_secs(60);
/// That of threads of Python, on which the gateway decodes.
const STACK: usize = 8 << 20;

fn number(variable: &str, default: usize) -> usize {
    env::var(variable).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

fn run(name: &str, target: Target, input: &[u8]) {
    let began = Instant::now();
    let end = panic::catch_unwind(|| target(input));
    assert!(end.is_ok(), "{name} failed with {}", hex::encode(input));
    assert!(began.elapsed() < PATIENCE, "{name} took {:?} for {}", began.elapsed(), hex::encode(input));
}

fn run_all(name: &str, target: Target, inputs: usize, seed: usize) {
    let corpus = seeds(name);
    corpus.iter().for_each(|input| run(name, target, input));
    let mut random = Random::new(seed as u64);
    for _ in 0..inputs {
        let [data, other] = [0, 1].map(|_| &corpus[random.below(corpus.len())]);
        run(name, target, &mutate(&mut random, data, other));
    }
}

#[test]
fn hostile_inputs_end_in_an_error_of_ours() {
    let (inputs, seed) = (number("ICWS_FUZZ_INPUTS", INPUTS), number("ICWS_FUZZ_SEED", 1));
    for (name, target) in ALL {
        let thread = thread::Builder::new().stack_size(STACK).spawn(move || run_all(name, target, inputs, seed));
        assert!(thread.expect("a thread").join().is_ok(), "{name}");
    }
}
