//! 100,000 random Gram matrices over twelve decades of scale, a third of them with planted trouble.

mod support;

use std::collections::BTreeMap;

use mtl_nash::{Gram, Settings, Status, bargain, fair};
use mtl_task::rng::{Key, Stream};
use support::{normal, rescale};

const MATRICES: u64 = 100_000;

fn draw(stream: &mut Stream, decades: f64) -> Gram {
    let tasks = 1 + stream.below(8);
    let width = 1 + stream.below(3 * tasks);
    let mut rows = normal(stream, tasks, width);
    let (one, other) = (stream.below(tasks), stream.below(tasks));
    let source = rows[one].clone();
    match stream.below(12) {
        0 => rows[other] = source,
        1 => rows[other] = source.iter().map(|x| -x).collect(),
        2 => {
            let closeness = 10f64.powf(-9.0 * stream.uniform());
            rows[other] = source.iter().map(|x| closeness * stream.normal() - x).collect();
        }
        3 => rows[other] = vec![0.0; width],
        4 => rows.iter_mut().flatten().for_each(|x| *x = 1.0 + 1e-4 * *x),
        5 if stream.below(10) == 0 => rows[one][0] = f64::NAN,
        _ => {}
    }
    rescale(stream, &mut rows, decades);
    Gram::of_rows(&rows)
}

fn residual(gram: &Gram, alpha: &[f64], power: f64) -> f64 {
    gram.times(alpha).iter().zip(alpha).map(|(product, a)| (product * a.powf(power) - 1.0).abs()).fold(0.0, f64::max)
}

#[test]
fn a_hundred_thousand_matrices_agree_or_say_why_not() {
    let mut statuses = BTreeMap::new();
    for index in 0..MATRICES {
        let gram = draw(&mut Key::new(4).with(index).stream(), 12.0);
        let agreement = bargain(&gram, &Settings::default());
        *statuses.entry(agreement.status.to_string()).or_insert(0u64) += 1;
        assert!(!agreement.residual.is_nan(), "matrix {index}");
        assert!(agreement.alpha.iter().all(|a| a.is_finite() && *a >= 0.0), "matrix {index}: {agreement:?}");
        match agreement.status {
            Status::Agreed => {
                let residual = residual(&gram, &agreement.alpha, 1.0);
                assert!(residual <= 1e-9 && agreement.residual <= 1e-9, "matrix {index}: {residual}, {agreement:?}");
            }
            Status::ZeroGradient(i) => assert_eq!(gram.at(i, i), 0.0, "matrix {index}"),
            Status::NonFinite(i) => assert!(gram.at(i, i).is_nan(), "matrix {index}"),
            Status::ParetoStationary => {
                let largest = (0..gram.tasks()).map(|i| agreement.alpha[i] * gram.norm(i)).fold(0.0, f64::max);
                let length = gram.quadratic(&agreement.alpha).max(0.0).sqrt() / largest;
                assert!(length <= 1.0001e-3 * (gram.tasks() as f64).sqrt(), "matrix {index}: {length}");
            }
            Status::OutOfIterations => {}
        }
    }
    // The classes above all occur, and giving up stays an exception.
    let count = |name: &str| statuses.get(name).copied().unwrap_or(0);
    assert!(count("agreed") > MATRICES / 2, "{statuses:?}");
    assert!(count("out-of-iterations") < MATRICES / 1000, "{statuses:?}");
    assert!(["zero-gradient", "non-finite", "pareto-stationary"].iter().all(|name| count(name) > 0), "{statuses:?}");
}

/// FairGrad over exponents 0.2 to 10: within two decades of scale it is solved, beyond that it may drown in rounding.
#[test]
fn fair_weights_agree_or_say_why_not() {
    let mut lost = 0;
    for index in 0..MATRICES / 5 {
        let mut stream = Key::new(5).with(index).stream();
        let exponent = 0.2 * 50f64.powf(stream.uniform());
        let decades = if index % 2 == 0 { 2.0 } else { 12.0 };
        let gram = draw(&mut stream, decades);
        let agreement = fair(&gram, exponent, &Settings::default());
        assert!(!agreement.residual.is_nan(), "matrix {index}");
        assert!(agreement.alpha.iter().all(|a| a.is_finite() && *a >= 0.0), "matrix {index}: {agreement:?}");
        if agreement.status == Status::Agreed {
            assert!(residual(&gram, &agreement.alpha, 1.0 / exponent) <= 1e-9, "matrix {index}: {agreement:?}");
        }
        lost += u64::from(agreement.status == Status::OutOfIterations && decades == 2.0);
    }
    assert!(lost < MATRICES / 10 / 100, "{lost} matrices of {} over two decades were given up", MATRICES / 10);
}
