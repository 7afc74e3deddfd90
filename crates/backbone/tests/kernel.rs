//! Every op of the kernel against a naive one in f64, its backward against finite differences, f32 against f64, and
//! one thread against several.

use mtl_backbone::Activation;
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

struct Norm {
    tokens: usize,
    width: usize,
    dropout: Dropout,
}

impl Op for Norm {
    fn inputs(&self) -> Vec<Vector> {
        let size = self.tokens * self.width;
        [size, size, self.width, self.width, self.width].iter().zip(1..).map(|(size, key)| random(key, *size)).collect()
    }

    fn naive(&self, inputs: &[Vector]) -> Vector {
        let z: Vector = (0..inputs[0].len())
            .map(|at| (inputs[0][at] + inputs[2][at % self.width]) * kept(self.dropout, at) + inputs[1][at])
            .collect();
        layer_norm(&z, &inputs[3], &inputs[4], 1e-5)
    }

    fn run<T: Real>(&self, inputs: &[Vec<T>], weights: &[T]) -> (Vec<T>, Vec<Vec<T>>) {
        let [y, residual, bias, gamma, beta] = inputs else { panic!("five inputs") };
        let norm = NormWeights { bias, gamma, beta, epsilon: 1e-5 };
        let mut out = vec![T::default(); y.len()];
        let saved = add_norm(y, residual, &norm, self.dropout, &mut out);
        let mut gradients: Vec<Vec<T>> = inputs.iter().map(|input| vec![T::default(); input.len()]).collect();
        let [dy, dresidual, dbias, dgamma, dbeta] = &mut gradients[..] else { panic!("five gradients") };
        let into = NormGradients { bias: Some(dbias), gamma: Some(dgamma), beta: Some(dbeta) };
        add_norm_backward(&saved, gamma, self.dropout, weights, dy, dresidual, into);
        (out, gradients)
    }
}

#[test]
fn add_norm_is_the_naive_one() {
    for (tokens, width) in [(1, 5), (3, 16), (70, 37), (33, 64)] {
        for dropout in [Dropout::none(), Dropout::new(0.3, 5)] {
            holds(&format!("add_norm {tokens}×{width}"), &Norm { tokens, width, dropout });
        }
    }
}

struct Feed {
    tokens: usize,
    hidden: usize,
    width: usize,
    activation: Activation,
}

impl Op for Feed {
    fn inputs(&self) -> Vec<Vector> {
        let product = self.hidden * self.width;
        let scale = |values: Vector| values.iter().map(|value| value / (self.hidden as f64).sqrt()).collect();
        vec![
            random(1, self.tokens * self.hidden),
            scale(random(2, product)),
            random(3, self.width),
            scale(random(4, product)),
        ]
    }

    fn naive(&self, inputs: &[Vector]) -> Vector {
        let wide = times_transposed(&inputs[0], &inputs[1], self.hidden);
        let active: Vector = wide
            .iter()
            .enumerate()
            .map(|(at, value)| {
                let x = value + inputs[2][at % self.width];
                match self.activation {
                    Activation::Gelu => 0.5 * x * libm::erfc(-x / 2f64.sqrt()),
                    Activation::GeluTanh => {
                        0.5 * x * (1. + ((2. / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
                    }
                    Activation::Relu => x.max(0.),
                    Activation::Silu => x / (1. + (-x).exp()),
                }
            })
            .collect();
        times_transposed(&active, &inputs[3], self.width)
    }

    fn run<T: Real>(&self, inputs: &[Vec<T>], weights: &[T]) -> (Vec<T>, Vec<Vec<T>>) {
        let [x, widen, widen_bias, narrow] = inputs else { panic!("four inputs") };
        let block = FeedWeights { widen, widen_bias, narrow, activation: self.activation, precision: Precision::F32 };
        let mut y = vec![T::default(); x.len()];
        let saved = feed(x, &block, &mut y);
        let mut silent = vec![T::default(); x.len()];
        feed_only(x, &block, &mut silent);
        assert!(silent == y, "what is saved changes no answer");
        let mut gradients: Vec<Vec<T>> = inputs.iter().map(|input| vec![T::default(); input.len()]).collect();
        let [dx, dwiden, dbias, dnarrow] = &mut gradients[..] else { panic!("four gradients") };
        let into = FeedGradients { widen: Some(dwiden), widen_bias: Some(dbias), narrow: Some(dnarrow) };
        feed_backward(x, &block, &saved, weights, dx, into);
        let mut alone = vec![T::default(); x.len()];
        let mut doubled = dwiden.clone();
        let into = FeedGradients { widen: Some(&mut doubled), widen_bias: None, narrow: None };
        feed_backward(x, &block, &FeedSaved::of(x, &block), weights, &mut alone, into);
        assert!(alone == *dx, "what was recomputed, and what is wanted, change no gradient");
        for (twice, once) in doubled.iter().zip(dwiden) {
            assert!(
                (twice.to_f64() - 2. * once.to_f64()).abs() <= 1e-5 * (1. + once.to_f64().abs()),
                "gradients add up"
            );
        }
        (y, gradients)
    }
}

#[test]
fn feed_is_the_naive_one() {
    for activation in [Activation::Gelu, Activation::GeluTanh, Activation::Relu, Activation::Silu] {
        for (tokens, hidden, width) in [(1, 6, 11), (40, 20, 50), (67, 16, 64)] {
            holds(
                &format!("feed {activation:?} {tokens}×{hidden}×{width}"),
                &Feed { tokens, hidden, width, activation },
            );
        }
    }
}

struct Attend {
    /// Extent and real length of each sequence.
    sequences: Vec<(usize, usize)>,
    hidden: usize,
    heads: usize,
    dropout: Dropout,
}

impl Attend {
    fn offsets(&self) -> Vec<usize> {
        let mut offsets = vec![0];
        offsets.extend(self.sequences.iter().scan(0, |end, (extent, _)| {
            *end += extent;
            Some(*end)
        }));
        offsets
    }
}

impl Op for Attend {
    fn inputs(&self) -> Vec<Vector> {
        let (tokens, hidden) = (self.sequences.iter().map(|(extent, _)| extent).sum::<usize>(), self.hidden);
        let scale = |values: Vector| values.iter().map(|value| value / (hidden as f64).sqrt()).collect();
        let square = hidden * hidden;
        vec![random(1, tokens * hidden), scale(random(2, 3 * square)), random(3, 3 * hidden), scale(random(4, square))]
    }

    fn naive(&self, inputs: &[Vector]) -> Vector {
        let (hidden, width) = (self.hidden, self.hidden / self.heads);
        let inward: Vector = times_transposed(&inputs[0], &inputs[1], hidden)
            .iter()
            .enumerate()
            .map(|(at, value)| value + inputs[2][at % (3 * hidden)])
            .collect();
        let part = |token: usize, which: usize, head: usize| {
            let start = token * 3 * hidden + which * hidden + head * width;
            &inward[start..start + width]
        };
        let mut context = vec![0.; inputs[0].len()];
        let mut first = 0;
        for (&(extent, length), &start) in self.sequences.iter().zip(&self.offsets()) {
            for head in 0..self.heads {
                for query in 0..extent {
                    let scores: Vector = (0..length)
                        .map(|key| {
                            inner(part(start + query, 0, head), part(start + key, 1, head)) / (width as f64).sqrt()
                        })
                        .collect();
                    let most = scores.iter().copied().fold(f64::MIN, f64::max);
                    let total: f64 = scores.iter().map(|score| (score - most).exp()).sum();
                    for (key, score) in scores.iter().enumerate() {
                        let share = (score - most).exp() / total * kept(self.dropout, first + query * extent + key);
                        for at in 0..width {
                            context[(start + query) * hidden + head * width + at] +=
                                share * part(start + key, 2, head)[at];
                        }
                    }
                }
                first += extent * extent;
            }
        }
        times_transposed(&context, &inputs[3], hidden)
    }

    fn run<T: Real>(&self, inputs: &[Vec<T>], weights: &[T]) -> (Vec<T>, Vec<Vec<T>>) {
        let [x, inward, inward_bias, outward] = inputs else { panic!("four inputs") };
        let block = AttendWeights { inward, inward_bias, outward, precision: Precision::F32 };
        let lengths: Vec<usize> = self.sequences.iter().map(|(_, length)| *length).collect();
        let offsets = self.offsets();
        let attention = Attention { offsets: &offsets, lengths: &lengths, heads: self.heads, dropout: self.dropout };
        let mut y = vec![T::default(); x.len()];
        drop(attend(x, &block, &attention, &mut y));
        let saved = AttendSaved::of(x, &block, &attention);
        let mut gradients: Vec<Vec<T>> = inputs.iter().map(|input| vec![T::default(); input.len()]).collect();
        let [dx, dinward, dbias, doutward] = &mut gradients[..] else { panic!("four gradients") };
        let thirds = |values: &mut Vec<T>| -> [Vec<T>; 3] {
            let third = values.len() / 3;
            [0, 1, 2].map(|at| values[at * third..(at + 1) * third].to_vec())
        };
        let (mut parts, mut biases) = (thirds(dinward), thirds(dbias));
        let into = AttendGradients {
            inward: parts.each_mut().map(|part| Some(part.as_mut_slice())),
            inward_bias: biases.each_mut().map(|part| Some(part.as_mut_slice())),
            outward: Some(doutward),
        };
        attend_backward(x, &block, &attention, &saved, weights, dx, into);
        (*dinward, *dbias) = (parts.concat(), biases.concat());
        let mut alone = vec![T::default(); x.len()];
        let none = AttendGradients { inward: [None, None, None], inward_bias: [None, None, None], outward: None };
        attend_backward(x, &block, &attention, &saved, weights, &mut alone, none);
        assert!(alone == *dx, "what is wanted changes no gradient");
        (y, gradients)
    }
}

#[test]
fn attend_is_the_naive_one() {
    type Sequences = &'static [(usize, usize)];
    let shapes: [(Sequences, usize, usize); 6] = [
        (&[(1, 1)], 4, 1),
        (&[(5, 5)], 12, 3),
        (&[(3, 3), (1, 1), (17, 17), (20, 20)], 18, 2),
        (&[(9, 9), (9, 4), (9, 1)], 8, 8),
        (&[(70, 70), (2, 2)], 32, 1),
        (&[(130, 100)], 6, 2),
    ];
    for (sequences, hidden, heads) in shapes {
        for dropout in [Dropout::none(), Dropout::new(0.2, 8)] {
            let op = Attend { sequences: sequences.to_vec(), hidden, heads, dropout };
            holds(&format!("attend {sequences:?} {hidden}/{heads}"), &op);
        }
    }
}

#[test]
fn attend_is_the_naive_one_over_512_tokens() {
    let op = Attend { sequences: vec![(512, 512)], hidden: 8, heads: 1, dropout: Dropout::new(0.1, 3) };
    let inputs = op.inputs();
    let (output, gradients) = op.run(&inputs, &random(99, inputs[0].len()));
    close("attend 512", &output, &op.naive(&inputs), 1e-12);
    let narrow: Vec<Vec<f32>> = inputs.iter().map(|input| single(input)).collect();
    let (_, found) = op.run(&narrow, &single(&random(99, inputs[0].len())));
    for (found, expected) in found.iter().zip(&gradients) {
        close("attend 512", &found.iter().map(|value| f64::from(*value)).collect::<Vector>(), expected, 3e-5);
    }
}

struct Embed {
    lengths: Vec<u32>,
    width: usize,
    types: u32,
    dropout: Dropout,
}

impl Embed {
    fn places(&self) -> (Vec<u32>, Vec<u32>) {
        let positions: Vec<u32> = self.lengths.iter().flat_map(|length| 2..2 + length).collect();
        let types = (0..positions.len() as u32).map(|at| at % self.types.max(1)).collect();
        (positions, types)
    }
}

impl Op for Embed {
    fn inputs(&self) -> Vec<Vector> {
        let (tokens, width) = (self.lengths.iter().sum::<u32>() as usize, self.width);
        let mut inputs = vec![random(1, tokens * width), random(2, 60 * width), random(3, width), random(4, width)];
        if self.types > 0 {
            inputs.push(random(5, self.types as usize * width));
        }
        inputs
    }

    fn naive(&self, inputs: &[Vector]) -> Vector {
        let (positions, types) = self.places();
        let width = self.width;
        let sum: Vector = (0..inputs[0].len())
            .map(|at| {
                let (token, column) = (at / width, at % width);
                let kind = inputs.get(4).map_or(0., |table| table[types[token] as usize * width + column]);
                inputs[0][at] + inputs[1][positions[token] as usize * width + column] + kind
            })
            .collect();
        let out = layer_norm(&sum, &inputs[2], &inputs[3], 1e-12);
        out.iter().enumerate().map(|(at, value)| value * kept(self.dropout, at)).collect()
    }

    fn run<T: Real>(&self, inputs: &[Vec<T>], weights: &[T]) -> (Vec<T>, Vec<Vec<T>>) {
        let (positions, types) = self.places();
        let places = Places { positions: &positions, types: &types };
        let table = inputs.get(4).map_or(&[][..], Vec::as_slice);
        let tables =
            EmbedWeights { positions: &inputs[1], types: table, gamma: &inputs[2], beta: &inputs[3], epsilon: 1e-12 };
        let mut out = vec![T::default(); inputs[0].len()];
        let saved = embed(&inputs[0], &tables, places, self.dropout, &mut out);
        let mut gradients: Vec<Vec<T>> = inputs.iter().map(|input| vec![T::default(); input.len()]).collect();
        let [dwords, dpositions, dgamma, dbeta, dtypes @ ..] = &mut gradients[..] else { panic!("four gradients") };
        let into = EmbedGradients {
            positions: Some(dpositions),
            types: dtypes.first_mut().map(Vec::as_mut_slice),
            gamma: Some(dgamma),
            beta: Some(dbeta),
        };
        embed_backward(&saved, &inputs[2], places, self.dropout, weights, dwords, into);
        (out, gradients)
    }
}

#[test]
fn embed_is_the_naive_one() {
    for (lengths, width, types) in [(vec![1], 5, 0), (vec![40, 7, 1, 12], 24, 2), (vec![3, 3], 33, 1)] {
        for dropout in [Dropout::none(), Dropout::new(0.5, 2)] {
            holds(&format!("embed {lengths:?}×{width}"), &Embed { lengths: lengths.clone(), width, types, dropout });
        }
    }
}

#[test]
fn the_gradient_of_gathered_rows_is_sparse_and_sums_repetitions() {
    let (width, ids) = (7, [4, 1, 4, 9, 1, 4]);
    let table = random(1, 10 * width);
    let mut out = vec![0.; ids.len() * width];
    gather(&table, &ids, width, &mut out);
    for (row, &id) in out.chunks(width).zip(&ids) {
        assert_eq!(row, &table[id as usize * width..][..width]);
    }
    let dout = random(2, out.len());
    let (found, rows) = scatter(&ids, &dout, width);
    assert_eq!(found, [1, 4, 9]);
    for (id, row) in found.iter().zip(rows.chunks(width)) {
        for (at, &value) in row.iter().enumerate() {
            let sum: f64 =
                (0..ids.len()).filter(|&token| ids[token] == *id).map(|token| dout[token * width + at]).sum();
            assert!((value - sum).abs() < 1e-14);
        }
    }
    assert_eq!(scatter::<f32>(&[], &[], width), (vec![], vec![]));
}

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
    if !Precision::Bf16.is_available() {
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
                pool.install(|| product_in(Precision::Bf16, MatrixMut::new(&mut out, m, n), left, right, adds));
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
    product_in(Precision::Bf16, MatrixMut::new(&mut out, 1, 1), nan, one, false);
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
