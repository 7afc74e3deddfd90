//! Products in bf16 against the same path in f32: every tensor's gradient stays near, and parameters and gradients stay
//! in f32.

use std::ops::Range;

use candle_core::{DType, Device, Result};
use mtl_backbone::{Family, Flat, GradientBlock, Implementation, Ports, Prefix, ProductPrecision, TaskGradient};

use crate::case::{Case, SMALL, Sizes, all, near};
use crate::device;

const RAGGED: &[usize] = &[40, 1, 100, 7];
const FULL: &[usize] = &[32, 32, 32];
const SIZES: Sizes = Sizes { layers: 2, hidden: 96, heads: 4, intermediate: 200, width: 96, ..SMALL };

fn run(case: &Case, encoder: &Family) -> Result<(Flat, TaskGradient)> {
    case.run(encoder, &all, &Ports::default())
}

/// Off by at most 5 % of the tensor's gradient, or of a thousandth of its part's where its own is smaller.
fn gradients_are_near(name: &str, case: &Case, row: &TaskGradient, exact: &TaskGradient) -> Result<()> {
    assert!(row != exact, "{name}: bf16 rounds");
    for param in case.params.iter() {
        let dense = |row: &TaskGradient| row.0[param.name()].dense(param.layout().len());
        let (found, expected) = (dense(row)?, dense(exact)?);
        let norm = |range: &Range<usize>, value: &dyn Fn(usize) -> f64| {
            range.clone().map(|at| value(at).powi(2)).sum::<f64>().sqrt()
        };
        let whole = norm(&(0..expected.len()), &|at| expected.at(at));
        for entry in param.layout().entries() {
            let error = norm(&entry.range, &|at| found.at(at) - expected.at(at));
            let bound = 5e-2 * norm(&entry.range, &|at| expected.at(at)).max(1e-3 * whole);
            assert!(error <= bound, "{name}, {}: off by {error:e}, bound {bound:e}", entry.name);
        }
    }
    Ok(())
}

#[test]
#[allow(clippy::print_stderr)]
fn the_kernel_in_bf16_is_near_itself_in_f32() -> Result<()> {
    let case = Case::new(SIZES, RAGGED, 0.1, DType::F32)?;
    let rounding = match case.on(Implementation::Auto).with_precision(ProductPrecision::Bf16) {
        Err(refusal) => {
            assert!(refusal.to_string().contains("AVX512_BF16"), "{refusal}");
            eprintln!("skipped: {refusal}");
            return Ok(());
        }
        Ok(encoder) => encoder,
    };
    let exact = run(&case, &case.on(Implementation::Auto))?.1;
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| run(&case, &rounding))
    };
    let (states, row) = with(1)?;
    assert!(with(2)? == (states, row.clone()), "other bits with two threads");
    gradients_are_near("kernel", &case, &row, &exact)
}

#[test]
fn the_reference_in_bf16_is_near_itself_in_f32() -> Result<()> {
    for device in [Device::Cpu].into_iter().chain(device::gpu()?) {
        for (name, lengths) in [("ragged", RAGGED), ("full", FULL)] {
            for dropout in [0., 0.1] {
                let case = Case::on_device(SIZES, lengths, dropout, DType::F32, &device)?;
                let name = format!("{name}, dropout {dropout}, {:?}", device.location());
                let plain = case.on(Implementation::Reference);
                let rounding = plain.clone().with_precision(ProductPrecision::Bf16)?;
                let ((states, row), (exact_states, exact)) = (run(&case, &rounding)?, run(&case, &plain)?);
                assert!(states != exact_states, "{name}: bf16 rounds");
                near(&name, &states, &exact_states, 5e-2);
                gradients_are_near(&name, &case, &row, &exact)?;
                assert!(case.params.iter().all(|param| param.tensor().dtype() == DType::F32), "{name}: parameters");
                let single = |segment: &GradientBlock| segment.values().dtype() == DType::F32;
                assert!(row.0.values().all(single), "{name}: gradients");
                assert!(run(&case, &rounding)? == (states, row) || !device.is_cpu(), "{name}: other bits");
            }
        }
    }
    Ok(())
}

/// Both round the same operands; the reference rounds their products too.
#[test]
#[allow(clippy::print_stderr)]
fn both_paths_round_alike() -> Result<()> {
    if !ProductPrecision::Bf16.is_available() {
        eprintln!("skipped: this CPU has no AVX512_BF16");
        return Ok(());
    }
    let case = Case::new(SIZES, RAGGED, 0.1, DType::F32)?;
    let rounding = |path: Implementation| case.on(path).with_precision(ProductPrecision::Bf16);
    let ((states, row), (kernel_states, kernel)) =
        (run(&case, &rounding(Implementation::Reference)?)?, run(&case, &rounding(Implementation::Auto)?)?);
    near("states", &states, &kernel_states, 5e-2);
    gradients_are_near("both", &case, &row, &kernel)
}

/// Attention with a prefix has no kernel, and rounds nevertheless.
#[test]
fn attention_with_a_prefix_rounds_on_the_reference() -> Result<()> {
    let case = Case::new(SMALL, &[5, 1, 8], 0., DType::F32)?;
    let fixed = |value: f32| candle_core::Tensor::full(value, (4, 12), &Device::Cpu);
    let prefix = Prefix { keys: fixed(0.3)?, values: fixed(-0.2)? };
    let ports = Ports { prefix: Some(&prefix), ..Ports::default() };
    let plain = case.on(Implementation::Reference);
    let (states, _) = case.run(&plain.clone().with_precision(ProductPrecision::Bf16)?, &all, &ports)?;
    let (exact, _) = case.run(&plain, &all, &ports)?;
    assert!(states != exact, "bf16 rounds");
    near("prefix", &states, &exact, 5e-2);
    Ok(())
}

#[test]
fn states_in_double_are_refused() -> Result<()> {
    let case = Case::new(SMALL, &[3], 0., DType::F64)?;
    let paths = [Implementation::Reference, Implementation::Auto].into_iter();
    for path in paths.filter(|path| *path == Implementation::Reference || ProductPrecision::Bf16.is_available()) {
        let refusal =
            run(&case, &case.on(path).with_precision(ProductPrecision::Bf16)?).expect_err("a refusal").to_string();
        assert!(refusal.contains("found F64"), "{path:?}: {refusal}");
    }
    Ok(())
}
