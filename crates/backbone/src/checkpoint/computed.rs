//! What a configuration may ask of a network that no architecture here computes.

use anyhow::{Result, bail};
use serde_json::Value;

/// A key, the value that every architecture here computes, and what any other one is.
const KEYS: &[(&str, &str, &str)] = &[
    ("position_embedding_type", "\"absolute\"", "another kind of positions"),
    ("is_decoder", "false", "a decoder, whose tokens see only those before them"),
    ("add_cross_attention", "false", "a decoder that reads an encoder's states"),
    ("is_encoder_decoder", "false", "a model of two halves"),
    ("auto_map", "null", "a network that code of the repository computes, and no such code is run here"),
    ("quantization_config", "null", "quantised weights; take the unquantised model"),
];

/// Refuses what is not computed.
pub(super) fn check(config: &Value) -> Result<()> {
    for (key, computed, what) in KEYS {
        if let Some(value) = stated(config, key).map(Value::to_string).filter(|value| value != computed) {
            bail!("`{key}` is {value}, {what}; only {computed} is computed here");
        }
    }
    // Heads by layer that were cut out of the weights.
    let pruned = stated(config, "pruned_heads").and_then(Value::as_object).into_iter().flatten();
    if let Some((layer, heads)) = pruned.into_iter().find(|(_, heads)| !heads.as_array().is_some_and(Vec::is_empty)) {
        bail!("`pruned_heads` takes the heads {heads} from layer {layer}; only whole layers are computed here");
    }
    for key in ["hidden_act", "activation"] {
        if let Some(value) = stated(config, key).filter(|value| !value.is_string()) {
            bail!("`{key}` is {value}; the name of a function was expected, such as \"gelu\"");
        }
    }
    Ok(())
}

/// The value of `key`, unless it is as good as absent.
fn stated<'a>(config: &'a Value, key: &str) -> Option<&'a Value> {
    config.get(key).filter(|value| !value.is_null() && value.as_object().is_none_or(|members| !members.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_not_computed_is_refused_by_its_key() {
        let plain = json!({
            "position_embedding_type": "absolute", "is_decoder": false, "add_cross_attention": false,
            "is_encoder_decoder": false, "pruned_heads": {}, "auto_map": null, "hidden_act": "gelu",
        });
        check(&plain).expect("what transformers writes of an encoder");
        check(&json!({})).expect("nothing");
        for (key, value) in [
            ("position_embedding_type", json!("relative_key")),
            ("position_embedding_type", json!("alibi")),
            ("is_decoder", json!(true)),
            ("is_decoder", json!("yes")),
            ("add_cross_attention", json!(true)),
            ("is_encoder_decoder", json!(true)),
            ("pruned_heads", json!({ "3": [0, 1] })),
            ("auto_map", json!({ "AutoModel": "modeling.Mine" })),
            ("quantization_config", json!({ "bits": 8 })),
            ("hidden_act", json!(["gelu"])),
        ] {
            let mut config = plain.clone();
            config[key] = value;
            let message = check(&config).expect_err(key).to_string();
            assert!(message.contains(&format!("`{key}`")), "{message}");
        }
    }
}
