//! One set of names for the encoder's tensors, whoever saved them.

/// The tensor that every encoder of the family has, and has once: what stands in front of it stands in front of all.
const WORDS: &str = "embeddings.word_embeddings.weight";

/// What wrappers and model classes put in front of an encoder's names, outermost first: for files without a word table.
const PREFIXES: &[&str] =
    &["module.", "0.auto_model.", "base_model.", "model.", "bert.", "roberta.", "distilbert.", "electra."];

/// First words of the tensors that make up an encoder; all others belong to poolers and heads.
const ENCODERS: &[&str] = &["embeddings", "embeddings_project", "encoder", "transformer"];

/// Last words of constants that old versions of transformers saved among the weights.
const BUFFERS: &[&str] = &["position_ids", "token_type_ids"];

/// What stands in front of an encoder's names in a file that holds the tensors `names`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Root {
    /// This: whatever it is, all that begins with it is one encoder.
    Found(String),
    /// Nothing that a word table would tell: any of [`PREFIXES`].
    Unknown,
    /// More than one encoder: the word tables of two of them.
    Several([String; 2]),
}

impl Root {
    pub(super) fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut tables: Vec<&str> = names
            .into_iter()
            .filter(|name| name.strip_suffix(WORDS).is_some_and(|root| root.is_empty() || root.ends_with('.')))
            .collect();
        tables.sort_unstable();
        tables.dedup();
        match tables[..] {
            [] => Self::Unknown,
            [one] => Self::Found(one.strip_suffix(WORDS).unwrap_or(one).to_string()),
            [one, other, ..] => Self::Several([one, other].map(String::from)),
        }
    }

    /// `name` without what stands in front, and with `weight` and `bias` for what TensorFlow calls gamma and beta;
    /// `None` if this encoder has no such name.
    pub(super) fn current(&self, name: &str) -> Option<String> {
        let bare = match self {
            Self::Found(root) => name.strip_prefix(root.as_str())?,
            _ => PREFIXES.iter().fold(name, |name, prefix| name.strip_prefix(prefix).unwrap_or(name)),
        };
        Some(renamed(bare))
    }
}

/// `name` with `weight` and `bias` for gamma and beta.
fn renamed(name: &str) -> String {
    match name.rsplit_once('.') {
        Some((stem, "gamma")) => format!("{stem}.weight"),
        Some((stem, "beta")) => format!("{stem}.bias"),
        _ => name.to_string(),
    }
}

/// The one of `names` that is `wanted` with something else in front.
pub(crate) fn elsewhere<'a>(names: &'a [String], wanted: &str) -> Option<&'a str> {
    let ends = |name: &&String| renamed(name).strip_suffix(wanted).is_some_and(|front| front.ends_with('.'));
    names.iter().find(ends).map(String::as_str)
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
        let prefixes = [
            "",
            "bert.",
            "module.roberta.",
            "0.auto_model.",
            "auto_model.",
            "model.electra.",
            "_orig_mod.",
            "_orig_mod.module.bert.",
            "question_encoder.bert_model.",
            "ctx_encoder.bert_model.",
            "some.body.else.",
        ];
        for prefix in prefixes {
            let root = Root::of([format!("{prefix}{WORDS}").as_str(), "cls.predictions.decoder.weight"]);
            for last in ["weight", "gamma"] {
                let name = root.current(&format!("{prefix}encoder.layer.0.output.LayerNorm.{last}"));
                assert_eq!(name.as_deref(), Some(wanted), "{prefix}");
            }
        }
        for prefix in ["", "bert.", "module.roberta.", "0.auto_model.", "model.electra."] {
            let name = Root::Unknown.current(&format!("{prefix}encoder.layer.0.output.LayerNorm.gamma"));
            assert_eq!(name.as_deref(), Some(wanted));
        }
        assert!(is_encoders("embeddings_project.weight") && !is_encoders("embeddings.position_ids"));
        assert!(!is_encoders("pooler.dense.weight") && !is_encoders("cls.predictions.bias"));
    }

    #[test]
    fn two_encoders_are_not_one_and_neither_is_a_word_that_ends_alike() {
        let [one, other] = ["ctx.", "question."].map(|root| format!("{root}{WORDS}"));
        assert_eq!(Root::of([other.as_str(), one.as_str(), one.as_str()]), Root::Several([one, other]));
        assert_eq!(Root::of([format!("my_{WORDS}").as_str()]), Root::Unknown);
        assert_eq!(Root::Found("bert.".into()).current("encoder.layer.0.x"), None);
        let names = ["cls.bias".to_string(), "x.bert.a.LayerNorm.beta".to_string()];
        assert_eq!(elsewhere(&names, "a.LayerNorm.bias"), Some("x.bert.a.LayerNorm.beta"));
        assert_eq!(elsewhere(&names, "bias.x"), None);
    }
}
