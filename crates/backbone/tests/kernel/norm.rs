//! Bias, dropout, residual and LayerNorm.

use mtl_backbone::kernel::*;

use crate::*;

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
