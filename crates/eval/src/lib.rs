//! Answers and truth to scores, statistics and reports.
//!
//! A [`Metric`] judges answers against truths and gives one number; [`Metrics`] is a registry
//! of them. Nothing here sees a
//! tensor, opens a file or prints.
//!
//! ```
//! use mtl_eval::{Judged, Metrics, scores, stats};
//! use mtl_task::{Answer, Label};
//!
//! let names = ["ham", "spam"].map(String::from);
//! let truth = [0, 1, 1, 0].map(Label::Class);
//! let answers = [0, 1, 0, 0].map(|class| Answer { label: Label::Class(class), scores: vec![] });
//! let judged = Judged { answers: &answers, truth: &truth, names: &names };
//! let found = scores(&Metrics::default(), &["accuracy", "macro-f1"], judged)?;
//! assert_eq!(found["accuracy"], 0.75);
//!
//! // Five seeds, multi-task minus single-task: no rank test of five pairs can be significant at 0.05.
//! let test = stats::wilcoxon(&[0.012, 0.020, 0.008, 0.015, 0.031])?;
//! assert_eq!((test.p, test.smallest_p), (0.0625, 0.0625));
//! # Ok::<(), anyhow::Error>(())
//! ```

mod accuracy;
mod calibration;
pub mod comparison;
mod correlation;
mod error;
mod f1;
mod judged;
mod matthews;
pub mod recovery;
mod registry;
pub mod report;
mod sets;
mod spans;
pub mod stats;
pub mod transfer;

pub use correlation::{pearson, ranks, spearman};
pub use judged::{Judged, baseline_predictions, scores};
pub use registry::Metrics;
pub use report::{Kept, Parameters, Report, Scores, Splits, TaskReport};
pub use spans::{Span, spans, spans_strict};

use mtl_task::{Answer, Label};

/// A score of a task's answers: one number, never NaN.
///
/// Answers and truths are aligned by index. No examples, or examples that the metric does not judge, score 0;
/// [`scores`] refuses both with a reason, so prefer it at a border.
pub trait Metric: Sync {
    /// The name that manifests, recipes and reports use.
    fn name(&self) -> &'static str;

    /// One line for `list`.
    fn about(&self) -> &'static str;

    /// Whether more is better; a headline metric must say yes.
    fn higher_is_better(&self) -> bool {
        true
    }

    /// The lowest and the highest score there is; one of another range says so.
    fn range(&self) -> [f64; 2] {
        if self.higher_is_better() { [0., 1.] } else { [0., f64::INFINITY] }
    }

    /// Whether the metric reads an answer's scores besides its label.
    fn reads_scores(&self) -> bool {
        false
    }

    /// Whether truths of this form are what the metric judges.
    fn judges(&self, truth: &Label) -> bool;

    /// Whether the metric can read what is called `names`, such as tags of a scheme.
    ///
    /// # Errors
    /// Why not.
    fn fits(&self, _names: &[String]) -> Result<(), String> {
        Ok(())
    }

    /// The score of a single answer, where the score of many is the mean of these: what resamples examples then looks at
    /// each answer once. `None` if it is no such mean, or the answer is not of the truth's form.
    fn of_example(&self, _answer: &Answer, _truth: &Label) -> Option<f64> {
        None
    }

    /// The score of `answers` against `truth`. `names` are the task's class, label or tag names in index order.
    ///
    /// # Panics
    /// If there are not as many answers as truths.
    fn score(&self, answers: &[Answer], truth: &[Label], names: &[String]) -> f64;
}
