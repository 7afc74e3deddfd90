//! The encoders against candle-transformers, on tiny random weights.
//!
//! Of the architectures here it has BERT, DistilBERT and XLM-RoBERTa, which is RoBERTa with another tokenizer. It has
//! no ELECTRA; one whose word table is as wide as its states is BERT, and is compared as that, while the projection of
//! a narrow table is compared with PyTorch alone (`parity.rs`). Its DistilBERT computes `gelu` by the tanh formula, so
//! ours is told to do so, and knows no other activation than that and `relu`. It has no dropout that drops and no
//! gradients to compare: LayerNorm cuts its graph.

use std::collections::HashMap;

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::{bert, distilbert, xlm_roberta};
use mtl_backbone::{Architecture, Encoder, Implementation, Params, Pass, Pretrained, random};
use mtl_task::rng::{Key, Stream};
use mtl_task::{Encoded, Packed, Registry};
use serde_json::{Value, json};

/// Largest difference between two states, which LayerNorm makes of the size of 1.
const TOLERANCE: f32 = 2e-6;
const VOCABULARY: usize = 60;
const LENGTHS: [&[usize]; 4] = [&[1], &[9, 9], &[3, 17, 1, 8], &[24, 2, 23]];

/// States `[texts, longest, hidden]` of texts padded to one length; the mask is 1 where there is text.
type Oracle = Box<dyn Fn(&Tensor, &Tensor, &Tensor) -> candle_core::Result<Tensor>>;

fn config(more: Value) -> Value {
    let mut config = json!({
        "vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4,
        "intermediate_size": 48, "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "layer_norm_eps": 1e-12,
        "attention_probs_dropout_prob": 0.1, "max_position_embeddings": 32, "type_vocab_size": 2, "pad_token_id": 0,
        "initializer_range": 0.1, "position_embedding_type": "absolute",
    });
    let fields = more.as_object().cloned().unwrap_or_default();
    fields.into_iter().for_each(|(key, value)| config[key] = value);
    config
}

fn distilled(activation: &str) -> Value {
    json!({
        "vocab_size": VOCABULARY, "dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 48, "activation": activation,
        "max_position_embeddings": 32, "initializer_range": 0.1, "pad_token_id": 0,
    })
}

/// Our encoder, its weights, and the oracle of the configuration `theirs` that has the same ones.
fn pair(architecture: &str, ours: &Value, theirs: &Value) -> Result<(Pretrained, Params, Oracle)> {
    let model = random(&Registry::default(), architecture, ours, Key::new(7))?;
    let mut params = Params::new(&Device::Cpu, DType::F32);
    model.insert("shared", &mut params)?;
    // Biases of 0 and scales of 1 would hide where they are added.
    let mut stream = Key::new(8).stream();
    for param in params.iter() {
        let noise: Vec<f32> = (0..param.layout().len()).map(|_| (stream.normal() * 0.05) as f32).collect();
        param.var().set(&(param.tensor().detach() + Tensor::from_vec(noise, param.layout().len(), &Device::Cpu)?)?)?;
    }
    let bare = |(name, tensor): (String, Tensor)| (name.trim_start_matches("shared/").to_string(), tensor);
    let tensors: HashMap<String, Tensor> = params.tensors()?.into_iter().map(bare).collect();
    let weights = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
    let oracle: Oracle = match architecture {
        "bert" | "electra" => {
            let model = bert::BertModel::load(weights, &serde_json::from_value(theirs.clone())?)?;
            Box::new(move |ids, segments, mask| model.forward(ids, segments, Some(mask)))
        }
        "distilbert" => {
            let model = distilbert::DistilBertModel::load(weights, &serde_json::from_value(theirs.clone())?)?;
            // Its mask is 1 where there is no text.
            Box::new(move |ids, _, mask| model.forward(ids, &mask.eq(0u32)?.unsqueeze(1)?.unsqueeze(1)?))
        }
        _ => {
            let model = xlm_roberta::XLMRobertaModel::new(&serde_json::from_value(theirs.clone())?, weights)?;
            Box::new(move |ids, segments, mask| model.forward(ids, mask, segments, None, None, None))
        }
    };
    Ok((model, params, oracle))
}

/// Texts of random words of the given lengths, none of which is the padding id.
fn texts(lengths: &[usize], segments: usize, stream: &mut Stream) -> Vec<Encoded> {
    let mut text = |&length: &usize| Encoded {
        ids: (0..length).map(|_| 2 + stream.below(VOCABULARY - 2) as u32).collect(),
        segments: (0..length).map(|_| stream.below(segments) as u32).collect(),
        ..Encoded::default()
    };
    lengths.iter().map(&mut text).collect()
}

/// The oracle's states of the texts' own tokens, text after text.
fn expected(oracle: &Oracle, texts: &[Encoded], pad: u32) -> Result<Vec<f32>> {
    let longest = texts.iter().map(|text| text.ids.len()).max().unwrap_or_default();
    let padded = |row: &dyn Fn(&Encoded) -> Vec<u32>, fill: u32| {
        let rows = texts.iter().map(row).map(|mut row| {
            row.resize(longest, fill);
            row
        });
        Tensor::new(rows.collect::<Vec<Vec<u32>>>(), &Device::Cpu)
    };
    let ids = padded(&|text| text.ids.clone(), pad)?;
    let segments = padded(&|text| text.segments.clone(), 0)?;
    let mask = padded(&|text| vec![1; text.ids.len()], 0)?;
    let states = oracle(&ids, &segments, &mask)?;
    let rows = texts.iter().enumerate().map(|(at, text)| states.get(at)?.narrow(0, 0, text.ids.len()));
    Ok(Tensor::cat(&rows.collect::<candle_core::Result<Vec<_>>>()?, 0)?.flatten_all()?.to_vec1()?)
}

/// The states of the real tokens of `packed`, which may be padded.
fn real(states: &Tensor, packed: &Packed) -> Result<Vec<f32>> {
    let starts = packed.offsets.iter().zip(&packed.lengths);
    let rows: Vec<Tensor> =
        starts.map(|(&start, &length)| states.narrow(0, start, length)).collect::<candle_core::Result<_>>()?;
    Ok(Tensor::cat(&rows, 0)?.flatten_all()?.to_vec1()?)
}

fn compare(architecture: &str, ours: &Value, theirs: &Value, pad: u32, segments: usize) -> Result<()> {
    let (model, params, oracle) = pair(architecture, ours, theirs)?;
    let mut stream = Key::new(9).stream();
    for lengths in LENGTHS {
        let texts = texts(lengths, segments, &mut stream);
        let expected = expected(&oracle, &texts, pad)?;
        assert!(expected.iter().map(|value| value.abs()).sum::<f32>() / expected.len() as f32 > 0.3);
        for path in [Implementation::Reference, Implementation::Auto] {
            let encoder = model.encoder.clone().with_path(path);
            for packed in [Packed::new(&texts), Packed::padded(&texts, pad)] {
                let states = encoder.states("shared", &params, &packed, &mut Pass::evaluation())?;
                let states = real(&states, &packed)?;
                assert_eq!(states.len(), expected.len());
                let off = states.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0., f32::max);
                assert!(off <= TOLERANCE, "{architecture}, {path:?}, lengths {lengths:?}: off by {off:e}");
            }
        }
    }
    Ok(())
}

#[test]
fn bert_is_candles() -> Result<()> {
    for (activation, theirs) in [("gelu", "gelu"), ("gelu_new", "gelu_approximate"), ("relu", "relu")] {
        // Its name for the tanh formula is its own.
        let theirs = theirs.replace('_', "");
        let (ours, theirs) = (config(json!({ "hidden_act": activation })), config(json!({ "hidden_act": theirs })));
        compare("bert", &ours, &theirs, 0, 2)?;
    }
    Ok(())
}

#[test]
fn an_electra_without_a_projection_is_candles_bert() -> Result<()> {
    let config = config(json!({ "embedding_size": 32 }));
    compare("electra", &config, &config, 0, 2)
}

#[test]
fn roberta_is_candles_xlm_roberta() -> Result<()> {
    for types in [1, 2] {
        let config = config(json!({ "pad_token_id": 1, "type_vocab_size": types, "layer_norm_eps": 1e-5 }));
        compare("roberta", &config, &config, 1, types)?;
        compare("xlm-roberta", &config, &config, 1, types)?;
    }
    Ok(())
}

#[test]
fn distilbert_is_candles() -> Result<()> {
    compare("distilbert", &distilled("relu"), &distilled("relu"), 0, 1)?;
    compare("distilbert", &distilled("gelu_new"), &distilled("gelu"), 0, 1)
}

#[test]
fn every_architecture_has_an_oracle() {
    let compared = ["bert", "distilbert", "electra", "roberta"];
    assert!(Registry::<Architecture>::default().iter().all(|architecture| compared.contains(&architecture.name)));
}
