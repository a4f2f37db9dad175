//! Every fuzz target's property over its kept corpus and over mutations of it: the same on every run, in seconds.
//!
//! `make fuzz` runs the same properties with libFuzzer, which finds its own inputs.

#![allow(clippy::panic, reason = "a property that does not hold panics")]

#[path = "fuzz/mutation.rs"]
mod mutation;
#[path = "fuzz/properties.rs"]
mod properties;

use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use mutation::{Random, mutate};
use properties::{TARGETS, Target};

/// Mutations for each target; `FUZZ_MUTATIONS` sets another number.
const MUTATIONS: usize = 4_000;
/// For the two whose property asks a matcher for dozens of paths, each by every method.
const SLOW_MUTATIONS: usize = 500;

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("an entry of the corpus").path())
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|file| {
            let bytes = std::fs::read(&file).expect("a file of the corpus");
            (file.file_name().expect("a file has a name").to_string_lossy().into_owned(), bytes)
        })
        .collect()
}

/// Runs one input, and says whether the gate took it; what it was is printed if the property does not hold.
fn run((name, property): Target, from: &str, input: &[u8]) -> bool {
    catch_unwind(|| property(input)).unwrap_or_else(|_| {
        panic!("the property `{name}` does not hold for {from}:\n{}", input.escape_ascii())
    })
}

fn run_target(target: Target) {
    let seeds = corpus(target.0);
    assert!(seeds.len() >= 5, "{}: a corpus of {} is none", target.0, seeds.len());
    run(target, "no bytes at all", &[]);
    let taken: Vec<&(String, Vec<u8>)> =
        seeds.iter().filter(|(name, input)| run(target, name, input)).collect();
    let usual = if matches!(target.0, "mapping" | "matcher") { SLOW_MUTATIONS } else { MUTATIONS };
    let mutations = std::env::var("FUZZ_MUTATIONS").map_or(usual, |count| count.parse().expect("a number"));
    let mut random = Random::new(target.0.bytes().map(u64::from).sum());
    // One in so many is any kept input, the others are of those that the gate takes.
    let pick = |random: &mut Random, any: usize| -> &[u8] {
        let seed = match random.below(any) {
            0 => &seeds[random.below(seeds.len())],
            _ => taken[random.below(taken.len())],
        };
        &seed.1
    };
    let mut taken_mutations = 0;
    for number in 0..mutations {
        // Most begin with an input that the gate takes: what is refused is mostly refused again.
        let (input, other) = (pick(&mut random, 8), pick(&mut random, 2));
        let mutation = mutate(input, other, &mut random);
        taken_mutations += usize::from(run(target, &format!("mutation {number}"), &mutation));
    }
    // Inputs that are all refused would look at nothing behind the first refusal.
    let least = mutations / 20;
    assert!(taken_mutations >= least, "{}: {taken_mutations} of {mutations} mutations taken", target.0);
    println!(
        "{}: the gate took {} of {} kept inputs and {taken_mutations} of {mutations} mutations",
        target.0,
        taken.len(),
        seeds.len()
    );
}

/// One test a target, so that they run beside each other and each failure has a name.
macro_rules! smoke {
    ($($target:ident)*) => {
        $(#[test]
        fn $target() {
            run_target((stringify!($target), properties::$target));
        })*

        #[test]
        fn every_target_has_a_test_a_corpus_and_a_libfuzzer_binary() {
            let tested = [$(stringify!($target)),*];
            let names = TARGETS.map(|(name, _)| name);
            assert_eq!(tested, names);
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz");
            for name in names {
                assert!(folder.join("corpus").join(name).is_dir(), "{name}");
                assert!(folder.join("targets").join(format!("{name}.rs")).is_file(), "{name}");
            }
        }
    };
}

smoke!(assertion body chunks cookie head mapping matcher request_target response session_payload settings);
