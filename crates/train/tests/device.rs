//! The same steps on a GPU as on the processor, where `MTL_DEVICE` names one (`cuda` or `metal`). Without dropout, whose
//! places are numbered otherwise in padded batches.
#![allow(clippy::print_stdout, reason = "what is skipped is said aloud")]

use anyhow::Result;
use candle_core::Device;
use mtl_backbone::{DeviceName, Implementation, ProductPrecision, random};
use mtl_task::rng::Key;
use mtl_task::{Encoded, Label, Packed, Progress, TaskBatch, TaskId, TaskSpec};
use mtl_train::{Recipe, trainer};
use serde_json::json;

const RECIPE: &str = "tasks = [\"one\", \"two\"]\ncheckpoint = \"none\"\n[sharing]\nstrategy = \"hard\"\n\
                      [head]\ndropout = 0.0\n[weighting]\nrule = \"nash\"\n[optimizer]\nrate = 1e-3\n";

/// The losses of five steps. In bf16 they go by candle's operations on the processor too: the kernel needs a rare one.
fn losses(device: &Device, precision: ProductPrecision) -> Result<Vec<Vec<f64>>> {
    let (recipe, _) = Recipe::parse(&Default::default(), "test", RECIPE, &[])?;
    let shape = json!({
        "model_type": "bert", "vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 64, "max_position_embeddings": 16, "type_vocab_size": 2, "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
    });
    let mut pretrained = random(&Default::default(), "bert", &shape, Key::new(1))?;
    if precision == ProductPrecision::Bf16 {
        pretrained.encoder = pretrained.encoder.with_path(Implementation::Reference).with_precision(precision)?;
    }
    let labels = vec!["no".to_string(), "yes".to_string()];
    let spec = TaskSpec { kind: "classification".into(), labels, ..TaskSpec::default() };
    let specs = ["one", "two"].map(|name| (name.to_string(), spec.clone()));
    let mut trainer = trainer(&recipe, &pretrained, &specs, device)?;
    (0..5)
        .map(|step| {
            let batch = |task: usize| {
                let mut stream = Key::new(2).with(step as u64).with(task as u64).stream();
                let texts: Vec<Encoded> = (0..4)
                    .map(|_| {
                        let ids: Vec<u32> = (0..3 + stream.below(9)).map(|_| stream.below(50) as u32).collect();
                        Encoded { segments: vec![0; ids.len()], ids, ..Encoded::default() }
                    })
                    .collect();
                let labels = (0..4).map(|_| Label::Class(stream.below(2) as u32)).collect();
                let tokens = if device.is_cpu() { Packed::new(&texts) } else { Packed::padded(&texts, 0) };
                TaskBatch { task: TaskId(task), tokens, labels, teacher: Vec::new() }
            };
            Ok(trainer
                .step(&[vec![batch(0), batch(1)]], Progress { step, of: 5 }, 1e-3, &mtl_train::DevSplits::none())?
                .losses)
        })
        .collect()
}

#[test]
fn a_device_takes_the_same_steps_as_the_processor() -> Result<()> {
    let device = DeviceName::under_test()?;
    if device.is_none() {
        println!("skipped: MTL_DEVICE names no GPU, so its steps are not compared with the processor's");
    }
    for (precision, tolerance) in [(ProductPrecision::F32, 1e-3), (ProductPrecision::Bf16, 2e-2)] {
        let here = losses(&Device::Cpu, precision)?;
        assert!(here.iter().flatten().all(|loss| loss.is_finite()), "{precision:?}: {here:?}");
        let Some(device) = &device else { continue };
        for (step, (here, there)) in here.iter().zip(losses(device, precision)?).enumerate() {
            for (here, there) in here.iter().zip(there) {
                let close = (here - there).abs() <= tolerance * here.abs().max(1.);
                assert!(close, "{precision:?}, step {step}: {here} here, {there} there");
            }
        }
    }
    Ok(())
}
