//! The pull of several vectors towards a centre, in one pass over memory where they lie on the host.

use candle_core::{CpuStorage, DType, Result, Storage, Tensor, WithDType};
use mtl_backbone::Param;
use rayon::prelude::*;

use crate::blocks::penalty::squared_norm;

/// Elements that one thread takes at a time: those of all tasks stay in its cache. Fixed, so that sums do not depend on
/// the number of threads.
const CHUNK: usize = 1 << 13;

/// strength/2·Σₜ ‖θₜ − a‖², and strength·(θₜ − a) for every t; a is `centre`, or the mean of the θₜ if there is none.
///
/// # Errors
/// Those of candle.
pub(crate) fn pull(part: &[Param], centre: Option<&Tensor>, strength: f64) -> Result<(f64, Vec<Tensor>)> {
    let Some(first) = part.first() else { return Ok((0., Vec::new())) };
    let on_host = part.iter().all(|param| param.tensor().device().is_cpu() && param.tensor().is_contiguous());
    match first.tensor().dtype() {
        DType::F32 if on_host => at_once::<f32>(part, centre, strength),
        DType::F64 if on_host => at_once::<f64>(part, centre, strength),
        _ => step_by_step(part, centre, strength),
    }
}

fn step_by_step(part: &[Param], centre: Option<&Tensor>, strength: f64) -> Result<(f64, Vec<Tensor>)> {
    let centre = match centre {
        Some(centre) => centre.clone(),
        None => mean(part)?,
    };
    let (mut price, mut gradients) = (0., Vec::new());
    for param in part {
        let apart = (param.tensor().detach() - &centre)?;
        price += strength / 2. * squared_norm(&apart)?;
        gradients.push((apart * strength)?);
    }
    Ok((price, gradients))
}

/// The mean of the tasks' values.
pub(crate) fn mean(part: &[Param]) -> Result<Tensor> {
    let mut sum = part[0].tensor().detach();
    for param in &part[1..] {
        sum = (sum + param.tensor().detach())?;
    }
    sum / part.len() as f64
}

fn at_once<T: WithDType>(part: &[Param], centre: Option<&Tensor>, strength: f64) -> Result<(f64, Vec<Tensor>)> {
    let values: Vec<&Tensor> = part.iter().map(Param::tensor).collect();
    let guards: Vec<_> = values.iter().copied().chain(centre).map(Tensor::storage_and_layout).collect();
    let slices: Vec<&[T]> = guards
        .iter()
        .map(|(storage, layout)| match &**storage {
            Storage::Cpu(storage) => elements::<T>(storage, layout.contiguous_offsets()),
            _ => candle_core::bail!("the pull of values on the host towards a centre elsewhere"),
        })
        .collect::<Result<_>>()?;
    let (tasks, length) = (values.len(), slices[0].len());
    let (thetas, centre) = (&slices[..tasks], slices.get(tasks).copied());
    let mut gradients: Vec<Vec<T>> = thetas.iter().map(|_| vec![T::zero(); length]).collect();
    let mut rest: Vec<_> = gradients.iter_mut().map(|gradient| gradient.chunks_mut(CHUNK)).collect();
    let pieces: Vec<Vec<&mut [T]>> =
        (0..length.div_ceil(CHUNK)).map(|_| rest.iter_mut().filter_map(Iterator::next).collect()).collect();
    let squares: Vec<f64> = pieces
        .into_par_iter()
        .enumerate()
        .map(|(piece, gradients)| {
            let start = piece * CHUNK;
            let range = start..length.min(start + CHUNK);
            let thetas: Vec<&[T]> = thetas.iter().map(|theta| &theta[range.clone()]).collect();
            let centre = centre.map_or_else(|| means(&thetas), |centre| centre[range.clone()].to_vec());
            apart(&thetas, &centre, gradients, T::from_f64(strength))
        })
        .collect();
    let shaped = |(gradient, value): (Vec<T>, &&Tensor)| Tensor::from_vec(gradient, value.shape(), value.device());
    let gradients = gradients.into_iter().zip(&values).map(shaped).collect::<Result<_>>()?;
    Ok((strength / 2. * squares.iter().sum::<f64>(), gradients))
}

fn elements<T: WithDType>(storage: &CpuStorage, range: Option<(usize, usize)>) -> Result<&[T]> {
    match range {
        Some((start, end)) => Ok(&storage.as_slice::<T>()?[start..end]),
        None => candle_core::bail!("the pull of values that do not lie side by side"),
    }
}

fn means<T: WithDType>(thetas: &[&[T]]) -> Vec<T> {
    let mut sum = thetas[0].to_vec();
    for theta in &thetas[1..] {
        sum.iter_mut().zip(*theta).for_each(|(sum, value)| *sum += *value);
    }
    let count = T::from_f64(thetas.len() as f64);
    sum.iter_mut().for_each(|sum| *sum /= count);
    sum
}

/// Writes strength·(θₜ − a), and returns Σₜ ‖θₜ − a‖².
fn apart<T: WithDType>(thetas: &[&[T]], centre: &[T], gradients: Vec<&mut [T]>, strength: T) -> f64 {
    let mut squares = 0.;
    for (theta, gradient) in thetas.iter().zip(gradients) {
        let mut sum = T::zero();
        for ((to, value), centre) in gradient.iter_mut().zip(*theta).zip(centre) {
            let apart = *value - *centre;
            sum += apart * apart;
            *to = apart * strength;
        }
        squares += sum.to_f64();
    }
    squares
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use mtl_backbone::Params;

    #[test]
    fn one_pass_finds_what_many_do() -> Result<()> {
        for dtype in [DType::F32, DType::F64] {
            for length in [1, CHUNK, 2 * CHUNK + 7] {
                let mut params = Params::new(&Device::Cpu, dtype);
                let wave = |task: usize| -> Result<Tensor> {
                    let values: Vec<f64> = (0..length).map(|at| ((at * (task + 2)) as f64).sin()).collect();
                    Tensor::from_vec(values, length, &Device::Cpu)?.to_dtype(dtype)
                };
                let part: Vec<Param> = (0..3)
                    .map(|task| params.insert_tensor(&format!("task.{task}/x"), &wave(task)?, true, true))
                    .collect::<Result<_>>()?;
                for centre in [None, Some(wave(9)?)] {
                    let (price, gradients) = pull(&part, centre.as_ref(), 0.3)?;
                    let (expected, slowly) = step_by_step(&part, centre.as_ref(), 0.3)?;
                    assert!((price - expected).abs() <= 1e-5 * expected, "{price} {expected}");
                    for (found, expected) in gradients.iter().zip(&slowly) {
                        let off = (found - expected)?.abs()?.max_all()?.to_dtype(DType::F64)?.to_scalar::<f64>()?;
                        assert!(off < 1e-6 && found.dims() == expected.dims(), "{off}");
                    }
                    let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool");
                    let again = alone.install(|| pull(&part, centre.as_ref(), 0.3))?;
                    assert_eq!(again.0.to_bits(), price.to_bits());
                }
            }
        }
        Ok(())
    }
}
