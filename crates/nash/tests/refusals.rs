//! Where there is no agreement the status says why, and nothing is NaN.

mod support;

use mtl_nash::{Agreement, Gram, Settings, Status, bargain, fair};
use mtl_task::rng::Key;
use support::{normal, rescale};

fn two(cosine: f64) -> Gram {
    Gram::from_rows(&[[1.0, cosine], [cosine, 1.0]])
}

fn sound(agreement: &Agreement) -> bool {
    !agreement.residual.is_nan() && agreement.alpha.iter().all(|a| a.is_finite() && *a >= 0.0)
}

#[test]
fn opposite_gradients_are_pareto_stationary() {
    for (a, b) in [(1.0, 1.0), (3.0, 0.1), (1e-10, 1e15)] {
        let gram = Gram::of_rows(&[[a, -2.0 * a], [-b, 2.0 * b]]);
        for exponent in [0.2, 0.5, 1.0, 2.0, 10.0] {
            let agreement = fair(&gram, exponent, &Settings::default());
            assert!(sound(&agreement));
            // Off 1 the equation sees scales: over 25 decades the smaller task is lost before the conflict shows.
            if exponent == 1.0 || a >= 1e-3 {
                assert_eq!(agreement.status, Status::ParetoStationary, "{a}, {b}, {exponent}: {agreement:?}");
            }
        }
    }
}

/// Three gradients at 120°, and random ones that a non-negative combination sends to zero.
#[test]
fn a_vanishing_combination_is_found_and_returned() {
    let triangle = Gram::from_rows(&[[1.0, -0.5, -0.5], [-0.5, 1.0, -0.5], [-0.5, -0.5, 1.0]]);
    assert_eq!(bargain(&triangle, &Settings::default()).status, Status::ParetoStationary);
    for seed in 0..200 {
        let mut stream = Key::new(seed).stream();
        let tasks = 2 + seed as usize % 20;
        let mut rows = normal(&mut stream, tasks, 30);
        let last: Vec<f64> = (0..30).map(|c| -rows.iter().map(|row| row[c]).sum::<f64>()).collect();
        rows.push(last);
        rows.extend(normal(&mut stream, seed as usize % 5, 30));
        rescale(&mut stream, &mut rows, 12.0);
        let gram = Gram::of_rows(&rows);
        let agreement = bargain(&gram, &Settings::default());
        assert_eq!(agreement.status, Status::ParetoStationary, "seed {seed}: {agreement:?}");
        assert!(sound(&agreement) && agreement.alpha.iter().all(|a| *a > 0.0));
        let largest = (0..gram.tasks()).map(|i| agreement.alpha[i] * gram.norm(i)).fold(0.0, f64::max);
        let bound = Settings::default().stationary * (gram.tasks() as f64).sqrt() * largest;
        assert!(gram.quadratic(&agreement.alpha).max(0.0).sqrt() <= bound * (1.0 + 1e-6), "seed {seed}");
    }
}

/// For two tasks the threshold t is 1 + cos θ = t².
#[test]
fn the_threshold_is_what_the_settings_say() {
    assert_eq!(bargain(&two(-1.0 + 1.1e-6), &Settings::default()).status, Status::Agreed);
    assert_eq!(bargain(&two(-1.0 + 0.9e-6), &Settings::default()).status, Status::ParetoStationary);
    let wary = Settings { stationary: 0.1, ..Settings::default() };
    assert_eq!(bargain(&two(-0.989), &wary).status, Status::Agreed);
    assert_eq!(bargain(&two(-0.991), &wary).status, Status::ParetoStationary);
}

#[test]
fn zero_and_broken_gradients_are_named() {
    let of = |rows: [[f64; 2]; 3]| bargain(&Gram::of_rows(&rows), &Settings::default());
    let zero = of([[1.0, 2.0], [0.0, 0.0], [3.0, 1.0]]);
    assert_eq!((zero.status, zero.alpha.as_slice(), zero.residual), (Status::ZeroGradient(1), &[0.0; 3][..], 1.0));
    for broken in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e200] {
        let agreement = of([[1.0, 2.0], [0.0, 0.0], [3.0, broken]]);
        assert_eq!(agreement.status, Status::NonFinite(2), "{broken}");
        assert_eq!(agreement.alpha, [0.0; 3]);
    }
    let pair = bargain(&Gram::new(2, vec![1.0, f64::NAN, f64::NAN, 1.0]), &Settings::default());
    assert_eq!(pair.status, Status::NonFinite(0));
    assert_eq!(bargain(&Gram::new(1, vec![-1.0]), &Settings::default()).status, Status::NonFinite(0));
}

#[test]
fn no_tasks_agree_on_nothing() {
    let agreement = bargain(&Gram::zeros(0), &Settings::default());
    assert_eq!((agreement.status, agreement.alpha.len(), agreement.residual), (Status::Agreed, 0, 0.0));
}

#[test]
fn an_exponent_without_an_equation_and_a_matrix_that_is_no_gram_end_typed() {
    for exponent in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let agreement = fair(&two(0.3), exponent, &Settings::default());
        assert_eq!((agreement.status, agreement.alpha.as_slice()), (Status::OutOfIterations, &[0.0; 2][..]));
    }
    for entries in [[1.0, -5.0, -5.0, 1.0], [1e-300, 1e300, 1e300, 1e-300], [1e300, -1e300, -1e300, 1e-300]] {
        let agreement = bargain(&Gram::new(2, entries.to_vec()), &Settings::default());
        assert!(sound(&agreement) && agreement.status != Status::Agreed, "{agreement:?}");
    }
}

#[test]
fn too_few_iterations_are_reported() {
    let gram = Gram::from_rows(&[[1.0, 0.5, -0.7], [0.5, 2.0, 0.1], [-0.7, 0.1, 1.5]]);
    let agreement = bargain(&gram, &Settings { max_iterations: 1, ..Settings::default() });
    assert_eq!((agreement.status, agreement.iterations), (Status::OutOfIterations, 1));
    assert!(agreement.residual > 1e-9 && sound(&agreement));
}

#[test]
fn statuses_print_in_kebab_case() {
    let printed = [
        Status::Agreed,
        Status::ParetoStationary,
        Status::ZeroGradient(1),
        Status::NonFinite(2),
        Status::OutOfIterations,
    ]
    .map(|status| status.to_string());
    assert_eq!(printed, ["agreed", "pareto-stationary", "zero-gradient", "non-finite", "out-of-iterations"]);
}
