//! The state below the first layer, and rows of a table.

use mtl_backbone::kernel::*;

use crate::*;

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
