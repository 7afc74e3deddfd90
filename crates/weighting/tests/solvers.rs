//! The exact solvers against Clarabel, an interior-point method, on random problems: the same optimum, and an objective
//! that is never worse.
#![allow(clippy::print_stdout, reason = "what is skipped is said aloud")]

mod matrices;

use clarabel::algebra::CscMatrix;
use clarabel::solver::SupportedConeT::{NonnegativeConeT, SecondOrderConeT, ZeroConeT};
use clarabel::solver::{DefaultSettingsBuilder, DefaultSolver, IPSolver, SolverStatus, SupportedConeT};
use matrices::{Rows, apart, dot, length, normal, scaled, step};
use mtl_task::Registry;
use mtl_task::rng::Key;
use mtl_weighting::{Gram, Outcome, Rule};
use serde_json::{Value, json};

const PROBLEMS: u64 = 1000;

/// min ½xᵀPx + qᵀx with b − Ax in the cones.
fn clarabel(p: &Rows, q: &[f64], a: &Rows, b: &[f64], cones: &[SupportedConeT<f64>]) -> Option<Vec<f64>> {
    let upper: Rows =
        (0..p.len()).map(|i| (0..p.len()).map(|j| if j >= i { p[i][j] } else { 0.0 }).collect()).collect();
    let settings =
        DefaultSettingsBuilder::default().verbose(false).tol_gap_abs(1e-12).tol_gap_rel(1e-12).tol_feas(1e-12).build();
    let (p, a) = (CscMatrix::from(&upper), CscMatrix::from(a));
    let mut solver = DefaultSolver::new(&p, q, &a, b, cones, settings.ok()?).ok()?;
    solver.solve();
    matches!(solver.solution.status, SolverStatus::Solved | SolverStatus::AlmostSolved)
        .then(|| solver.solution.x.clone())
}

/// A problem of 2 to 10 tasks, a third of them conflicting, gradients within two decades of each other.
fn problem(seed: u64) -> Rows {
    let mut stream = Key::new(seed).named("problem").stream();
    let tasks = 2 + stream.below(9);
    let mut rows = normal(&mut stream, tasks, 14);
    if stream.below(3) == 0 {
        let first = rows[0].clone();
        rows.iter_mut().skip(1).for_each(|row| row.iter_mut().zip(&first).for_each(|(g, f)| *g = 0.5 * *g - f));
    }
    let factors: Vec<f64> = (0..tasks).map(|_| stream.normal().exp()).collect();
    scaled(&rows, &factors)
}

fn ours(rule: &str, settings: Value, rows: &Rows) -> (Outcome, Vec<f64>) {
    let mut rule =
        (Registry::<Rule>::default().find(rule).expect("a rule").build)(rows.len(), &settings).expect("its settings");
    step(&mut rule, std::slice::from_ref(rows), &[], 0)
}

fn gram(rows: &Rows) -> Rows {
    rows.iter().map(|a| rows.iter().map(|b| dot(a, b)).collect()).collect()
}

fn identity(n: usize, value: f64) -> Rows {
    (0..n).map(|i| (0..n).map(|j| if i == j { value } else { 0.0 }).collect()).collect()
}

fn combine(rows: &Rows, weights: &[f64]) -> Vec<f64> {
    (0..rows[0].len()).map(|c| rows.iter().zip(weights).map(|(row, w)| w * row[c]).sum()).collect()
}

/// Compares directions, allowing for what the peer's tolerance leaves open; returns how far apart the worst were.
fn compare(rule: &str, settings: &Value, peer: impl Fn(&Rows) -> Option<Vec<f64>>) {
    let (mut solved, mut worst, mut residual) = (0, 0.0f64, 0.0f64);
    for seed in 0..PROBLEMS {
        let rows = problem(seed);
        let (outcome, direction) = ours(rule, settings.clone(), &rows);
        residual = residual.max(outcome.residual);
        let Some(right) = peer(&rows) else { continue };
        solved += 1;
        let scale = rows.iter().map(|row| length(row)).fold(0.0, f64::max);
        let off = apart(&direction, &right)
            .min(length(&direction.iter().zip(&right).map(|(a, b)| a - b).collect::<Vec<_>>()) / scale);
        worst = worst.max(off);
        // Where the peer stops early on an ill-conditioned problem the gap is its own: ours carries its certificate.
        assert!(off < 1e-3, "{rule}, problem {seed}: {off:.1e} apart, {outcome:?}");
    }
    println!("{rule}: {solved} of {PROBLEMS} solved by the peer, {worst:.1e} apart at worst, residual {residual:.1e}");
    assert!(solved > PROBLEMS * 95 / 100, "the peer solved only {solved}");
    assert!(residual < 1e-9, "{rule}: residual {residual:.1e}");
}

#[test]
fn the_min_norm_point_is_clarabels() {
    compare("mgda", &json!({}), |rows| {
        let n = rows.len();
        let mut a = vec![vec![1.0; n]];
        a.extend(identity(n, -1.0));
        let mut b = vec![0.0; n + 1];
        b[0] = 1.0;
        let w = clarabel(&gram(rows), &vec![0.0; n], &a, &b, &[ZeroConeT(1), NonnegativeConeT(n)])?;
        Some(combine(rows, &w))
    });
}

#[test]
fn the_dual_cone_projection_is_clarabels() {
    let project = |rows: &Rows, u: &[f64]| {
        let n = rows.len();
        let b: Vec<f64> = u.iter().map(|value| -value).collect();
        clarabel(&gram(rows), &vec![0.0; n], &identity(n, -1.0), &b, &[NonnegativeConeT(n)])
    };
    compare("dualproj", &json!({}), |rows| {
        let n = rows.len();
        Some(combine(rows, &project(rows, &vec![1.0 / n as f64; n])?))
    });
    compare("upgrad", &json!({}), |rows| {
        let n = rows.len();
        let mut sum = vec![0.0; n];
        for task in 0..n {
            let unit: Vec<f64> = (0..n).map(|i| if i == task { 1.0 / n as f64 } else { 0.0 }).collect();
            sum.iter_mut().zip(project(rows, &unit)?).for_each(|(s, v)| *s += v);
        }
        Some(combine(rows, &sum))
    });
}

/// The primal: max t with ⟨gᵢ, d⟩ ≥ t and ‖d − g₀‖ ≤ c‖g₀‖, over d and t.
#[test]
fn cagrads_compromise_is_clarabels() {
    for c in [0.1, 0.4, 0.9] {
        compare("cagrad", &json!({"c": c, "rescale": "none"}), |rows| {
            let (n, columns) = (rows.len(), rows[0].len());
            let centre = combine(rows, &vec![1.0 / n as f64; n]);
            let unit = length(&centre);
            // In units of ‖g₀‖, as interior points want it.
            let rows1: Rows = scaled(rows, &vec![1.0 / unit; n]);
            let mut a: Rows = rows1.iter().map(|row| row.iter().map(|g| -g).chain([1.0]).collect()).collect();
            let mut b = vec![0.0; n];
            a.push(vec![0.0; columns + 1]);
            b.push(c);
            for (column, centre) in centre.iter().enumerate() {
                a.push((0..=columns).map(|j| if j == column { -1.0 } else { 0.0 }).collect());
                b.push(-centre / unit);
            }
            let mut q = vec![0.0; columns + 1];
            q[columns] = -1.0;
            let cones = [NonnegativeConeT(n), SecondOrderConeT(columns + 1)];
            let mut x = clarabel(&vec![vec![0.0; columns + 1]; columns + 1], &q, &a, &b, &cones)?;
            x.truncate(columns);
            Some(x.iter().map(|value| value * unit).collect())
        });
    }
}

/// Scales, duplicates and conflicts that no interior-point method is fair to: the certificate alone decides.
#[test]
fn certificates_hold_on_hard_matrices() {
    for seed in 0..60 {
        for (kind, rows) in matrices::kinds(seed) {
            let Some(first) = rows.iter().position(|row| length(row) > 0.0) else { continue };
            for rule in ["mgda", "dualproj", "upgrad", "cagrad"] {
                let (outcome, _) = ours(rule, json!({}), &rows);
                assert!(outcome.residual < 1e-9, "{rule} on {kind}, seed {seed}: {outcome:?}, first {first}");
            }
            let mgda = ours("mgda", json!({}), &rows).0;
            let sum: f64 = mgda.weights.iter().sum();
            assert!((sum - 1.0).abs() < 1e-12 && mgda.weights.iter().all(|w| *w >= 0.0), "{kind}: {mgda:?}");
            let least = 1.0 / rows.len() as f64;
            let dual = ours("dualproj", json!({}), &rows).0;
            assert!(dual.weights.iter().all(|v| *v >= least), "{kind}: {dual:?}");
            assert!(Gram::of_rows(&rows).quadratic(&dual.weights).is_finite());
        }
    }
}
