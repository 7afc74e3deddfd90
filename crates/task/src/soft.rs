//! Learning from another model's answers in place of labels.
//!
//! Of classes and tags the teacher's probabilities at a temperature T, softmax(z/T), are learnt by cross entropy; of sets
//! of labels each label's, σ(z/T), by binary cross entropy; of values the value itself by its squared error. Losses at a
//! temperature are multiplied by T², so that their gradients are as large as at T = 1.
//!
//! Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network" (2015).

use candle_core::{D, Result, Tensor};

/// What a kind's answers are to whoever learns from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Soft {
    /// One class of several a row.
    Classes,
    /// Every label on its own.
    Labels,
    /// A value, in the units that the task is trained in.
    Value,
}

impl Soft {
    /// What `logits` of a teacher teach, `[rows, outputs]`: probabilities at `temperature`, or the values as they are.
    ///
    /// # Errors
    /// Those of candle.
    pub fn targets(self, logits: &Tensor, temperature: f64) -> Result<Tensor> {
        match self {
            Self::Classes => candle_nn::ops::softmax(&(logits / temperature)?, D::Minus1),
            Self::Labels => candle_nn::ops::sigmoid(&(logits / temperature)?),
            Self::Value => Ok(logits.clone()),
        }
    }

    /// The mean loss of `logits` against `targets`, both `[rows, outputs]`; a scalar.
    ///
    /// # Errors
    /// Those of candle.
    pub fn loss(self, logits: &Tensor, targets: &Tensor, temperature: f64) -> Result<Tensor> {
        let targets = targets.to_dtype(logits.dtype())?;
        match self {
            Self::Classes => {
                let log_probabilities = candle_nn::ops::log_softmax(&(logits / temperature)?, D::Minus1)?;
                (targets * log_probabilities)?.sum(D::Minus1)?.mean_all()?.neg()? * (temperature * temperature)
            }
            Self::Labels => {
                let logits = (logits / temperature)?;
                let softplus = (logits.abs()?.neg()?.exp()? + 1.)?.log()?;
                let losses = ((logits.relu()? - (&logits * targets)?)? + softplus)?;
                losses.mean_all()? * (temperature * temperature)
            }
            Self::Value => (logits - targets)?.sqr()?.mean_all(),
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    fn tensor<const N: usize>(values: &[[f64; 2]; N]) -> Tensor {
        Tensor::new(values, &Device::Cpu).expect("a tensor")
    }

    /// `scipy.special`: softmax([2, 0]/2) = (0.7310586, 0.2689414); −Σ p log softmax([0, 1]/2) = 1.0 · … by hand:
    /// log softmax([0, 0.5]) = (−0.9740770, −0.4740770).
    #[test]
    fn classes_are_learnt_by_cross_entropy_at_the_temperature() -> Result<()> {
        let targets = Soft::Classes.targets(&tensor(&[[2., 0.]]), 2.)?;
        let found: Vec<Vec<f64>> = targets.to_vec2()?;
        assert!((found[0][0] - 0.731_058_578_63).abs() < 1e-9, "{found:?}");
        let loss = Soft::Classes.loss(&tensor(&[[0., 1.]]), &targets, 2.)?.to_scalar::<f64>()?;
        let expected = 4. * (0.731_058_578_63 * 0.974_076_984_18 + 0.268_941_421_37 * 0.474_076_984_18);
        assert!((loss - expected).abs() < 1e-9, "{loss} {expected}");
        // Whoever says what the teacher says learns nothing more.
        let own = Var::from_tensor(&tensor(&[[2., 0.]]))?;
        let gradient = Soft::Classes.loss(own.as_tensor(), &targets, 2.)?.backward()?;
        let gradient: Vec<Vec<f64>> = gradient.get(&own).expect("a gradient").to_vec2()?;
        assert!(gradient[0].iter().all(|value| value.abs() < 1e-12), "{gradient:?}");
        Ok(())
    }

    /// σ(1) = 0.7310586, σ(−1) = 0.2689414; −y log σ(x) − (1 − y) log σ(−x), x = 0: log 2 each.
    #[test]
    fn labels_are_learnt_each_and_values_by_their_square() -> Result<()> {
        let targets = Soft::Labels.targets(&tensor(&[[1., -1.]]), 1.)?;
        let found: Vec<Vec<f64>> = targets.to_vec2()?;
        assert!((found[0][1] - 0.268_941_421_37).abs() < 1e-9, "{found:?}");
        let loss = Soft::Labels.loss(&tensor(&[[0., 0.]]), &targets, 1.)?.to_scalar::<f64>()?;
        assert!((loss - std::f64::consts::LN_2).abs() < 1e-12, "{loss}");
        // Certain targets are the loss of hard labels: log(1 + e⁻³), log(1 + e⁻³).
        let loss = Soft::Labels.loss(&tensor(&[[3., -3.]]), &tensor(&[[1., 0.]]), 1.)?.to_scalar::<f64>()?;
        assert!((loss - (1. + (-3f64).exp()).ln()).abs() < 1e-12, "{loss}");
        let loss = Soft::Value.loss(&tensor(&[[1., 2.]]), &tensor(&[[1., 0.]]), 5.)?.to_scalar::<f64>()?;
        assert_eq!(loss, 2.);
        Ok(())
    }
}
