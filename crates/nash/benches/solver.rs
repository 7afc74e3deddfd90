//! One Nash bargaining, by number of tasks, over Gram matrices of independent normal gradients and of pairs that all but
//! oppose each other. `cargo xtask bench solver` has more kinds, and other solvers beside it.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use mtl_nash::{Gram, Settings, bargain};
use mtl_task::rng::Key;

/// Task gradients, `[tasks, 4·tasks + 16]`.
fn independent(tasks: usize) -> Vec<Vec<f64>> {
    let mut stream = Key::new(1).with(tasks as u64).stream();
    (0..tasks).map(|_| (0..4 * tasks + 16).map(|_| stream.normal()).collect()).collect()
}

/// The same, the second of each pair the first's opposite but for a hundredth.
fn conflicting(tasks: usize) -> Vec<Vec<f64>> {
    let mut rows = independent(tasks);
    for pair in rows.chunks_exact_mut(2) {
        let [one, other] = pair else { continue };
        other.iter_mut().zip(one).for_each(|(y, x)| *y = 1e-2 * *y - *x);
    }
    rows
}

fn solver(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("bargain");
    let settings = Settings::default();
    for tasks in [2, 3, 8, 64] {
        for (name, gradients) in [("independent", independent(tasks)), ("conflicting", conflicting(tasks))] {
            let gram = Gram::of_rows(&gradients);
            group.bench_with_input(BenchmarkId::new(name, tasks), &gram, |bencher, gram| {
                bencher.iter(|| bargain(black_box(gram), &settings));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, solver);
criterion_main!(benches);
