//! The resume matrix: whatever is trained by, a run that goes on from a save in the middle of an epoch is the run that
//! nobody stopped, bit for bit.
//!
//! Members come out of the registries, so a new one is covered by being entered there. The diagonal that every test run
//! walks has each of them once; `.ci/full` walks all cells.

#[path = "../dynamic/strategy.rs"]
mod strategy;
#[path = "../chain/tiny.rs"]
#[allow(dead_code, reason = "the chain's tests use what these do not")]
mod tiny;

mod cell;

use std::sync::Arc;

use cell::{Cell, Verdict};
use mtl_train::Registries;

/// A rule that looks at no task, one that looks at gradients, one that keeps a state and looks at losses twice.
const RULES: [&str; 3] = ["equal", "nash", "famo"];
/// Micro-batches in a step.
const WINDOWS: [usize; 2] = [1, 4];
/// Strategies that change their structure in training, with a setting that has them do it in these few steps.
const CHANGING: [(&str, &str); 4] = [
    ("groups", "sharing.warmup_steps=4"),
    ("recon", "sharing.search=0.5"),
    ("split-and-merge", "sharing.every=2"),
    ("shatter", "sharing.at=3"),
];

/// The built-in members, and the strategies of the dynamic tests.
fn registries() -> Arc<Registries> {
    let mut registries = Registries::default();
    for entry in [strategy::SPLIT_AND_MERGE, strategy::SHATTER] {
        registries.strategies = registries.strategies.with(entry).expect("a new name");
    }
    Arc::new(registries)
}

/// Every strategy by three rules, every rule on one encoder, and a structure that changes by three rules: with and
/// without accumulation.
fn cells(registries: &Arc<Registries>) -> Vec<Cell> {
    let mut cells = Vec::new();
    for window in WINDOWS {
        for strategy in registries.strategies.iter() {
            let setting = CHANGING.iter().find(|(name, _)| *name == strategy.name).map(|(_, setting)| *setting);
            for rule in RULES {
                cells.push(Cell::new(registries, strategy.name, rule, window, setting));
            }
        }
        let others = registries.rules.iter().map(|rule| rule.name).filter(|name| !RULES.contains(name));
        cells.extend(others.map(|rule| Cell::new(registries, "hard", rule, window, None)));
    }
    cells
}

/// Walks `cells`; says all that went wrong, and answers how many were walked.
fn walk(cells: &[Cell]) -> usize {
    let mut wrong = Vec::new();
    let mut walked = 0;
    for (index, cell) in cells.iter().enumerate() {
        match cell.walk(index) {
            Verdict::Same => walked += 1,
            Verdict::Refused(_) if !cell.fits() => {}
            Verdict::Refused(error) => wrong.push(format!("{cell}: refused: {error}")),
            Verdict::Different(what) => wrong.push(format!("{cell}: {what}")),
        }
    }
    assert!(wrong.is_empty(), "{} of {} cells:\n{}", wrong.len(), cells.len(), wrong.join("\n"));
    walked
}

/// Those of `cells` with accumulation, each strategy by one rule in its turn: without accumulation, the tests of the
/// strategies and of the rules in the chain walk them.
fn diagonal(registries: &Registries, mut cells: Vec<Cell>) -> Vec<Cell> {
    let turn = |cell: &Cell| registries.strategies.iter().position(|entry| entry.name == cell.strategy()).unwrap_or(0);
    cells.retain(|cell| {
        let rule = RULES.iter().position(|rule| *rule == cell.rule());
        // One that shares nothing takes the first: not every rule fits.
        let turns = if cell.shares() { 3 } else { 1 };
        let chosen = rule.is_none_or(|rule| turn(cell) % turns == rule || cell.strategy() == "hard");
        cell.window() == WINDOWS[1] && chosen
    });
    cells
}

#[test]
fn every_strategy_resumes_bit_for_bit() {
    let registries = registries();
    let mut cells = diagonal(&registries, cells(&registries));
    cells.retain(|cell| cell.strategy() != "hard");
    let walked = walk(&cells);
    assert!(walked >= registries.strategies.iter().count() - 1, "only {walked} cells were walked");
}

#[test]
fn every_rule_resumes_bit_for_bit() {
    let registries = registries();
    let mut cells = diagonal(&registries, cells(&registries));
    cells.retain(|cell| cell.strategy() == "hard");
    assert_eq!(walk(&cells), registries.rules.iter().count());
}

#[test]
#[ignore = "long: .ci/full walks it"]
fn the_whole_matrix_resumes_bit_for_bit() {
    let cells = cells(&registries());
    let walked = walk(&cells);
    assert!(walked > 150, "only {walked} cells were walked");
}
