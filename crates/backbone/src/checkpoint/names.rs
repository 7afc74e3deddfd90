//! One set of names for the encoder's tensors, whoever saved them.

/// What wrappers and model classes put in front of an encoder's names, outermost first.
const PREFIXES: &[&str] =
    &["module.", "0.auto_model.", "base_model.", "model.", "bert.", "roberta.", "distilbert.", "electra."];

/// First words of the tensors that make up an encoder; all others belong to poolers and heads.
const ENCODERS: &[&str] = &["embeddings", "embeddings_project", "encoder", "transformer"];

/// Last words of constants that old versions of transformers saved among the weights.
const BUFFERS: &[&str] = &["position_ids", "token_type_ids"];

/// `name` without prefixes, and with `weight` and `bias` for what TensorFlow calls gamma and beta.
pub(super) fn current(name: &str) -> String {
    let bare = PREFIXES.iter().fold(name, |name, prefix| name.strip_prefix(prefix).unwrap_or(name));
    match bare.rsplit_once('.') {
        Some((stem, "gamma")) => format!("{stem}.weight"),
        Some((stem, "beta")) => format!("{stem}.bias"),
        _ => bare.to_string(),
    }
}

/// Whether the tensor of this current name is one of the encoder's weights.
pub(super) fn is_encoders(current: &str) -> bool {
    let first = current.split('.').next().unwrap_or_default();
    ENCODERS.contains(&first) && !is_buffer(current)
}

/// Whether it is a constant rather than a weight.
pub(super) fn is_buffer(current: &str) -> bool {
    current.rsplit('.').next().is_some_and(|last| BUFFERS.contains(&last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_comes_to_the_same_name() {
        let wanted = "encoder.layer.0.output.LayerNorm.weight";
        for prefix in ["", "bert.", "module.roberta.", "0.auto_model.", "model.electra."] {
            for last in ["weight", "gamma"] {
                assert_eq!(current(&format!("{prefix}encoder.layer.0.output.LayerNorm.{last}")), wanted);
            }
        }
        assert_eq!(
            current("distilbert.transformer.layer.1.sa_layer_norm.beta"),
            "transformer.layer.1.sa_layer_norm.bias"
        );
        assert!(is_encoders("embeddings_project.weight") && !is_encoders("embeddings.position_ids"));
        assert!(!is_encoders("pooler.dense.weight") && !is_encoders("cls.predictions.bias"));
    }
}
