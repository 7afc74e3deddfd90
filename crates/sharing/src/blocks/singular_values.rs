//! Eigenvalues and eigenvectors of symmetric matrices, in f64 on the host.
//!
//! Householder reflections make the matrix tridiagonal, rotations of the implicit QL method (Golub & Van Loan 2013,
//! §8.3) make it diagonal; both are applied to the rows of the basis, so that memory is read in order.
//! By hand because nalgebra 0.35 gives 0 for the 0.75 of [[1e20, 5e9], [5e9, 1]], at much the same speed.

/// Sweeps of rotations for one eigenvalue; two do on average, and non-finite matrices never converge.
const SWEEPS: usize = 60;

/// The eigenvalues of the symmetric `matrix`, row-major `[size, size]`, falling, and their unit vectors as rows.
///
/// # Panics
/// If `matrix` does not have `size`² elements.
pub(crate) fn eigenvalues(matrix: &[f64], size: usize) -> (Vec<f64>, Vec<f64>) {
    assert_eq!(matrix.len(), size * size, "a square matrix");
    let (mut diagonal, mut beside, mut basis) = tridiagonal(matrix.to_vec(), size);
    diagonalise(&mut diagonal, &mut beside, &mut basis);
    let mut order: Vec<usize> = (0..size).collect();
    order.sort_by(|&i, &j| diagonal[j].total_cmp(&diagonal[i]));
    let values = order.iter().map(|&i| diagonal[i]).collect();
    (values, order.iter().flat_map(|&i| basis[i * size..(i + 1) * size].iter().copied()).collect())
}

/// Diagonal, elements beside it (the last one is 0), and the basis in whose rows the matrix is tridiagonal.
fn tridiagonal(mut a: Vec<f64>, size: usize) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let mut basis = vec![0.; size * size];
    (0..size).for_each(|i| basis[i * size + i] = 1.);
    let mut beside = vec![0.; size];
    for k in 0..size.saturating_sub(1) {
        let mut v: Vec<f64> = (k + 1..size).map(|i| a[i * size + k]).collect();
        let norm = v.iter().fold(0., |norm: f64, x| norm.hypot(*x));
        if v[1..].iter().all(|x| *x == 0.) {
            beside[k] = v[0];
            continue;
        }
        beside[k] = -norm.copysign(v[0]);
        v[0] -= beside[k];
        let length = v.iter().fold(0., |norm: f64, x| norm.hypot(*x));
        v.iter_mut().for_each(|x| *x /= length);
        // A − v·wᵀ − w·vᵀ, which is (1 − 2vvᵀ)·A·(1 − 2vvᵀ), on the rows and columns behind k.
        let row = |i: usize| i * size + k + 1..(i + 1) * size;
        let p: Vec<f64> = (k + 1..size).map(|i| dot(&a[row(i)], &v)).collect();
        let along = dot(&p, &v);
        let w: Vec<f64> = p.iter().zip(&v).map(|(p, v)| 2. * (p - along * v)).collect();
        for i in k + 1..size {
            let (vi, wi) = (v[i - k - 1], w[i - k - 1]);
            a[row(i)].iter_mut().zip(v.iter().zip(&w)).for_each(|(a, (v, w))| *a -= vi * w + wi * v);
        }
        let mut seen = vec![0.; size];
        for (i, vi) in v.iter().enumerate() {
            let row = &basis[(k + 1 + i) * size..][..size];
            seen.iter_mut().zip(row).for_each(|(seen, x)| *seen += vi * x);
        }
        for (i, vi) in v.iter().enumerate() {
            let row = &mut basis[(k + 1 + i) * size..][..size];
            row.iter_mut().zip(&seen).for_each(|(x, seen)| *x -= 2. * vi * seen);
        }
    }
    ((0..size).map(|i| a[i * size + i]).collect(), beside, basis)
}

/// Turns the rows of `basis` until nothing is left `beside` the `diagonal`.
fn diagonalise(diagonal: &mut [f64], beside: &mut [f64], basis: &mut [f64]) {
    let size = diagonal.len();
    let (d, e) = (diagonal, beside);
    let scale = d.iter().chain(e.iter()).fold(0., |most: f64, x| most.max(x.abs()));
    for low in 0..size {
        for _ in 0..SWEEPS {
            let split = |m: &usize| {
                let near = f64::EPSILON * (d[*m].abs() + d[m + 1].abs()).max(0.01 * scale);
                e[*m].abs() <= near
            };
            let high = (low..size - 1).find(split).unwrap_or(size - 1);
            if high == low {
                break;
            }
            // Wilkinson's shift.
            let half = (d[low + 1] - d[low]) / (2. * e[low]);
            let mut g = d[high] - d[low] + e[low] / (half + half.hypot(1.).copysign(half));
            let (mut sine, mut cosine, mut moved) = (1., 1., 0.);
            let mut early = false;
            for i in (low..high).rev() {
                let (f, b) = (sine * e[i], cosine * e[i]);
                let r = f.hypot(g);
                e[i + 1] = r;
                if r == 0. {
                    d[i + 1] -= moved;
                    early = true;
                    break;
                }
                (sine, cosine) = (f / r, g / r);
                g = d[i + 1] - moved;
                let r = (d[i] - g) * sine + 2. * cosine * b;
                moved = sine * r;
                d[i + 1] = g + moved;
                g = cosine * r - b;
                let (above, below) = basis.split_at_mut((i + 1) * size);
                for (x, y) in above[i * size..].iter_mut().zip(&mut below[..size]) {
                    (*x, *y) = (cosine * *x - sine * *y, sine * *x + cosine * *y);
                }
            }
            if !early {
                d[low] -= moved;
                e[low] = g;
            }
            e[high] = 0.;
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mtl_task::rng::Key;

    #[test]
    fn values_and_vectors_make_the_matrix_again() {
        for size in [1, 2, 3, 20, 60] {
            let mut stream = Key::new(size as u64).stream();
            let half: Vec<f64> = (0..size * size).map(|_| stream.normal()).collect();
            let at = |i: usize, j: usize| (half[i * size + j] + half[j * size + i]) / 2.;
            let matrix: Vec<f64> = (0..size * size).map(|k| at(k / size, k % size)).collect();
            let (values, vectors) = eigenvalues(&matrix, size);
            assert!(values.windows(2).all(|pair| pair[0] >= pair[1]), "{values:?}");
            for i in 0..size {
                for j in 0..size {
                    let sum = |of: &dyn Fn(usize) -> f64| (0..size).map(of).sum::<f64>();
                    let again = sum(&|k| values[k] * vectors[k * size + i] * vectors[k * size + j]);
                    let product = sum(&|k| vectors[i * size + k] * vectors[j * size + k]);
                    assert!((again - at(i, j)).abs() < 1e-12, "{size}: {again} for {}", at(i, j));
                    assert!((product - f64::from(u8::from(i == j))).abs() < 1e-12);
                }
            }
        }
    }

    #[test]
    fn a_singular_matrix_has_the_zeros_it_should() {
        let half = [3., -1., 2., 0.5];
        let matrix: Vec<f64> = (0..16).map(|k| half[k / 4] * half[k % 4]).collect();
        let (values, vectors) = eigenvalues(&matrix, 4);
        let square = half.iter().map(|x| x * x).sum::<f64>();
        assert!((values[0] - square).abs() < 1e-13 && values[1..].iter().all(|x| x.abs() < 1e-14), "{values:?}");
        let along = half.iter().zip(&vectors).map(|(x, v)| x * v).sum::<f64>();
        assert!((along.abs() - square.sqrt()).abs() < 1e-13);
    }

    #[test]
    fn a_diagonal_matrix_and_zero_are_left_as_they_are() {
        assert_eq!(eigenvalues(&[1., 0., 0., 3.], 2), (vec![3., 1.], vec![0., 1., 1., 0.]));
        assert_eq!(eigenvalues(&[1., 0., 0., 0., 1., 0., 0., 0., 1.], 3).0, [1.; 3]);
        assert_eq!(eigenvalues(&[0.; 4], 2).0, [0., 0.]);
    }
}
