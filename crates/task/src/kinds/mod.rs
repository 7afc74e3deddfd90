//! The task kinds, a file each. A new kind is one file and one line here.

use crate::{Kind, Member};

/// Declares each kind's module and lists its entry.
macro_rules! kinds {
    ($($module:ident),* $(,)?) => {
        $(pub mod $module;)*

        const BUILT_IN: &[Kind] = &[$($module::KIND),*];
    };
}

kinds! {
    classification,
    mlm,
    multilabel,
    regression,
    tagging,
}

impl Member for Kind {
    const KIND: &'static str = "task kind";

    fn built_in() -> Vec<Self> {
        BUILT_IN.to_vec()
    }

    fn name(&self) -> &str {
        self.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Label, Masking, Registry, TaskSpec, build};

    #[test]
    fn an_unknown_kind_gets_the_nearest() {
        let spec = TaskSpec { kind: "clasification".into(), ..TaskSpec::default() };
        let error = build(&Registry::default(), &spec).err().expect("no such kind").to_string();
        assert!(error.contains("unknown task kind") && error.contains("did you mean `classification`?"), "{error}");
    }

    #[test]
    fn the_truths_of_a_kind_are_of_the_form_that_it_states() {
        let labels = ["O", "B-x"].map(String::from).to_vec();
        for kind in &Registry::<Kind>::default() {
            let spec = TaskSpec { kind: kind.name.into(), labels: labels.clone(), ..TaskSpec::default() };
            let spec =
                if matches!(kind.truth, Label::Value(_)) { TaskSpec { labels: Vec::new(), ..spec } } else { spec };
            let masking = (!kind.labelled).then(|| Masking { mask: 1, ids: vec![5, 6] });
            let spec = TaskSpec { masking, ..spec };
            let task = (kind.build)(&spec).expect("a valid table");
            let truth = task.baseline(&[]);
            assert_eq!(std::mem::discriminant(&truth), std::mem::discriminant(&kind.truth), "{}", kind.name);
            let spec = TaskSpec { metric: Some("mine".into()), ..spec };
            assert_eq!((kind.build)(&spec).expect("a valid table").metrics()[0], "mine", "{}", kind.name);
        }
    }
}
