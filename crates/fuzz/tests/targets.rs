//! The corpus is what it says, every target has one, and a few mutations of it do no harm: `cargo xtask fuzz` has more
//! patience, and sees aborts and loops without end too.

use mtl_fuzz::corpus::{self, Seed};
use mtl_fuzz::{TARGETS, Target, mutate};

/// Mutations of each target here.
const FEW: u64 = 150;

fn seeds(target: &Target) -> Vec<Seed> {
    let seeds = corpus::of(target.name);
    assert!(seeds.iter().any(Seed::is_valid), "{}: no valid file in its corpus", target.name);
    seeds
}

/// The targets are dealt to as many tests as run beside each other.
fn tried(part: usize) {
    for target in TARGETS.iter().skip(part).step_by(4) {
        let seeds = seeds(target);
        for seed in &seeds {
            assert!(seed.bytes.len() < 4096, "{}: {} is large for a seed", target.name, seed.name);
            match (target.read)(seed.bytes) {
                Ok(()) => assert!(seed.is_valid(), "{}: {} is read", target.name, seed.name),
                Err(error) => assert!(!seed.is_valid(), "{}: {}: {error:#}", target.name, seed.name),
            }
            target.run(seed.bytes);
        }
        for case in 0..seeds.len() as u64 + FEW {
            target.run(&mutate::input(target, &seeds, 1, case));
        }
    }
}

#[test]
fn the_first_quarter_of_the_targets_stands_mutations() {
    tried(0);
}

#[test]
fn the_second_quarter_of_the_targets_stands_mutations() {
    tried(1);
}

#[test]
fn the_third_quarter_of_the_targets_stands_mutations() {
    tried(2);
}

#[test]
fn the_last_quarter_of_the_targets_stands_mutations() {
    tried(3);
}

#[test]
fn a_case_is_one_input_and_another_case_is_another() {
    let target = Target::named("csv").expect("a target");
    let seeds = seeds(target);
    let all = |seed: u64| (0..500).map(|case| mutate::input(target, &seeds, seed, case)).collect::<Vec<_>>();
    let inputs = all(3);
    assert_eq!(inputs, all(3));
    for (input, seed) in inputs.iter().zip(&seeds) {
        assert_eq!(input, seed.bytes);
    }
    let mut distinct = inputs.clone();
    distinct.sort();
    distinct.dedup();
    assert!(distinct.len() > 450, "{} inputs of {}", distinct.len(), inputs.len());
    assert_ne!(inputs, all(4));
}

#[test]
fn names_are_distinct_and_every_folder_of_the_corpus_is_a_targets() {
    let mut names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    assert_eq!(corpus::names(), names);
}

/// cargo-fuzz builds a program for each target.
#[test]
fn every_target_is_a_program_of_cargo_fuzz() {
    let text = include_str!("../fuzz/Cargo.toml");
    let manifest: toml::Table = text.parse().expect("TOML");
    let programs = manifest["bin"].as_array().expect("programs");
    let names: Vec<&str> = programs.iter().filter_map(|program| program["name"].as_str()).collect();
    let targets: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(names, targets);
}
