//! The equation is solved, and what its solution implies holds.

mod support;

use mtl_nash::{Gram, Settings, Status, bargain, fair};
use mtl_task::rng::Key;
use support::{distance, normal, rescale};

const EXPONENTS: [f64; 7] = [0.2, 0.5, 0.9, 1.0, 2.0, 5.0, 10.0];

fn random(seed: u64, tasks: usize, decades: f64) -> Gram {
    let mut stream = Key::new(seed).stream();
    let mut rows = normal(&mut stream, tasks, 2 * tasks + 5);
    rescale(&mut stream, &mut rows, decades);
    Gram::of_rows(&rows)
}

#[test]
fn one_task_takes_the_whole() {
    for norm in [1e-150, 1e-10, 1.0, 3.7, 1e15, 1e150] {
        let agreement = bargain(&Gram::new(1, vec![norm * norm]), &Settings::default());
        assert_eq!(agreement.status, Status::Agreed);
        assert!((agreement.alpha[0] * norm - 1.0).abs() < 1e-14, "{agreement:?}");
    }
}

/// αᵢ = 1 / (‖gᵢ‖ √(1 + cos θ)).
#[test]
fn two_tasks_in_closed_form() {
    for cosine in [-0.9999, -0.5, 0.0, 0.3, 0.9, 1.0] {
        for (a, b) in [(1.0, 1.0), (1e-10, 1e15), (3.0, 0.02)] {
            let gram = Gram::from_rows(&[[a * a, cosine * a * b], [cosine * a * b, b * b]]);
            let agreement = bargain(&gram, &Settings::default());
            assert_eq!(agreement.status, Status::Agreed, "cos {cosine}, norms {a} and {b}");
            for (alpha, norm) in agreement.alpha.iter().zip([a, b]) {
                let exact = 1.0 / (norm * f64::sqrt(1.0 + cosine));
                assert!((alpha / exact - 1.0).abs() < 1e-10, "{alpha} is not {exact} at cos {cosine}");
            }
        }
    }
}

/// Residual, positivity, ‖Σ αᵢgᵢ‖² = K, and a gain for every task, recomputed here from the matrix.
#[test]
fn nash_weights_solve_their_equation_and_keep_the_norm() {
    for seed in 0..200 {
        let tasks = 1 + seed as usize % 16;
        let gram = random(seed, tasks, 12.0);
        let agreement = bargain(&gram, &Settings::default());
        assert_eq!(agreement.status, Status::Agreed);
        let products = gram.times(&agreement.alpha);
        for (weight, product) in agreement.alpha.iter().zip(products) {
            assert!(*weight > 0.0 && product > 0.0);
            assert!((weight * product - 1.0).abs() <= 1e-11, "seed {seed}: {agreement:?}");
        }
        assert!((gram.quadratic(&agreement.alpha) / tasks as f64 - 1.0).abs() < 1e-12);
    }
}

#[test]
fn fair_weights_solve_theirs() {
    for seed in 0..100 {
        let gram = random(seed, 1 + seed as usize % 12, 2.0);
        for exponent in EXPONENTS {
            let agreement = fair(&gram, exponent, &Settings::default());
            assert_eq!(agreement.status, Status::Agreed, "seed {seed}, exponent {exponent}: {agreement:?}");
            for (weight, product) in agreement.alpha.iter().zip(gram.times(&agreement.alpha)) {
                assert!((weight.powf(1.0 / exponent) * product - 1.0).abs() <= 1e-9, "seed {seed}, {exponent}");
            }
        }
    }
}

/// The general branch of the solver at an exponent one rounding away from 1.
#[test]
fn fair_with_exponent_one_is_nash() {
    for seed in 0..50 {
        let gram = random(seed, 2 + seed as usize % 9, 4.0);
        let nash = bargain(&gram, &Settings::default());
        assert_eq!(fair(&gram, 1.0, &Settings::default()), nash);
        let near = fair(&gram, 1.0 + 1e-13, &Settings::default());
        assert!(distance(&gram, &near.alpha, &nash.alpha) < 1e-10);
    }
}

#[test]
fn orthogonal_gradients_are_normalised() {
    let gram = Gram::from_rows(&[[4.0, 0.0, 0.0], [0.0, 1e-12, 0.0], [0.0, 0.0, 9e8]]);
    let agreement = bargain(&gram, &Settings::default());
    for i in 0..3 {
        assert!((agreement.alpha[i] * gram.norm(i) - 1.0).abs() < 1e-14, "{agreement:?}");
    }
}

/// Two identical tasks share what one weight would be: the singular matrix has one positive solution all the same.
#[test]
fn duplicates_share_alike() {
    let pair = bargain(&Gram::new(2, vec![1.0; 4]), &Settings::default());
    assert_eq!(pair.status, Status::Agreed);
    assert!(pair.alpha.iter().all(|a| (a - 0.5f64.sqrt()).abs() < 1e-15), "{pair:?}");
    for seed in 0..50 {
        let gram = random(seed, 4, 1.0).subset(&[0, 1, 0, 2, 3, 0]);
        for exponent in EXPONENTS {
            let agreement = fair(&gram, exponent, &Settings::default());
            assert_eq!(agreement.status, Status::Agreed);
            for twin in [2, 5] {
                assert!((agreement.alpha[0] / agreement.alpha[twin] - 1.0).abs() < 1e-12);
            }
        }
    }
}

#[test]
fn the_order_of_the_tasks_is_of_no_consequence() {
    for seed in 0..100 {
        let tasks = 2 + seed as usize % 9;
        let gram = random(seed, tasks, 2.0);
        let order = Key::new(seed).named("order").stream().permutation(tasks);
        for exponent in EXPONENTS {
            let straight = fair(&gram, exponent, &Settings::default());
            let shuffled = fair(&gram.subset(&order), exponent, &Settings::default());
            let expected: Vec<f64> = order.iter().map(|&i| straight.alpha[i]).collect();
            assert!(distance(&gram.subset(&order), &shuffled.alpha, &expected) < 1e-9, "seed {seed}, {exponent}");
        }
    }
}

/// A loss multiplied by c divides its Nash weight by c: the direction stays.
#[test]
fn the_scale_of_a_loss_is_of_no_consequence() {
    for seed in 0..100 {
        let tasks = 2 + seed as usize % 9;
        let mut stream = Key::new(seed).named("scales").stream();
        let gram = random(seed, tasks, 0.0);
        let weights = bargain(&gram, &Settings::default()).alpha;
        let factors: Vec<f64> = (0..tasks).map(|_| 10f64.powf(25.0 * stream.uniform() - 10.0)).collect();
        let mut scaled = Gram::zeros(tasks);
        for i in 0..tasks {
            for j in 0..=i {
                scaled.set(i, j, gram.at(i, j) * factors[i] * factors[j]);
            }
        }
        let agreement = bargain(&scaled, &Settings::default());
        assert_eq!(agreement.status, Status::Agreed);
        let back: Vec<f64> = agreement.alpha.iter().zip(&factors).map(|(a, c)| a * c).collect();
        assert!(distance(&gram, &back, &weights) < 1e-11, "seed {seed}");
    }
}

/// Powers of two change no digit of the answer.
#[test]
fn powers_of_two_are_exact() {
    let gram = random(3, 6, 2.0);
    let mut scaled = Gram::zeros(6);
    for i in 0..6 {
        for j in 0..=i {
            scaled.set(i, j, gram.at(i, j) * 2f64.powi(7 * i as i32 - 20) * 2f64.powi(7 * j as i32 - 20));
        }
    }
    let (plain, other) = (bargain(&gram, &Settings::default()), bargain(&scaled, &Settings::default()));
    for i in 0..6 {
        assert_eq!(plain.alpha[i], other.alpha[i] * 2f64.powi(7 * i as i32 - 20));
    }
    assert_eq!(plain.residual, other.residual);
}
