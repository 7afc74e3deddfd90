//! The reference path: every parameter gets a gradient, and it is the right one.

use candle_core::{DType, Device, Result, Tensor};
use mtl_backbone::{
    Encoder, Family, Flat, GradientBlock, Implementation, Params, Pass, Pooling, Pretrained, pool, random,
};
use mtl_task::rng::Key;
use mtl_task::{Encoded, Packed};
use serde_json::json;

fn tiny(architecture: &str) -> Pretrained {
    let mut config = json!({
        "vocab_size": 23, "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 20,
        "max_position_embeddings": 16, "type_vocab_size": 2, "initializer_range": 0.3,
        "dim": 12, "n_layers": 2, "n_heads": 3, "hidden_dim": 20, "pad_token_id": 0,
    });
    if architecture == "electra" {
        config["embedding_size"] = 8.into();
    }
    random(&Default::default(), architecture, &config, Key::new(5)).expect("a valid configuration")
}

fn texts() -> Packed {
    let text = |ids: &[u32], segments: &[u32]| Encoded {
        ids: ids.to_vec(),
        segments: segments.to_vec(),
        ..Encoded::default()
    };
    Packed::new([&text(&[1, 5, 7, 5, 2], &[0, 0, 0, 1, 1]), &text(&[1, 2], &[0, 0]), &text(&[1, 22, 2], &[0, 0, 0])])
}

fn params(pretrained: &Pretrained) -> Result<Params> {
    let mut params = Params::new(&Device::Cpu, DType::F64);
    pretrained.insert("shared", &mut params)?;
    Ok(params)
}

fn loss(encoder: &Family, params: &Params, pass: &mut Pass) -> Result<Tensor> {
    let tokens = texts();
    let x = encoder.states("shared", params, &tokens, pass)?;
    // A fixed random projection: every output coordinate has its own weight.
    let mut stream = Key::new(9).stream();
    let pooled = pool(&x, &tokens, Pooling::Mean)?;
    let weights: Vec<f64> = (0..pooled.elem_count()).map(|_| stream.normal()).collect();
    (&pooled * Tensor::from_vec(weights, pooled.shape(), &Device::Cpu)?)?.sum_all()
}

fn agrees_with_finite_differences(architecture: &str, path: Implementation, dropout: f64) -> Result<()> {
    let pretrained = tiny(architecture);
    let encoder = pretrained.encoder.clone().with_path(path).with_dropout(dropout, dropout);
    let params = params(&pretrained)?;
    let key = Key::new(11);
    let mut pass = Pass::training(key);
    let value = loss(&encoder, &params, &mut pass)?;
    let row = pass.backward(&value, &params)?;
    let mut stream = Key::new(3).stream();
    for param in params.iter() {
        let segment = row.0.get(param.name()).unwrap_or_else(|| panic!("{} got no gradient", param.name()));
        if let GradientBlock::Rows(rows) = segment {
            assert_eq!(rows.ids, [1, 2, 5, 7, 22], "only the rows that the batch touched");
        }
        let gradient = segment.dense(param.layout().len())?;
        let start = Flat::of(param.tensor())?;
        for entry in param.layout().entries() {
            for _ in 0..4 {
                let index = entry.range.start + stream.below(entry.range.len());
                let at = |offset: f64| -> Result<f64> {
                    let Flat::F64(mut values) = start.clone() else { unreachable!("parameters are f64 here") };
                    values[index] += offset;
                    param.var().set(&Tensor::from_vec(values, param.layout().len(), &Device::Cpu)?)?;
                    loss(&encoder, &params, &mut Pass::training(key))?.to_scalar::<f64>()
                };
                let numeric = (at(1e-5)? - at(-1e-5)?) / 2e-5;
                at(0.)?;
                let exact = gradient.at(index);
                assert!(
                    (numeric - exact).abs() < 1e-6 * (1. + exact.abs()),
                    "{architecture} {} element {index}: {numeric} by differences, {exact} by backward",
                    entry.name
                );
            }
        }
    }
    Ok(())
}

#[test]
fn gradients_agree_with_finite_differences_in_every_architecture() -> Result<()> {
    for architecture in ["bert", "roberta", "distilbert", "electra"] {
        agrees_with_finite_differences(architecture, Implementation::Reference, 0.)?;
    }
    Ok(())
}

#[test]
fn gradients_agree_with_finite_differences_through_the_same_dropout_mask() -> Result<()> {
    agrees_with_finite_differences("bert", Implementation::Reference, 0.3)
}

#[test]
fn the_path_that_the_device_chooses_agrees_too() -> Result<()> {
    agrees_with_finite_differences("bert", Implementation::Auto, 0.3)?;
    agrees_with_finite_differences("electra", Implementation::Auto, 0.)
}

#[test]
fn padding_changes_no_answer() -> Result<()> {
    let pretrained = tiny("bert");
    let text = |ids: &[u32]| Encoded { ids: ids.to_vec(), segments: vec![0; ids.len()], ..Encoded::default() };
    let (a, b) = (text(&[1, 5, 7, 2]), text(&[1, 2]));
    let params = params(&pretrained)?;
    let run = |tokens: &Packed| -> Result<Vec<Vec<f64>>> {
        let encoder = pretrained.encoder.clone().with_path(Implementation::Reference);
        let mut pass = Pass::evaluation();
        let x = encoder.states("shared", &params, tokens, &mut pass)?;
        pool(&x, tokens, Pooling::Mean)?.to_vec2()
    };
    let (packed, padded) = (run(&Packed::new([&a, &b]))?, run(&Packed::padded([&a, &b], 0))?);
    for (x, y) in packed.iter().flatten().zip(padded.iter().flatten()) {
        assert!((x - y).abs() < 1e-12, "{x} {y}");
    }
    Ok(())
}
