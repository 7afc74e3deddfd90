//! The report at the end: the one place where the test split is opened.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use mtl_data::{Dataset, TestKey};
use mtl_eval::{Judged, Kept, Parameters, Report, Splits, TaskReport, baseline_predictions};
use mtl_sharing::Role;
use mtl_task::{Answer, Label, TaskId};

use super::Run;
use crate::evaluate::{judged_truths, train_sample};
use crate::recipe::Test;

/// What was found in a task's data, under its name.
fn notes(dataset: &Dataset) -> impl Iterator<Item = String> {
    dataset.notes.iter().map(|note| format!("{}: {note}", dataset.name))
}

/// Who answers what a report scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answering {
    /// The model as it is.
    Model,
    /// Each task's baseline, see [`mtl_task::Task::baseline`].
    Baselines,
}

impl Run {
    /// Scores who is `answering`. Answers also what was answered, task by task: to test where that is opened, else to
    /// dev.
    pub(super) fn report(
        &mut self,
        best_step: Option<usize>,
        answering: Answering,
    ) -> Result<(Report, Vec<Vec<Answer>>)> {
        // Of the model as it is; the tasks may answer by weights of their own.
        let model = &self.assembled.trainer.model;
        let accounting = model.accounting(self.assembled.pretrained.count());
        let (findings, warnings) = match answering {
            Answering::Model => (self.findings(&self.chronicle)?, model.sharing.warnings()?),
            // What diverged has nothing to say.
            Answering::Baselines => (serde_json::Value::Null, Vec::new()),
        };
        let learning_rates = self.learning_rates()?;
        let batch = self.recipe.evaluation.batch;
        let key = self.key();
        let (mut tasks, mut judged) = (BTreeMap::new(), Vec::new());
        for index in 0..self.assembled.datasets.len() {
            if answering == Answering::Model {
                self.put_on(TaskId(index))?;
            }
            let (dataset, trainer) = (&self.assembled.datasets[index], &self.assembled.trainer);
            let (id, kind) = (TaskId(index), trainer.tasks[index].as_ref());
            let sample = train_sample(dataset);
            let sample = sample.as_slice();
            let test = key.as_ref().map(|key| dataset.test.open(key).examples.as_slice());
            let truths: Vec<Label> = judged_truths(&dataset.train.examples);
            let baseline = kind.baseline(&truths);
            let answer = |examples: &[mtl_data::Example]| match answering {
                Answering::Model => trainer.answers(id, examples, batch),
                Answering::Baselines => Ok(baseline_predictions(&baseline, &judged_truths(examples))),
            };
            let (train_truth, dev_truth) = (judged_truths(sample), judged_truths(&dataset.dev.examples));
            let test_truth = test.map(judged_truths);
            let (train_answers, dev_answers) = (answer(sample)?, answer(&dataset.dev.examples)?);
            let test_answers = test.map(answer).transpose()?;
            let names = kind.names();
            let splits = Splits {
                train: Some(Judged { answers: &train_answers, truth: &train_truth, names }),
                dev: Judged { answers: &dev_answers, truth: &dev_truth, names },
                test: test_answers.as_deref().zip(test_truth.as_deref()).map(|(answers, truth)| Judged {
                    answers,
                    truth,
                    names,
                }),
                trained_on: dataset.train.examples.len(),
            };
            let known = &self.recipe.registries.metrics;
            let report = TaskReport::judge(known, &dataset.spec.kind, &kind.metrics(), &baseline, splits)?;
            tasks.insert(dataset.name.clone(), report);
            judged.push(test_answers.unwrap_or(dev_answers));
        }
        let names = self.assembled.datasets.iter().map(|dataset| dataset.name.clone());
        let report = Report {
            recipe: self.options.recipe_name.clone(),
            fallback: self.options.fallback,
            checkpoint: self.checkpoint_name.clone(),
            strategy: self.recipe.sharing.name.clone(),
            rule: self.recipe.weighting.name.clone(),
            seed: self.recipe.train.seed,
            device: self.options.device_name.clone(),
            commit: self.options.commit.clone(),
            steps: self.state.step,
            best_step,
            seconds: self.state.seconds,
            tokens_per_second: self.state.tokens as f64 / self.state.seconds.max(1e-9),
            test_opened_at: self.test_opened_at(),
            learning_rates,
            parameters: Parameters {
                total: accounting.total,
                trainable: accounting.trainable,
                per_task: names.zip(accounting.per_task).collect(),
                shared_fraction: accounting.shared_fraction,
                single_task_total: accounting.single_task_total,
                stored_bytes: accounting.stored_bytes,
            },
            outcomes: self.state.outcomes.clone(),
            notes: self.assembled.datasets.iter().flat_map(notes).collect(),
            kept: self.kept(),
            findings,
            warnings,
            tasks,
        };
        Ok((report, judged))
    }

    /// Which weights each task keeps, where these are its own.
    fn kept(&self) -> BTreeMap<String, Kept> {
        let of = |(task, dataset): (usize, &Dataset)| {
            let step = *self.state.each_step.get(task)?;
            Some((dataset.name.clone(), Kept { step, left: self.state.left.get(&task).copied() }))
        };
        self.assembled.datasets.iter().enumerate().filter_map(of).collect()
    }

    /// The learning rates of the kinds of parameter that are trained.
    fn learning_rates(&self) -> Result<BTreeMap<String, f64>> {
        let topology = &self.assembled.trainer.model.topology;
        let trained = topology.iter().filter(|(name, _)| topology.trained_by(name).is_some());
        let roles: BTreeSet<Role> = trained.map(|(name, _)| topology.role_of(name)).collect();
        let rates = self.recipe.learning_rates()?.into_iter();
        Ok(rates.filter(|(role, _)| roles.contains(role)).map(|(role, rate)| (role.to_string(), rate)).collect())
    }

    /// The key of the test splits, where the recipe opens them.
    pub(super) fn key(&self) -> Option<TestKey> {
        match self.recipe.evaluation.test {
            Test::Open => Some(TestKey::final_evaluation()),
            Test::Sealed => None,
        }
    }

    /// When the first test split was opened, if one was.
    fn test_opened_at(&self) -> Option<String> {
        let opened = self.assembled.datasets.iter().filter_map(|dataset| dataset.test.opened_at()).min()?;
        Some(chrono::DateTime::<chrono::Utc>::from(opened).to_rfc3339_opts(chrono::SecondsFormat::Secs, true))
    }
}
