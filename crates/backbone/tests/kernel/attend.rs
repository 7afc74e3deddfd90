//! Attention.

use mtl_backbone::kernel::*;

use crate::*;

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
        let block = AttendWeights { inward, inward_bias, outward, precision: ProductPrecision::F32 };
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
