//! What the registry claims of each rule's direction is measured here, and what it does not claim must fail somewhere:
//! the table of `list rules --properties` is exact in both directions. Then the closed forms and limit cases.

mod matrices;

use matrices::{Rows, apart, bearing, dot, kinds, length, normal, play, scaled, step};
use mtl_task::Registry;
use mtl_task::rng::Key;
use mtl_task::{Likelihood, Progress};
use mtl_weighting::{Gram, Outcome, Property, Rule, Status, StepInputs, Warning, Weighting};
use serde_json::{Value, json};

const STEPS: std::ops::Range<usize> = 0..3;

fn make(rule: &str, tasks: usize, settings: Value) -> Weighting {
    (Registry::<Rule>::default().find(rule).expect("a rule").build)(tasks, &settings).expect("its settings")
}

fn losses(tasks: usize) -> Vec<f64> {
    (0..tasks).map(|task| 0.7 + 0.2 * task as f64).collect()
}

/// The last of three steps of a fresh rule with default settings.
fn last(entry: &Rule, rows: &Rows, losses: &[f64]) -> (Outcome, Vec<f64>, Rows) {
    play(&mut (entry.build)(rows.len(), &json!({})).expect("at least four tasks"), rows, losses, STEPS)
}

fn times(values: &[f64], factors: &[f64]) -> Vec<f64> {
    values.iter().zip(factors).map(|(value, factor)| value * factor).collect()
}

/// Gradients with linearly independent rows, gentle enough that no rule is at the end of its precision.
fn independent(seed: u64) -> Vec<Rows> {
    let wanted = ["normal", "correlated", "conflicting", "normal of five"];
    kinds(seed).into_iter().filter(|(kind, _)| wanted.contains(kind)).map(|(_, rows)| rows).collect()
}

/// Whether `property` holds on everything that it is about.
fn holds(entry: &Rule, property: Property) -> bool {
    (0..12).all(|seed| match property {
        Property::NonConflicting => {
            kinds(seed).iter().filter(|(_, rows)| rows.len() >= 4).all(|(_, rows)| never_conflicts(entry, rows))
        }
        _ => independent(seed).iter().all(|rows| holds_on(entry, property, rows, seed)),
    })
}

fn never_conflicts(entry: &Rule, rows: &Rows) -> bool {
    let (outcome, direction, now) = last(entry, rows, &losses(rows.len()));
    // Where a typed outcome says that no direction serves all, none is promised.
    outcome.status != Status::Agreed
        || now.iter().all(|row| {
            // Whatever cancels in the direction cancels only to rounding.
            let parts: f64 = now.iter().zip(&outcome.weights).map(|(row, w)| w.abs() * length(row)).sum();
            dot(row, &direction) >= -1e-9 * length(row) * length(&direction).max(1e-5 * parts)
        })
}

fn holds_on(entry: &Rule, property: Property, rows: &Rows, seed: u64) -> bool {
    let tasks = rows.len();
    let loss = losses(tasks);
    let mut stream = Key::new(seed).named("factors").stream();
    let mut factors = || (0..tasks).map(|_| (2.0 * stream.normal()).exp()).collect::<Vec<f64>>();
    let at = |factors: &[f64]| last(entry, &scaled(rows, factors), &times(&loss, factors)).1;
    let (outcome, direction, now) = last(entry, rows, &loss);
    let along = || now.iter().map(|row| dot(&bearing(row), &direction)).collect::<Vec<f64>>();
    match property {
        Property::PermutationEquivariant => {
            let order: Vec<usize> = (1..tasks).chain([0]).collect();
            let moved: Rows = order.iter().map(|&task| rows[task].clone()).collect();
            let moved_losses: Vec<f64> = order.iter().map(|&task| loss[task]).collect();
            let here = last_without_hindsight(entry, rows, &loss);
            apart(&last_without_hindsight(entry, &moved, &moved_losses), &here) < 1e-9
        }
        Property::ScaleInvariant => apart(&bearing(&at(&factors())), &bearing(&direction)) < 1e-4,
        Property::LinearUnderScaling => {
            let (a, b) = (factors(), factors());
            let sum: Vec<f64> = a.iter().zip(&b).map(|(x, y)| x + y).collect();
            let added: Vec<f64> = at(&a).iter().zip(&at(&b)).map(|(x, y)| x + y).collect();
            apart(&at(&sum), &added) < 1e-6
        }
        Property::EqualProjections => along().iter().all(|p| (p / along()[0] - 1.0).abs() < 1e-6),
        Property::NashEquation => {
            let shares = outcome.weights.iter().zip(&now).map(|(weight, row)| weight * dot(row, &direction));
            let shares: Vec<f64> = shares.collect();
            !shares.is_empty() && shares.iter().all(|share| (share / shares[0] - 1.0).abs() < 1e-6)
        }
        Property::NonConflicting => unreachable!("measured on all kinds"),
    }
}

/// As `last`, with losses_after_step that knows no task by its place.
fn last_without_hindsight(entry: &Rule, rows: &Rows, losses: &[f64]) -> Vec<f64> {
    let mut rule = (entry.build)(rows.len(), &json!({})).expect("at least four tasks");
    let mut direction = Vec::new();
    for number in STEPS {
        let falling: Vec<f64> = losses.iter().map(|loss| loss * 0.9f64.powi(number as i32)).collect();
        let mini_batches = vec![rows.clone(); rule.needs().mini_batches];
        direction = step(&mut rule, &mini_batches, &falling, number).1;
        rule.losses_after_step(&falling.iter().map(|loss| loss * loss.min(0.9)).collect::<Vec<_>>());
    }
    direction
}

#[test]
fn claims_are_exact() {
    let mut wrong = Vec::new();
    for entry in &Registry::<Rule>::default() {
        for &property in Property::ALL {
            let (claimed, measured) = (entry.properties.contains(&property), holds(entry, property));
            if claimed != measured {
                wrong.push(format!("{}: {property:?} claimed {claimed}, measured {measured}", entry.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_matrix_lists_every_rule() {
    let table = mtl_weighting::matrix(&Registry::default());
    assert_eq!(table.lines().count(), Registry::<Rule>::default().names().len() + 2);
    assert!(table.contains("| `nash` | gram | yes | yes | – | yes | – | yes | verified |"), "{table}");
}

fn gram(rows: &Rows) -> Gram {
    Gram::of_rows(rows)
}

fn weights(rule: &str, settings: Value, rows: &Rows) -> Outcome {
    step(&mut make(rule, rows.len(), settings), std::slice::from_ref(rows), &losses(rows.len()), 0).0
}

#[test]
fn two_tasks_have_closed_forms() {
    for seed in 0..200 {
        let mut stream = Key::new(seed).stream();
        let factors = [(3.0 * stream.normal()).exp(), (3.0 * stream.normal()).exp()];
        let rows = scaled(&normal(&mut stream, 2, 6), &factors);
        let g = gram(&rows);
        let cosine = g.cosine(0, 1);
        let nash = weights("nash", json!({"max_norm": "none"}), &rows);
        for task in 0..2 {
            let exact = 1.0 / (g.norm(task) * (1.0 + cosine).sqrt());
            assert!((nash.weights[task] / exact - 1.0).abs() < 1e-9, "{nash:?}");
        }
        let mgda = weights("mgda", json!({}), &rows);
        let exact = ((g.at(1, 1) - g.at(0, 1)) / (g.at(0, 0) + g.at(1, 1) - 2.0 * g.at(0, 1))).clamp(0.0, 1.0);
        assert!((mgda.weights[0] - exact).abs() < 1e-9, "{mgda:?} {exact}");
        // UPGrad with preferences of 1 is PCGrad where there are two tasks.
        let (pcgrad, upgrad) = (weights("pcgrad", json!({}), &rows), weights("upgrad", json!({}), &rows));
        let doubled: Vec<f64> = upgrad.weights.iter().map(|w| 2.0 * w).collect();
        assert!(apart(&pcgrad.weights, &doubled) < 1e-9);
    }
}

#[test]
fn nash_solves_its_equation_and_fairgrad_at_one_is_nash() {
    for seed in 0..30 {
        for rows in independent(seed) {
            let nash = weights("nash", json!({"max_norm": 0}), &rows);
            let progress = gram(&rows).times(&nash.weights);
            assert!(nash.weights.iter().zip(&progress).all(|(w, p)| (w * p - 1.0).abs() < 1e-9), "{nash:?}");
            let fair = weights("fairgrad", json!({"alpha": 1.0, "max_norm": 0}), &rows);
            assert!(apart(&fair.weights, &nash.weights) < 1e-9);
            let clipped = weights("nash", json!({}), &rows);
            assert!((gram(&rows).quadratic(&clipped.weights) - 1.0).abs() < 1e-9, "clipped to norm 1");
            let unclipped: Vec<f64> = clipped.weights.iter().map(|w| w / clipped.clip).collect();
            assert!(apart(&unclipped, &nash.weights) < 1e-12);
        }
    }
    let orthogonal: Rows = (0..3).map(|i| (0..3).map(|j| if i == j { 10f64.powi(i) } else { 0.0 }).collect()).collect();
    let nash = weights("nash", json!({"max_norm": 0}), &orthogonal);
    assert!(apart(&nash.weights, &[1.0, 0.1, 0.01]) < 1e-12, "the sum of the unit gradients: {nash:?}");
}

#[test]
fn the_bargaining_policy_is_one_for_every_ending() {
    let mut stream = Key::new(4).stream();
    let rows = normal(&mut stream, 3, 9);
    for name in ["nash", "fairgrad"] {
        let settings = json!({"max_norm": 0, "refresh": 2});
        // Before any agreement a stationary point gives 1/‖g‖, afterwards the last agreement.
        let opposite: Rows = vec![rows[0].clone(), rows[0].iter().map(|v| -v).collect(), rows[1].clone()];
        let mut rule = make(name, 3, settings.clone());
        assert!(rule.cached(Progress { step: 1, of: 9 }).is_none(), "nothing is agreed yet");
        let (outcome, _) = step(&mut rule, std::slice::from_ref(&opposite), &losses(3), 0);
        assert_eq!(outcome.status, Status::ParetoStationary);
        let g = gram(&opposite);
        assert!((0..3).all(|i| (outcome.weights[i] * g.norm(i) - 1.0).abs() < 1e-12), "{outcome:?}");
        let (agreed, _) = step(&mut rule, std::slice::from_ref(&rows), &losses(3), 1);
        assert_eq!(agreed.status, Status::Agreed);
        let (again, _) = step(&mut rule, &[opposite], &losses(3), 2);
        assert_eq!((again.status, &again.weights), (Status::ParetoStationary, &agreed.weights));
        // A task without gradient leaves the table, and its last share stays for the steps in between.
        let mut zero = rows.clone();
        zero[1].fill(0.0);
        let (others, _) = step(&mut rule, &[zero], &losses(3), 3);
        assert_eq!((others.status, others.weights[1]), (Status::ZeroGradient(1), 0.0));
        let pair = weights(name, settings, &vec![rows[0].clone(), rows[2].clone()]);
        assert!(apart(&[others.weights[0], others.weights[2]], &pair.weights) < 1e-12);
        let cached = rule.cached(Progress { step: 3, of: 9 }).expect("cached between bargains");
        assert_eq!((cached.weights[1], cached.max_norm), (agreed.weights[1], None));
        assert!(rule.cached(Progress { step: 4, of: 9 }).is_none(), "a bargain is due");
        let (nothing, _) = step(&mut rule, &[vec![vec![0.0; 4]; 3]], &losses(3), 4);
        assert_eq!((nothing.status, nothing.weights), (Status::ZeroGradient(0), vec![0.0; 3]));
    }
}

/// The weights after so many steps on constant losses.
fn settled(rule: &str, settings: Value, losses: &[f64], likelihood: &[Likelihood]) -> Vec<f64> {
    let Weighting::Losses(mut rule) = make(rule, losses.len(), settings) else { panic!("sees losses") };
    let seen = StepInputs { losses, likelihood, progress: Progress { step: 0, of: 1 }, key: Key::new(0) };
    (0..20_000).for_each(|_| drop(rule.weights(&seen)));
    rule.weights(&seen).weights
}

#[test]
fn learned_scales_settle_at_the_scale_invariant_baseline() {
    use Likelihood::{Categorical, Gaussian};
    let losses = [0.02, 0.7, 3.0, 40.0];
    for likelihood in [[Gaussian; 4], [Categorical; 4], [Gaussian, Categorical, Categorical, Gaussian]] {
        let weights = settled("uncertainty", json!({"rate": 0.001}), &losses, &likelihood);
        let right: Vec<f64> = losses.iter().map(|loss| 0.5 / loss).collect();
        assert!(apart(&weights, &right) < 1e-6, "{weights:?} {right:?}");
    }
    let weights = settled("imtl-l", json!({"rate": 0.001}), &losses, &[]);
    let right: Vec<f64> = losses.iter().map(|loss| 1.0 / loss).collect();
    assert!(apart(&weights, &right) < 1e-6, "{weights:?} {right:?}");
    // A vanishing loss is cached by the clamp.
    let weights = settled("uncertainty", json!({"rate": 0.01, "clamp": 3.0}), &[1e-300, 1.0], &[Gaussian; 2]);
    assert!((weights[0] - 0.5 * 3f64.exp()).abs() < 1e-9, "{weights:?}");
}

#[test]
fn imtl_g_flips_with_a_typed_warning_and_is_scale_invariant_up_to_that() {
    let (mut flips, count) = (0, 2000);
    for seed in 0..count {
        let mut stream = Key::new(seed).named("imtl").stream();
        let rows = normal(&mut stream, 4, 6);
        let factors: Vec<f64> = (0..4).map(|_| (2.0 * stream.normal()).exp()).collect();
        let (one, d) = step(&mut make("imtl-g", 4, json!({})), std::slice::from_ref(&rows), &losses(4), 0);
        let (_, e) = step(&mut make("imtl-g", 4, json!({})), &[scaled(&rows, &factors)], &losses(4), 0);
        assert!((dot(&bearing(&d), &bearing(&e)).abs() - 1.0).abs() < 1e-6);
        let ascends = rows.iter().all(|row| dot(row, &d) < 0.0);
        assert_eq!(one.warning, ascends.then_some(Warning::NegativeSum));
        flips += usize::from(dot(&d, &e) < 0.0);
    }
    assert!((20..400).contains(&flips), "{flips} of {count}");
}

#[test]
fn cagrad_conflicts_with_nobody_from_c_one_on() {
    let least = |c: f64| {
        (0..100)
            .map(|seed| kinds(seed).into_iter().find(|(kind, _)| *kind == "conflicting").expect("listed").1)
            .map(|rows| {
                let (_, d) = step(&mut make("cagrad", 4, json!({"c": c})), std::slice::from_ref(&rows), &losses(4), 0);
                rows.iter().map(|row| dot(&bearing(row), &d) / length(&d)).fold(f64::INFINITY, f64::min)
            })
            .fold(f64::INFINITY, f64::min)
    };
    assert!(least(1.0) > -1e-9 && least(3.0) > -1e-9 && least(0.2) < -0.01);
    let rows = independent(0).remove(0);
    let mean = weights("mean", json!({}), &rows).weights;
    assert!(apart(&weights("cagrad", json!({"c": 0}), &rows).weights, &mean) < 1e-15);
}

#[test]
fn projections_vanish_at_strongly_stationary_points() {
    for (_, rows) in (0..20).flat_map(kinds).filter(|(kind, _)| *kind == "strongly stationary") {
        for name in ["upgrad", "dualproj", "mgda"] {
            let (outcome, d) = step(&mut make(name, 4, json!({})), std::slice::from_ref(&rows), &losses(4), 0);
            assert!(length(&d) < 1e-6, "{name}: {outcome:?} leaves {}", length(&d));
        }
        assert_eq!(weights("mgda", json!({}), &rows).status, Status::ParetoStationary);
        assert_eq!(weights("nash", json!({}), &rows).status, Status::ParetoStationary);
    }
}

#[test]
fn random_draws_have_the_moments_of_their_definitions() {
    let (mut ratio, mut square, count) = (0.0, 0.0, 20_000);
    let Weighting::Losses(mut rule) = make("random", 2, json!({})) else { panic!("sees losses") };
    for step in 0..count {
        let seen = StepInputs {
            losses: &[1.0, 2.0],
            likelihood: &[],
            progress: Progress { step, of: count },
            key: Key::new(1).with(step as u64),
        };
        // log w₁/w₂ is the difference of two standard normals.
        let weights = rule.weights(&seen).weights;
        let log = (weights[0] / weights[1]).ln();
        (ratio, square) = (ratio + log, square + log * log);
    }
    let (mean, variance) = (ratio / count as f64, square / count as f64);
    assert!(mean.abs() < 0.04 && (variance - 2.0).abs() < 0.08, "{mean} {variance}");

    let rows = vec![vec![3.0, 1.0, -1.0, 0.0], vec![-1.0, 2.0, -4.0, 0.0]];
    let mut sum = [0.0; 4];
    for number in 0..count {
        let (_, d) =
            step(&mut make("graddrop", 2, json!({"leak": 0.25})), std::slice::from_ref(&rows), &losses(2), number);
        sum.iter_mut().zip(d).for_each(|(s, d)| *s += d / count as f64);
    }
    // Coordinate 0 keeps its sign with P = ¾: the entries that pass, ¾·3 − ¼·1, and a quarter of those that do not.
    let passing = 0.75 * 3.0 - 0.25;
    let right = [passing + 0.25 * (2.0 - passing), 3.0, -5.0, 0.0];
    assert!(apart(&sum, &right) < 0.02, "{sum:?} {right:?}");
}

#[test]
fn chunks_do_not_show_in_the_answer() {
    // Wider than a chunk: what is drawn or accumulated per column must not depend on where the chunks end.
    let mut stream = Key::new(8).stream();
    let wide = normal(&mut stream, 4, 9001);
    for name in ["trimmed-mean", "graddrop", "db-mtl", "excess-mtl", "moco"] {
        let (_, d, now) = play(&mut make(name, 4, json!({})), &wide, &losses(4), 0..3);
        assert_eq!(d.len(), 9001);
        if name == "trimmed-mean" {
            for column in [0, 4095, 4096, 8192, 9000] {
                let mut entries: Vec<f64> = now.iter().map(|row| row[column]).collect();
                entries.sort_by(f64::total_cmp);
                assert_eq!(d[column], (entries[1] + entries[2]) / 2.0);
            }
        } else {
            assert!(d.iter().skip(8192).any(|value| *value != 0.0), "{name} leaves the last chunk empty");
        }
    }
}

#[test]
fn auto_lambda_raises_the_task_that_helps_validation() {
    // Task 0 points along the primary validation gradient, task 1 against it.
    let train = vec![vec![1.0, 0.0], vec![-1.0, 0.2]];
    let held_out = vec![vec![1.0, 0.1], vec![0.0, 0.0]];
    let mut rule = make("auto-lambda", 2, json!({"rate": 0.01, "primary": [0]}));
    assert!(rule.needs().validation_batch && rule.needs().mini_batches == 2);
    let mut outcome = None;
    for number in 0..5 {
        outcome = Some(step(&mut rule, &[train.clone(), held_out.clone()], &losses(2), number).0);
    }
    // A constant gradient moves Adam by its rate a step.
    let weights = outcome.expect("five steps").weights;
    assert!(apart(&weights, &[0.15, 0.05]) < 1e-6, "{weights:?}");
}
