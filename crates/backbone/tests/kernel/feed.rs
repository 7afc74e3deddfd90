//! The feed-forward block.

use mtl_backbone::Activation;
use mtl_backbone::kernel::*;

use crate::*;

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
        let [x, intermediate, intermediate_bias, output] = inputs else { panic!("four inputs") };
        let block = FeedForwardWeights {
            intermediate,
            intermediate_bias,
            output,
            activation: self.activation,
            precision: ProductPrecision::F32,
        };
        let mut y = vec![T::default(); x.len()];
        let saved = feed_forward(x, &block, &mut y);
        let mut silent = vec![T::default(); x.len()];
        feed_forward_only(x, &block, &mut silent);
        assert!(silent == y, "what is saved changes no answer");
        let mut gradients: Vec<Vec<T>> = inputs.iter().map(|input| vec![T::default(); input.len()]).collect();
        let [dx, dintermediate, dbias, doutput] = &mut gradients[..] else { panic!("four gradients") };
        let into = FeedForwardGradients {
            intermediate: Some(dintermediate),
            intermediate_bias: Some(dbias),
            output: Some(doutput),
        };
        feed_forward_backward(x, &block, &saved, weights, dx, into);
        let mut alone = vec![T::default(); x.len()];
        let mut doubled = dintermediate.clone();
        let into = FeedForwardGradients { intermediate: Some(&mut doubled), intermediate_bias: None, output: None };
        feed_forward_backward(x, &block, &FeedForwardSaved::of(x, &block), weights, &mut alone, into);
        assert!(alone == *dx, "what was recomputed, and what is wanted, change no gradient");
        for (twice, once) in doubled.iter().zip(dintermediate) {
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
