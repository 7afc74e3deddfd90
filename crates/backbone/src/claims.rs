//! What a configuration, its reader and the weights beside it say of one model, held against each other.

use anyhow::{Context, Result, bail};
use mtl_task::Registry;
use serde_json::Value;

use crate::Architecture;

/// Classes of transformers, by what their names begin with, and the architecture of each.
const CLASSES: &[(&str, &str)] = &[
    ("Bert", "bert"),
    ("DPR", "bert"),
    ("DistilBert", "distilbert"),
    ("Electra", "electra"),
    ("Roberta", "roberta"),
    ("XLMRoberta", "roberta"),
    ("Camembert", "roberta"),
];

/// How the names of classes go on that hold the plain network.
const ENDINGS: &[&str] = &["Model", "For", "LMHeadModel", "QuestionEncoder", "ContextEncoder", "Reader"];

/// The architecture of `config`: its `model_type`, or the one that is `stated` elsewhere, or that of its class.
pub(crate) fn architecture(
    architectures: &Registry<Architecture>,
    config: &Value,
    stated: Option<&str>,
) -> Result<String> {
    let find = |name: &str| architectures.find(name);
    let class = config.pointer("/architectures/0").and_then(Value::as_str).unwrap_or_default();
    let known = CLASSES.iter().find(|(begin, _)| {
        class.strip_prefix(begin).is_some_and(|rest| ENDINGS.iter().any(|ending| rest.starts_with(ending)))
    });
    let found = match config.get("model_type").filter(|value| !value.is_null()) {
        Some(Value::String(name)) => Some((name.as_str(), name.as_str())),
        Some(other) => bail!("`model_type` is {other}; the name of an architecture was expected"),
        None => known.map(|(_, name)| (*name, class)),
    };
    match (found, stated) {
        (Some((name, said)), Some(stated)) if find(name)?.name != find(stated)?.name => {
            bail!("it says `{said}`, the manifest says `{stated}`")
        }
        (Some((name, said)), None) => find(name).map(|_| name.to_string()).with_context(|| format!("it says `{said}`")),
        // Without a `model_type` the manifest decides between the names of one network.
        (Some((name, said)), Some(stated)) => Ok(if name == said { name } else { stated }.to_string()),
        (None, Some(stated)) => find(stated).map(|_| stated.to_string()),
        (None, None) => bail!("`model_type` is missing; it says which network the weights are of"),
    }
}

/// Refuses an encoder of `layers` layers if the tensors `left` are its own and nothing took them.
pub(crate) fn nothing_left(left: &[&str], layers: usize) -> Result<()> {
    let Some(first) = left.first() else { return Ok(()) };
    let has = |part: &str| left.iter().any(|name| name.contains(part));
    let surplus = left.iter().find_map(|name| {
        let (_, rest) = name.split_once("layer.")?;
        rest.split('.').next()?.parse().ok().filter(|layer: &usize| *layer >= layers)
    });
    let reason = if has("distance_embedding") {
        "positions are relative there (`position_embedding_type`), which is not computed here".to_string()
    } else if has("crossattention") {
        "they are of a decoder that reads an encoder's states".to_string()
    } else if has("lora_") || has("adapter") {
        "merge what was added to the encoder into its weights, and save it again".to_string()
    } else if let Some(layer) = surplus {
        format!("config.json says {layers} layers, and there is a layer {layer}; make the two agree")
    } else {
        "config.json and the weights are of different models".to_string()
    };
    let more = if left.len() > 1 { format!(" and {} more", left.len().saturating_sub(1)) } else { String::new() };
    bail!("tensor `{first}`{more}: part of the encoder, but nothing here computes with it; {reason}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_model_type_decides_then_the_manifest_then_the_class() {
        let of = |config: Value, stated: Option<&str>| {
            architecture(&Registry::default(), &config, stated).map_err(|error| error.to_string())
        };
        let class = |name: &str| json!({ "architectures": [name] });
        assert_eq!(of(json!({ "model_type": "roberta" }), None), Ok("roberta".into()));
        assert_eq!(of(json!({ "model_type": "xlm-roberta" }), Some("roberta")), Ok("xlm-roberta".into()));
        assert_eq!(of(json!({ "model_type": "camembert" }), Some("roberta")), Ok("camembert".into()));
        assert_eq!(of(json!({}), Some("roberta")), Ok("roberta".into()));
        assert_eq!(of(json!({ "model_type": null }), Some("electra")), Ok("electra".into()));
        assert_eq!(of(class("RobertaForMaskedLM"), Some("xlm-roberta")), Ok("xlm-roberta".into()));
        assert_eq!(of(class("BertGenerationEncoder"), Some("roberta")), Ok("roberta".into()), "a class of its own");
        assert_eq!(of(class("DPRQuestionEncoder"), None), Ok("bert".into()));
        for (config, stated, named) in [
            (json!({ "model_type": "bert" }), Some("roberta"), "it says `bert`, the manifest says `roberta`"),
            (class("RobertaModel"), Some("bert"), "it says `RobertaModel`, the manifest says `bert`"),
            (json!({}), None, "`model_type` is missing"),
            (json!({ "model_type": 3 }), Some("bert"), "`model_type` is 3"),
            (json!({ "model_type": "t5" }), Some("bert"), "unknown architecture `t5`"),
            (json!({}), Some("t5"), "unknown architecture `t5`"),
        ] {
            let message = of(config, stated).expect_err(named);
            assert!(message.contains(named), "{message}");
        }
    }

    #[test]
    fn what_is_left_of_an_encoder_is_named_with_its_reason() {
        nothing_left(&[], 2).expect("nothing is left");
        for (left, reason) in [
            (vec!["encoder.layer.0.attention.self.distance_embedding.weight"], "position_embedding_type"),
            (vec!["encoder.layer.0.crossattention.self.key.weight"], "decoder"),
            (vec!["encoder.layer.2.output.dense.bias", "x"], "says 2 layers, and there is a layer 2"),
            (vec!["encoder.layer.1.attention.self.query.lora_A.weight"], "merge"),
            (vec!["embeddings.other.weight"], "different models"),
        ] {
            let message = nothing_left(&left, 2).expect_err(reason).to_string();
            assert!(message.contains(&format!("`{}`", left[0])) && message.contains(reason), "{message}");
        }
    }
}
