//! What numbers a configuration may state: checked before anything is allocated by them, whether the configuration is
//! a model's file, a manifest's `[random]` table or a run's own.

use anyhow::{Result, anyhow, bail};
use serde_json::Value;

use super::computed;

/// Largest number of weights that a configuration may ask for, 8 GB in single precision; the largest published models of
/// these architectures have 0.6e9.
const MAX_WEIGHTS: f64 = 2e9;

/// A whole number of a configuration: the keys that architectures call it by, and its range.
struct Count {
    keys: &'static [&'static str],
    least: u64,
    most: u64,
}

const HIDDEN: Count = Count { keys: &["hidden_size", "dim"], least: 1, most: 16_384 };
const LAYERS: Count = Count { keys: &["num_hidden_layers", "n_layers"], least: 1, most: 256 };
const HEADS: Count = Count { keys: &["num_attention_heads", "n_heads"], least: 1, most: 1_024 };
const INTERMEDIATE: Count = Count { keys: &["intermediate_size", "hidden_dim"], least: 1, most: 131_072 };
const VOCABULARY: Count = Count { keys: &["vocab_size"], least: 1, most: 5_000_000 };
const POSITIONS: Count = Count { keys: &["max_position_embeddings"], least: 1, most: 1_048_576 };
const TYPES: Count = Count { keys: &["type_vocab_size"], least: 0, most: 1_024 };
const WIDTH: Count = Count { keys: &["embedding_size"], least: 1, most: 16_384 };
const PADDING: Count = Count { keys: &["pad_token_id"], least: 0, most: 5_000_000 };

/// Probabilities, all in [0, 1).
const DROPOUTS: &[&str] = &["hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout"];

/// Checks what a `config.json` states against what an encoder can have, and what of it is computed here. A key that is
/// absent is left to the architecture, which knows whether it needs it.
///
/// # Errors
/// If a number is of the wrong type or outside its range, if the heads do not divide the hidden size, if the weights
/// would not fit into any ordinary memory, or if a key asks for what no architecture here does. The message names key,
/// value and range.
pub fn check_config(config: &Value) -> Result<()> {
    computed::check(config)?;
    let hidden = HIDDEN.of(config)?;
    PADDING.of(config)?;
    let weights = stated_weights(config)?;
    if let (Some(hidden), Some(heads)) = (hidden, HEADS.of(config)?)
        && hidden % heads != 0
    {
        bail!("{heads} attention heads do not divide a hidden size of {hidden}; the two numbers must be of one model");
    }
    for key in DROPOUTS {
        number_within(config, key, 0., 1.)?;
    }
    for key in ["layer_norm_eps", "initializer_range"] {
        number_within(config, key, 0., 10.)?;
    }
    if weights > MAX_WEIGHTS {
        bail!(
            "a model of {weights:.1e} weights, where at most {MAX_WEIGHTS:.1e} are held; check `{}`, `{}`, `{}`, `{}`",
            VOCABULARY.name(),
            POSITIONS.name(),
            HIDDEN.name(),
            LAYERS.name()
        );
    }
    Ok(())
}

/// How many weights an encoder of this configuration has, but for biases and norms; what is not stated counts as 0.
///
/// # Errors
/// As of [`check_config`], if a number is of the wrong type or outside its range.
pub fn stated_weights(config: &Value) -> Result<f64> {
    let stated = |count: &Count| -> Result<f64> { Ok(count.of(config)?.unwrap_or(0) as f64) };
    let (hidden, layers) = (stated(&HIDDEN)?, stated(&LAYERS)?);
    let intermediate = stated(&INTERMEDIATE)?;
    let rows = stated(&VOCABULARY)? + stated(&POSITIONS)? + stated(&TYPES)?;
    let width = WIDTH.of(config)?.map_or(hidden, |width| width as f64);
    Ok(rows * width + layers * (4. * hidden * hidden + 2. * hidden * intermediate))
}

impl Count {
    /// What BERT calls it.
    fn name(&self) -> &'static str {
        self.keys.first().copied().unwrap_or_default()
    }

    /// The number, if the configuration states it.
    fn of(&self, config: &Value) -> Result<Option<u64>> {
        let stated =
            |key: &&str| config.get(key).filter(|value| !value.is_null()).map(|value| (key.to_string(), value));
        let Some((key, value)) = self.keys.iter().find_map(stated) else { return Ok(None) };
        let (least, most) = (self.least, self.most);
        match value.as_u64() {
            Some(number) if (least..=most).contains(&number) => Ok(Some(number)),
            _ => Err(anyhow!("`{key}` is {value}; it must be a whole number from {least} to {most}")),
        }
    }
}

/// Checks that the number at `key`, if there is one, lies in [`least`, `below`).
fn number_within(config: &Value, key: &str, least: f64, below: f64) -> Result<()> {
    let Some(value) = config.get(key).filter(|value| !value.is_null()) else { return Ok(()) };
    match value.as_f64() {
        Some(number) if (least..below).contains(&number) => Ok(()),
        _ => bail!("`{key}` is {value}; it must be a number from {least} to below {below}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_outside_their_range_are_refused_by_name() {
        let bert = json!({
            "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
            "vocab_size": 30522, "max_position_embeddings": 512, "type_vocab_size": 2, "hidden_dropout_prob": 0.1,
            "classifier_dropout": null, "pad_token_id": 0,
        });
        check_config(&bert).expect("BERT is within the limits");
        for (key, value) in [
            ("hidden_size", json!(1u64 << 40)),
            ("hidden_size", json!(-4)),
            ("hidden_size", json!("768")),
            ("num_hidden_layers", json!(1_000_000_000)),
            ("num_hidden_layers", json!(0)),
            ("vocab_size", json!(6_000_000)),
            ("vocab_size", json!(30522.5)),
            ("hidden_dropout_prob", json!(1.0)),
            ("layer_norm_eps", json!(-1e-12)),
            ("type_vocab_size", json!(5000)),
        ] {
            let mut config = bert.clone();
            config[key] = value;
            let message = check_config(&config).expect_err(key).to_string();
            assert!(message.contains(&format!("`{key}`")) && message.contains("must be"), "{message}");
        }
        let mut config = bert.clone();
        config["num_attention_heads"] = json!(7);
        assert!(check_config(&config).expect_err("7 ∤ 768").to_string().contains("7 attention heads do not divide"));
        let huge = json!({ "hidden_size": 16384, "num_hidden_layers": 256, "intermediate_size": 131072 });
        assert!(check_config(&huge).expect_err("1.4e12 weights").to_string().contains("weights"));
    }
}
