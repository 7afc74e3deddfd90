//! Products, inner products, and the same without vector instructions.

use mtl_backbone::kernel::*;

use crate::*;

#[test]
fn products_have_the_same_bits_for_any_number_of_threads() {
    for (m, n, k) in [(1, 1, 1), (1, 700, 300), (129, 65, 1000), (384, 384, 1024), (700, 1, 33), (513, 1536, 384)] {
        let (a, b) = (single(&random(1, m * k)), single(&random(2, k * n)));
        let (over, transposed) = (single(&random(3, m * n)), single(&random(4, n * k)));
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            let mut sums = [over.clone(), over.clone(), over.clone()];
            pool.install(|| {
                let (left, right) = (Matrix::new(&a, m, k), Matrix::new(&b, k, n));
                let [first, second, third] = &mut sums;
                product(MatrixMut::new(first, m, n), left, right, 0.5, true, Threads::All);
                let flipped = Matrix::new(&transposed, n, k).transposed();
                product(MatrixMut::new(second, m, n), left, flipped, 1., false, Threads::All);
                let tall = Matrix::new(&a, k, m).transposed();
                product(MatrixMut::new(third, m, n), tall, right, 1., true, Threads::All);
            });
            sums
        };
        let one = run(1);
        for threads in [2, 3, 7] {
            assert!(one == run(threads), "{m}×{n}×{k}, {threads} threads");
        }
        for (row, column) in [(0, 0), (m / 2, n / 3), (m - 1, n - 1)] {
            let exact: f64 = (0..k).map(|at| f64::from(a[row * k + at]) * f64::from(b[at * n + column])).sum();
            let expected = f64::from(over[row * n + column]) + 0.5 * exact;
            assert!((f64::from(one[0][row * n + column]) - expected).abs() < 1e-4 * (1. + (k as f64).sqrt()));
        }
    }
}

#[test]
#[allow(clippy::print_stderr)]
fn products_in_bf16_are_those_of_rounded_operands() {
    if !ProductPrecision::Bf16.is_available() {
        return eprintln!("skipped: this CPU has no AVX512_BF16");
    }
    let rounded = |value: &f32| f64::from(half::bf16::from_f32(*value).to_f32());
    let shapes = [(1, 1, 1), (3, 40, 7), (12, 32, 2), (13, 33, 65), (129, 65, 1000), (100, 520, 71), (5, 3, 0)];
    for (m, n, k) in shapes {
        let (a, b) = (single(&random(1, m * k)), single(&random(2, k * n)));
        let (near_a, near_b): (Vector, Vector) = (a.iter().map(rounded).collect(), b.iter().map(rounded).collect());
        let over = single(&random(3, m * n));
        let tall: Vec<f32> = (0..m * k).map(|at| a[at % m * k + at / m]).collect();
        let flipped: Vec<f32> = (0..n * k).map(|at| b[at % k.max(1) * n + at / k.max(1)]).collect();
        let lefts = [Matrix::new(&a, m, k), Matrix::new(&tall, k, m).transposed()];
        let rights = [Matrix::new(&b, k, n), Matrix::new(&flipped, n, k).transposed()];
        for ((left, right), adds) in lefts.into_iter().zip(rights).flat_map(|pair| [(pair, false), (pair, true)]) {
            let run = |threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
                let mut out = over.clone();
                pool.install(|| product_in(ProductPrecision::Bf16, MatrixMut::new(&mut out, m, n), left, right, adds));
                out
            };
            let found = run(1);
            assert!(found == run(2) && found == run(3), "{m}×{n}×{k}: other bits with more threads");
            for (at, found) in found.iter().enumerate() {
                let term = |inner: usize| near_a[at / n * k + inner] * near_b[inner * n + at % n];
                let expected = (0..k).map(term).sum::<f64>() + if adds { f64::from(over[at]) } else { 0. };
                let bound = 1e-5 * (1. + k as f64);
                assert!((f64::from(*found) - expected).abs() <= bound, "{m}×{n}×{k}, {at}: {found}, {expected}");
            }
        }
    }
    let (nan, one) = (Matrix::new(&[f32::NAN], 1, 1), Matrix::new(&[1f32], 1, 1));
    let mut out = [0f32];
    product_in(ProductPrecision::Bf16, MatrixMut::new(&mut out, 1, 1), nan, one, false);
    assert!(out[0].is_nan(), "a broken number stays one");
}

#[test]
fn inner_products_of_long_vectors_are_summed_in_double_precision() {
    let rows: Vec<Vec<f32>> = (0..3).map(|key| single(&random(key, 100_003))).collect();
    let views: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
    let gram = vector::gram(&views);
    for i in 0..3 {
        for j in 0..3 {
            let exact: f64 = rows[i].iter().zip(&rows[j]).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            assert!((gram[i * 3 + j] - exact).abs() < 1e-9 * 1e5, "{} {exact}", gram[i * 3 + j]);
            assert!((vector::dot(views[i], views[j]) - exact).abs() < 1e-9 * 1e5);
        }
        assert!((vector::norm(views[i]).powi(2) - gram[i * 4]).abs() < 1e-6);
    }
    let mut sum = vec![9f32; rows[0].len()];
    vector::weighted_sum(&views, &[0.5, -1., 2.], &mut sum);
    for at in [0, 77, 50_000, 100_002] {
        let expected = 0.5 * rows[0][at] - rows[1][at] + 2. * rows[2][at];
        assert!((sum[at] - expected).abs() < 1e-5);
    }
}

/// The path that a CPU without vector instructions takes passes all of the above.
#[test]
fn the_scalar_path_holds_too() {
    if std::env::var_os("MTL_KERNEL").is_some() {
        return; // this is the inner run
    }
    let here = std::env::current_exe().expect("the running test");
    let run = std::process::Command::new(here).env("MTL_KERNEL", "scalar").output().expect("itself");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stdout));
}
