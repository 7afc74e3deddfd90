//! The six linear maps of a transformer layer, by what they do; every architecture keeps them in this order.

use anyhow::{Context, bail};
use mtl_backbone::{Entry, Layout};
use serde::{Deserialize, Serialize};

use crate::blocks::overlay::is_norm;

/// One linear map of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// The attention's query map.
    Query,
    /// The attention's key map.
    Key,
    /// The attention's value map.
    Value,
    /// The output map of the attention.
    #[serde(alias = "attended", alias = "attention_output")]
    AttentionOutput,
    /// The first map of the feed-forward block, hidden to intermediate width.
    #[serde(alias = "widen")]
    Intermediate,
    /// The second map of the feed-forward block, intermediate to hidden width.
    #[serde(alias = "narrow")]
    Output,
}

impl Target {
    /// As recipes call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Key => "key",
            Self::Value => "value",
            Self::AttentionOutput => "attention-output",
            Self::Intermediate => "intermediate",
            Self::Output => "output",
        }
    }

    /// As the tensors of saved models and the streams of initial values have always called it.
    pub(crate) fn file_name(self) -> &'static str {
        match self {
            Self::AttentionOutput => "attended",
            Self::Intermediate => "widen",
            Self::Output => "narrow",
            Self::Query | Self::Key | Self::Value => self.name(),
        }
    }

    /// Its weight `[outputs, inputs]` in a layer.
    ///
    /// # Errors
    /// If the layer has no such map.
    pub(crate) fn weight(self, layer: &Layout) -> anyhow::Result<&Entry> {
        let mut matrices = layer.entries().iter().filter(|entry| entry.shape.len() == 2);
        matrices.nth(self as usize).with_context(|| format!("this encoder's layers have no map `{}`", self.name()))
    }

    /// Its bias `[outputs]` in a layer, if it has one.
    pub(crate) fn bias(self, layer: &Layout) -> Option<&Entry> {
        let mut biases = layer.entries().iter().filter(|entry| entry.shape.len() == 1 && !is_norm(entry));
        biases.nth(self as usize)
    }
}

/// `targets`, in the order in which they lie.
///
/// # Errors
/// If there are none, or one is named twice.
pub(crate) fn in_order(targets: &[Target]) -> anyhow::Result<Vec<Target>> {
    let mut sorted = targets.to_vec();
    sorted.sort_unstable();
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        bail!("`targets` names `{}` twice", pair[0].name());
    }
    if sorted.is_empty() {
        bail!("`targets` is empty; name at least one of query, key, value, attention-output, intermediate, output");
    }
    Ok(sorted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mtl_backbone::{Encoder, Part, random};
    use mtl_task::rng::Key;

    #[test]
    fn every_architecture_keeps_its_maps_in_this_order() -> anyhow::Result<()> {
        let config = serde_json::json!({
            "vocab_size": 23, "hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 3,
            "intermediate_size": 20, "max_position_embeddings": 16, "dim": 12, "n_layers": 1,
            "n_heads": 3, "hidden_dim": 20, "pad_token_id": 0,
        });
        let bert = ["query", "key", "value", "attention.output.dense", "intermediate.dense", "0.output.dense"];
        let distilbert = ["q_lin", "k_lin", "v_lin", "out_lin", "lin1", "lin2"];
        for (architecture, expected) in
            [("bert", bert), ("roberta", bert), ("electra", bert), ("distilbert", distilbert)]
        {
            let encoder = random(&Default::default(), architecture, &config, Key::new(1))?.encoder;
            let layer = encoder.layout(Part::Layer(0));
            let targets = [
                Target::Query,
                Target::Key,
                Target::Value,
                Target::AttentionOutput,
                Target::Intermediate,
                Target::Output,
            ];
            for (target, part) in targets.into_iter().zip(expected) {
                let weight = &target.weight(layer)?.name;
                assert!(weight.ends_with(&format!("{part}.weight")), "{architecture}: {target:?} is {weight}");
                let bias = target.bias(layer).map(|entry| entry.name.as_str());
                assert_eq!(bias, Some(weight.replace("weight", "bias").as_str()), "{architecture}");
            }
        }
        Ok(())
    }
}
