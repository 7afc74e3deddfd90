//! Matrices of task gradients of every kind that training can bring, and how to put one to a rule.
#![allow(dead_code)] // each test uses its own part

use mtl_task::rng::{Key, Stream};
use mtl_task::{Likelihood, Progress};
use mtl_weighting::{Dense, Gram, Jacobian, Outcome, StepInputs, Weighting};

pub(crate) type Rows = Vec<Vec<f64>>;

pub(crate) fn normal(stream: &mut Stream, tasks: usize, columns: usize) -> Rows {
    (0..tasks).map(|_| (0..columns).map(|_| stream.normal()).collect()).collect()
}

/// Each row multiplied by its factor.
pub(crate) fn scaled(rows: &Rows, factors: &[f64]) -> Rows {
    rows.iter().zip(factors).map(|(row, factor)| row.iter().map(|value| value * factor).collect()).collect()
}

/// Rows with `weights` · rows = 0: the last one is made to balance the others.
fn balanced(stream: &mut Stream, weights: &[f64], columns: usize) -> Rows {
    let mut rows = normal(stream, weights.len(), columns);
    let (last, others) = rows.split_last_mut().expect("rows");
    for (column, value) in last.iter_mut().enumerate() {
        let sum: f64 = others.iter().zip(weights).map(|(row, weight)| weight * row[column]).sum();
        *value = -sum / weights[weights.len() - 1];
    }
    rows
}

/// Every kind: a name, and one matrix of it.
pub(crate) fn kinds(seed: u64) -> Vec<(&'static str, Rows)> {
    let mut stream = Key::new(seed).named("matrices").stream();
    let s = &mut stream;
    let mut kinds = vec![
        ("normal", normal(s, 4, 12)),
        ("normal of five", normal(s, 5, 40)),
        ("zero", vec![vec![0.0; 12]; 4]),
        ("one zero row", scaled(&normal(s, 4, 12), &[1.0, 0.0, 1.0, 1.0])),
        ("rank-deficient", normal(s, 5, 3)),
        ("one row", normal(s, 1, 12)),
        ("two rows", normal(s, 2, 12)),
        ("scaled", scaled(&normal(s, 4, 30), &[1e-10, 1.0, 1e5, 1e15])),
        ("large", scaled(&normal(s, 4, 30), &[1e15; 4])),
        ("small", scaled(&normal(s, 4, 30), &[1e-10; 4])),
        ("strongly stationary", balanced(s, &[1.0, 0.5, 2.0, 1.5], 12)),
        ("twenty by a hundred", normal(s, 20, 100)),
    ];
    let mut duplicate = normal(s, 4, 12);
    duplicate[3] = duplicate[1].clone();
    kinds.push(("duplicate rows", duplicate));
    // The first two balance each other and the others take no part.
    let mut weakly = balanced(s, &[1.0, 2.0], 12);
    weakly.extend(normal(s, 2, 12));
    kinds.push(("weakly stationary", weakly));
    let mut opposite = normal(s, 4, 12);
    opposite[1] = opposite[0].iter().map(|value| -3.0 * value).collect();
    kinds.push(("opposite rows", opposite));
    let common = normal(s, 1, 30).remove(0);
    let correlated: Rows =
        normal(s, 4, 30).into_iter().map(|row| row.iter().zip(&common).map(|(a, b)| 0.3 * a + b).collect()).collect();
    kinds.push(("correlated", correlated));
    let mut conflicting = normal(s, 4, 12);
    for row in 1..4 {
        conflicting[row] = (0..12).map(|c| 0.6 * conflicting[row][c] - 0.9 * conflicting[0][c]).collect();
    }
    kinds.push(("conflicting", conflicting));
    kinds
}

/// Every kind again with rows up to three hundred decades apart, opposite and vanishing ones, and single columns.
pub(crate) fn extremes(seed: u64) -> Vec<(String, Rows)> {
    let mut stream = Key::new(seed).named("extremes").stream();
    let scales: [[f64; 5]; 5] =
        [[1.0; 5], [1e150; 5], [1e-150; 5], [1e150, 1e-150, 1.0, 1e-150, 1e75], [1e-150, 1.0, 1e-150, 1e150, 1e-8]];
    let mut kinds: Vec<(&str, Rows)> = kinds(seed);
    let one = normal(&mut stream, 1, 3).remove(0);
    kinds.push(("opposite pair", [1.0, -1.0].map(|sign| one.iter().map(|value| sign * value).collect()).to_vec()));
    kinds.push(("unequal opposites", [1.0, -2.5].map(|sign| one.iter().map(|value| sign * value).collect()).to_vec()));
    // At 120°: the unit gradients sum to 0 but for rounding.
    let turn = |third: f64| (third * std::f64::consts::TAU / 3.0).sin_cos();
    kinds.push(("three in balance", [0.0, 1.0, 2.0].map(|third| vec![turn(third).0, turn(third).1]).to_vec()));
    kinds.push(("one column", normal(&mut stream, 5, 1)));
    kinds.push(("more rows than columns", normal(&mut stream, 8, 2)));
    kinds.push(("all alike", vec![one.clone(); 4]));
    let mut signs = vec![one.clone(); 4];
    signs[3].iter_mut().for_each(|value| *value = -*value);
    kinds.push(("three against one", signs));
    let mut lone = vec![vec![0.0; 3]; 4];
    lone[2] = one;
    kinds.push(("all zero but one", lone));
    let named = kinds.iter().flat_map(|(kind, rows)| {
        scales.iter().enumerate().map(move |(at, scales)| {
            let factors: Vec<f64> = (0..rows.len()).map(|row| scales[row % scales.len()]).collect();
            // Not beyond what squares can hold.
            let rows = rows.iter().map(|row| row.iter().map(|value| value.clamp(-1e3, 1e3)).collect()).collect();
            (format!("{kind}, scales {at}"), scaled(&rows, &factors))
        })
    });
    let mut all: Vec<(String, Rows)> = named.collect();
    all.push(("far apart".into(), vec![vec![1e150, 0.0], vec![1e-150, 1.0]]));
    all
}

/// One step of a rule: the outcome and the direction.
pub(crate) fn step(rule: &mut Weighting, mini_batches: &[Rows], losses: &[f64], number: usize) -> (Outcome, Vec<f64>) {
    let tasks = mini_batches[0].len();
    let likelihood = vec![Likelihood::Gaussian; tasks];
    let seen = StepInputs {
        losses,
        likelihood: &likelihood,
        progress: Progress { step: number, of: 100 },
        key: Key::new(5).with(number as u64),
    };
    let mini_batches: Vec<Dense> =
        mini_batches.iter().map(|rows| Dense::new(rows.clone()).expect("a matrix")).collect();
    let mut direction = vec![];
    let outcome = match rule {
        Weighting::Losses(rule) => rule.weights(&seen),
        Weighting::Gram(rule) => {
            let rows: Vec<&[f64]> =
                mini_batches.iter().flat_map(|draw| (0..tasks).map(|task| draw.row(task))).collect();
            rule.weights(&Gram::of_rows(&rows), &seen)
        }
        Weighting::Jacobian(rule) => {
            let mini_batches: Vec<&dyn Jacobian> = mini_batches.iter().map(|draw| draw as &dyn Jacobian).collect();
            rule.direction(&mini_batches, &seen, &mut |start, part| {
                assert_eq!(start, direction.len(), "chunks are written in order");
                direction.extend(part);
            })
        }
    };
    if direction.is_empty() && !outcome.weights.is_empty() {
        direction = mini_batches[0].combine(&outcome.weights);
    }
    (outcome, direction)
}

/// Several steps on changing gradients around `rows` and falling losses, losses_after_step included; the last step's outcome,
/// direction and gradients.
pub(crate) fn play(
    rule: &mut Weighting,
    rows: &Rows,
    losses: &[f64],
    steps: std::ops::Range<usize>,
) -> (Outcome, Vec<f64>, Rows) {
    let mut last = None;
    for number in steps {
        let mut stream = Key::new(11).with(number as u64).stream();
        // The same change for every task's every draw in any order of tasks, in proportion to the row.
        let change: Vec<f64> = (0..rows[0].len()).map(|_| 1.0 + 0.2 * stream.normal()).collect();
        let now: Rows = rows.iter().map(|row| row.iter().zip(&change).map(|(g, c)| g * c).collect()).collect();
        let falling: Vec<f64> = losses.iter().map(|loss| loss * 0.9f64.powi(number as i32)).collect();
        let mini_batches = vec![now.clone(); rule.needs().mini_batches];
        let (outcome, direction) = step(rule, &mini_batches, &falling, number);
        rule.losses_after_step(
            &falling.iter().enumerate().map(|(i, loss)| loss * (0.99 - 0.01 * i as f64)).collect::<Vec<_>>(),
        );
        last = Some((outcome, direction, now));
    }
    last.expect("at least one step")
}

pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

pub(crate) fn length(a: &[f64]) -> f64 {
    // Scaled, so that squares of 1e15 and 1e-10 are told apart.
    let largest = a.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    if largest == 0.0 { 0.0 } else { largest * a.iter().map(|v| (v / largest).powi(2)).sum::<f64>().sqrt() }
}

/// ‖a − b‖ relative to the longer of the two.
pub(crate) fn apart(a: &[f64], b: &[f64]) -> f64 {
    let difference: Vec<f64> = a.iter().zip(b).map(|(x, y)| x - y).collect();
    let scale = length(a).max(length(b));
    if scale == 0.0 { 0.0 } else { length(&difference) / scale }
}

/// The unit vector along `a`.
pub(crate) fn bearing(a: &[f64]) -> Vec<f64> {
    let scale = length(a);
    a.iter().map(|value| value / scale).collect()
}
