//! Every op of the kernel against a naive one in f64, its backward against finite differences, f32 against f64, and
//! one thread against several.

mod attend;
mod embed;
mod feed;
mod norm;
mod product;

use mtl_backbone::kernel::*;
use mtl_task::rng::Key;

type Vector = Vec<f64>;

fn random(key: u64, length: usize) -> Vector {
    let mut stream = Key::new(key).stream();
    (0..length).map(|_| stream.normal()).collect()
}

fn single(values: &[f64]) -> Vec<f32> {
    values.iter().map(|value| *value as f32).collect()
}

fn inner(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// An op at some inputs: its output, and the gradient of ⟨`weights`, output⟩ in every input.
trait Op: Sync {
    fn inputs(&self) -> Vec<Vector>;
    fn naive(&self, inputs: &[Vector]) -> Vector;
    fn run<T: Real>(&self, inputs: &[Vec<T>], weights: &[T]) -> (Vec<T>, Vec<Vec<T>>);
}

fn close(name: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{name}");
    let size = expected.iter().fold(1e-3, |size: f64, value| size.max(value.abs()));
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() <= tolerance * size, "{name}, element {at}: {found}, expected {expected}");
    }
}

fn holds(name: &str, op: &impl Op) {
    let inputs = op.inputs();
    let expected = op.naive(&inputs);
    let weights = random(99, expected.len());
    let (output, gradients) = op.run(&inputs, &weights);
    close(name, &output, &expected, 1e-12);
    let mut stream = Key::new(7).stream();
    for (which, gradient) in gradients.iter().enumerate() {
        assert_eq!(gradient.len(), inputs[which].len());
        for _ in 0..6 {
            let at = stream.below(gradient.len());
            let value = |offset: f64| {
                let mut inputs = inputs.clone();
                inputs[which][at] += offset;
                inner(&weights, &op.naive(&inputs))
            };
            let numeric = (value(1e-5) - value(-1e-5)) / 2e-5;
            let size = gradient.iter().fold(1., |size: f64, value| size.max(value.abs()));
            let exact = gradient[at];
            assert!(
                (numeric - exact).abs() < 1e-7 * size,
                "{name}, input {which}, element {at}: {exact}, by differences {numeric}"
            );
        }
    }

    let narrow: Vec<Vec<f32>> = inputs.iter().map(|input| single(input)).collect();
    let at_threads = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| op.run(&narrow, &single(&weights)))
    };
    let one = at_threads(1);
    for threads in [2, 3] {
        assert!(one == at_threads(threads), "{name}: other bits with {threads} threads than with one");
    }
    let wide = |values: &[f32]| -> Vector { values.iter().map(|value| f64::from(*value)).collect() };
    close(name, &wide(&one.0), &output, 1e-5);
    for (found, expected) in one.1.iter().zip(&gradients) {
        close(name, &wide(found), expected, 3e-5);
    }
}

/// C = A·Bᵀ of row-major `[rows, inner]` and `[columns, inner]`.
fn times_transposed(a: &[f64], b: &[f64], inner_size: usize) -> Vector {
    a.chunks(inner_size).flat_map(|a| b.chunks(inner_size).map(move |b| inner(a, b))).collect()
}

fn layer_norm(z: &[f64], gamma: &[f64], beta: &[f64], epsilon: f64) -> Vector {
    let width = gamma.len();
    z.chunks(width)
        .flat_map(|row| {
            let mean = row.iter().sum::<f64>() / width as f64;
            let variance = row.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / width as f64;
            (0..width).map(move |at| (row[at] - mean) / (variance + epsilon).sqrt() * gamma[at] + beta[at])
        })
        .collect()
}

fn kept(dropout: Dropout, at: usize) -> f64 {
    f64::from(dropout.factor(at))
}
