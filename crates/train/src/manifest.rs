//! What a dataset's manifest names, looked up before any of its files is touched.

use anyhow::{Context, Result, bail};
use mtl_data::manifest::DatasetManifest;
use mtl_eval::{Metric, Metrics};
use mtl_task::{Kind, Task, TaskSpec};

use crate::Registries;

/// Refuses a manifest whose task kinds, headline metrics, reader or generator are none of `registries`, or a headline
/// that does not judge its task.
///
/// # Errors
/// With the field, what was found, and what would be right.
pub fn check_manifest(registries: &Registries, manifest: &DatasetManifest) -> Result<()> {
    let kinds = &registries.data.kinds;
    if let Some(name) = &manifest.reader.name {
        registries.data.readers.find(name).context("[reader] name")?;
    }
    if let Some(generator) = &manifest.generator {
        registries.data.generators.find(&generator.name).context("[generator] name")?;
    }
    let headline = |task: &TaskSpec, kind: &Kind| match &task.metric {
        Some(name) => headline_of(&registries.metrics, kind, name),
        None => Ok(()),
    };
    for label in &manifest.columns.labels {
        let context = || format!("[[columns.labels]] `{}`, metric", label.name);
        headline(&label.task, label.kind(kinds)?).with_context(context)?;
    }
    if manifest.is_of_several() {
        return Ok(());
    }
    headline(&manifest.task, manifest.kind(kinds)?).context("[task] metric")
}

/// Refuses a task of `kind` whose metrics are none of `metrics`, or do not judge its truths: the first one is the
/// headline.
pub(crate) fn check_metrics(metrics: &Metrics, kind: &Kind, task: &dyn Task) -> Result<()> {
    let named = task.metrics();
    let Some(headline) = named.first() else { bail!("task kind `{}` has no metric; it needs at least one", kind.name) };
    headline_of(metrics, kind, headline)?;
    for name in named {
        let metric = metrics.find(name)?;
        if !metric.judges(&kind.truth) {
            bail!("task kind `{}` names the metric `{name}` ({}), which does not judge it", kind.name, metric.about());
        }
    }
    Ok(())
}

fn headline_of(metrics: &Metrics, kind: &Kind, name: &str) -> Result<()> {
    let judges = |metric: &&&'static dyn Metric| metric.judges(&kind.truth) && metric.higher_is_better();
    let suitable = || metrics.iter().filter(judges).map(|metric| metric.name()).collect::<Vec<_>>().join(", ");
    let Ok(metric) = metrics.find(name) else {
        let nearest = mtl_task::nearest(name, metrics.names());
        bail!("unknown metric `{name}`{nearest}; the headline of a task of kind `{}` can be {}", kind.name, suitable())
    };
    if !metric.judges(&kind.truth) {
        bail!(
            "`{name}` ({}) does not judge tasks of kind `{}`, whose headline can be {}",
            metric.about(),
            kind.name,
            suitable()
        );
    }
    if !metric.higher_is_better() {
        bail!(
            "less is better of `{name}` ({}), and a headline is better the higher it is; that of a task of kind `{}` can be \
             {}",
            metric.about(),
            kind.name,
            suitable()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use mtl_eval::Metrics;
    use mtl_task::{Answer, Label};

    use super::*;

    fn manifest(more: &str) -> DatasetManifest {
        toml::from_str(&format!("about = \"\"\nlicence = \"\"\n{more}")).expect("a manifest")
    }

    fn refused(registries: &Registries, more: &str) -> String {
        format!("{:#}", check_manifest(registries, &manifest(more)).expect_err(more))
    }

    /// One answer to every question.
    struct Always;

    impl Metric for Always {
        fn name(&self) -> &'static str {
            "always"
        }

        fn about(&self) -> &'static str {
            "1, whatever is answered"
        }

        fn judges(&self, truth: &Label) -> bool {
            matches!(truth, Label::Value(_))
        }

        fn score(&self, _answers: &[Answer], _truth: &[Label], _names: &[String]) -> f64 {
            1.
        }
    }

    #[test]
    fn every_metric_heads_the_kinds_that_it_judges_and_no_other() {
        let mut registries = Registries::default();
        registries.metrics = registries.metrics.with(&Always).expect("a new name");
        let mut accepted = 0;
        for kind in &registries.data.kinds {
            for metric in &registries.metrics {
                let text = format!("[task]\nkind = \"{}\"\nmetric = \"{}\"\n", kind.name, metric.name());
                if metric.judges(&kind.truth) && metric.higher_is_better() {
                    accepted += 1;
                    check_manifest(&registries, &manifest(&text)).unwrap_or_else(|error| panic!("{text}: {error:#}"));
                    continue;
                }
                let error = refused(&registries, &text);
                assert!(error.contains("[task] metric") && error.contains(metric.name()), "{error}");
                assert!(error.contains("can be"), "{error}");
            }
        }
        assert!(accepted > registries.data.kinds.names().len(), "{accepted}");
        assert!(
            refused(&Registries::default(), "[task]\nkind = \"regression\"\nmetric = \"always\"").contains("unknown")
        );
    }

    #[test]
    fn what_a_manifest_names_is_looked_up_before_any_file() {
        let registries = Registries::default();
        let task = "[task]\nkind = \"regression\"\n";
        for (more, field, nearest) in [
            ("[task]\nkind = \"regresion\"\n".to_string(), "[task] kind", "`regression`"),
            (format!("{task}metric = \"pearsn\"\n"), "[task] metric", "`pearson`"),
            (format!("{task}[reader]\nname = \"jsnl\"\n"), "[reader] name", "`jsonl`"),
            (format!("{task}[generator]\nname = \"plantd\"\n"), "[generator] name", "`planted`"),
        ] {
            let error = refused(&registries, &more);
            assert!(error.contains(field) && error.contains(nearest), "{error}");
        }
        for (more, named) in [
            ("kind = \"multilable\"", "did you mean `multilabel`?"),
            ("kind = \"regression\"\nmetric = \"pearsn\"", "did you mean `pearson`?"),
            ("kind = \"regression\"\nmetric = \"accuracy\"", "does not judge"),
        ] {
            let labels = "[[columns.labels]]\nname = \"team\"\nkind = \"classification\"\n[[columns.labels]]\n\
                          name = \"age\"\n";
            let error = refused(&registries, &format!("{labels}{more}\n"));
            assert!(error.contains("[[columns.labels]] `age`") && error.contains(named), "{error}");
        }
    }

    #[test]
    fn the_metrics_of_every_kind_judge_it() {
        let (metrics, registries) = (Metrics::default(), Registries::default());
        for kind in &registries.data.kinds {
            let labels = if matches!(kind.truth, Label::Value(_)) { vec![] } else { vec!["O".into(), "B-x".into()] };
            let masking = (!kind.labelled).then(|| mtl_task::Masking { mask: 1, ids: vec![5, 6] });
            let spec = mtl_task::TaskSpec { kind: kind.name.into(), labels, masking, ..Default::default() };
            check_metrics(&metrics, kind, (kind.build)(&spec).expect("a task").as_ref()).expect(kind.name);
        }
    }
}
