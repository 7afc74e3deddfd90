//! The softmax, and its derivative.

/// exp(xᵢ) / Σ exp(xⱼ), without overflow.
pub(crate) fn softmax(x: &[f64]) -> Vec<f64> {
    let largest = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = x.iter().map(|x| (x - largest).exp()).collect();
    let total: f64 = powers.iter().sum();
    powers.iter().map(|power| power / total).collect()
}

/// The gradient at x of ⟨z, outer⟩ with z = softmax(x): zᵢ (outerᵢ − ⟨z, outer⟩).
pub(crate) fn pull_back(z: &[f64], outer: &[f64]) -> Vec<f64> {
    let mean: f64 = z.iter().zip(outer).map(|(z, o)| z * o).sum();
    z.iter().zip(outer).map(|(z, o)| z * (o - mean)).collect()
}
