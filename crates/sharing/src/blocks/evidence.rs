//! What steps of hard sharing say of which tasks belong together.

use std::collections::BTreeMap;

use candle_core::{Device, Result, Tensor};
use mtl_backbone::{Flat, GradientBlock, TaskGradient};
use mtl_nash::Gram;
use mtl_task::TaskId;
use serde_json::{Value, json};

use super::row_pair::{Rows, Verdict, verdict};
use crate::{TaskSet, grouping};

/// Blocks of steps that the standard error is over.
const BLOCKS: usize = 5;

/// What was seen so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Evidence {
    tasks: usize,
    steps: usize,
    /// Sums of the tasks' gradients of the table over blocks of steps, by block and task; none after they were judged.
    sums: BTreeMap<(usize, usize), Rows>,
    /// Sums of the inner products of the tasks' gradients by parameter, `[tasks²]`; likewise.
    grams: BTreeMap<String, Vec<f64>>,
    /// What was found of pairs that are told from noise, once the steps are over.
    verdicts: BTreeMap<(usize, usize), Verdict>,
}

impl Evidence {
    pub(crate) fn new(tasks: usize) -> Self {
        Self { tasks, ..Self::default() }
    }

    /// Steps so far.
    pub(crate) fn steps(&self) -> usize {
        self.steps
    }

    /// Takes in a step of `of`: the gradients of the tasks that took part over the tables called `tables`, each task's
    /// in their order, and the inner products of their gradients.
    pub(crate) fn add(
        &mut self,
        gradients: &[TaskGradient],
        tables: &[&str],
        (present, grams): (&[TaskId], &BTreeMap<String, Gram>),
        of: usize,
    ) -> Result<()> {
        let block = (self.steps * BLOCKS / of.max(1)).min(BLOCKS - 1);
        self.steps += 1;
        for ((task, gradient), table) in present.iter().zip(gradients).zip(tables) {
            let Some(GradientBlock::Rows(rows)) = gradient.0.get(*table) else { continue };
            let sum = self.sums.entry((block, task.0)).or_default();
            for (at, &id) in rows.ids.iter().enumerate() {
                let into = sum.entry(id).or_insert_with(|| vec![0.; rows.width]);
                let values = at * rows.width..(at + 1) * rows.width;
                into.iter_mut().zip(values).for_each(|(into, at)| *into += Flat::at(&rows.rows, at) as f32);
            }
        }
        for (name, gram) in grams {
            let sum = self.grams.entry(name.clone()).or_insert_with(|| vec![0.; self.tasks * self.tasks]);
            for (i, a) in present.iter().enumerate() {
                present.iter().enumerate().for_each(|(j, b)| sum[a.0 * self.tasks + b.0] += gram.at(i, j));
            }
        }
        if self.steps >= of {
            self.judge();
        }
        Ok(())
    }

    /// Compares every pair.
    fn judge(&mut self) {
        for first in 0..self.tasks {
            for second in first + 1..self.tasks {
                let of = |task: usize| -> Vec<Option<&Rows>> {
                    (0..BLOCKS).map(|block| self.sums.get(&(block, task))).collect()
                };
                if let Some(found) = verdict(&of(first), &of(second)) {
                    self.verdicts.insert((first, second), found);
                }
            }
        }
    }

    /// The share that the gradient of `tasks` has in the squared norm of that of all tasks over the parameter `name`;
    /// it may be above 1 where tasks pull against each other. 1 where nothing is known.
    pub(crate) fn share(&self, name: &str, tasks: &TaskSet) -> f64 {
        let Some(gram) = self.grams.get(name) else { return 1. };
        let sum = |rows: &[usize]| -> f64 {
            rows.iter().flat_map(|i| rows.iter().map(move |j| (i, j))).map(|(i, j)| gram[i * self.tasks + j]).sum()
        };
        let (own, all): (Vec<usize>, Vec<usize>) =
            (tasks.iter().map(|task| task.0).collect(), (0..self.tasks).collect());
        let share = sum(&own) / sum(&all);
        if share.is_finite() { share.clamp(1e-3, 1e3) } else { 1. }
    }

    /// Forgets what verdicts and shares were made from.
    pub(crate) fn settle(&mut self) {
        self.sums.clear();
        self.grams.clear();
    }

    /// The score κ − ω/3 of a pair of tasks, see `row_pair.rs`, once the steps are over.
    pub(crate) fn score(&self, first: usize, second: usize) -> Option<f64> {
        self.verdicts.get(&(first.min(second), first.max(second))).map(|verdict| verdict.score)
    }

    /// Whether any pair is told from noise.
    pub(crate) fn tells(&self) -> bool {
        !self.verdicts.is_empty()
    }

    /// The best partition into at most `most` groups (0: any number), the first task's group first.
    pub(crate) fn partition(&self, most: usize) -> Vec<TaskSet> {
        let mut scores = vec![vec![0.; self.tasks]; self.tasks];
        for (&(i, j), verdict) in &self.verdicts {
            (scores[i][j], scores[j][i]) = (verdict.counts(), verdict.counts());
        }
        let most = if most == 0 { self.tasks } else { most };
        let (group_of, _) = grouping(&scores, most);
        let members = |group: u32| (0..self.tasks).filter(|&task| group_of[task] == group).map(TaskId).collect();
        (0..group_of.iter().max().map_or(0, |last| last + 1)).map(members).collect()
    }

    /// Every pair's figures, for the report.
    pub(crate) fn findings(&self, names: &[String]) -> Value {
        let line = |(&(i, j), found): (&(usize, usize), &Verdict)| {
            json!({
                "tasks": [&names[i], &names[j]],
                "overlap": found.overlap,
                "agreement": found.agreement,
                "score": found.score,
                "standard_error": found.error,
                "conflict": found.counts() < 0.,
            })
        };
        self.verdicts.iter().map(line).collect()
    }

    /// Everything as tensors.
    pub(crate) fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        let mut state = BTreeMap::from([("evidence/steps".to_string(), Tensor::new(self.steps as f64, &Device::Cpu)?)]);
        for ((block, task), rows) in self.sums.iter().filter(|(_, rows)| !rows.is_empty()) {
            let ids: Vec<f64> = rows.keys().map(|&id| f64::from(id)).collect();
            let values: Vec<f32> = rows.values().flatten().copied().collect();
            let shape = (ids.len(), values.len() / ids.len());
            state.insert(format!("evidence/ids/{block}/{task}"), Tensor::new(ids, &Device::Cpu)?);
            state.insert(format!("evidence/rows/{block}/{task}"), Tensor::from_vec(values, shape, &Device::Cpu)?);
        }
        for (name, gram) in &self.grams {
            let gram = Tensor::from_vec(gram.clone(), (self.tasks, self.tasks), &Device::Cpu)?;
            state.insert(format!("evidence/gram/{name}"), gram);
        }
        for ((i, j), found) in &self.verdicts {
            let values = [found.overlap, found.agreement, found.score, found.error];
            state.insert(format!("evidence/pair/{i}/{j}"), Tensor::new(&values, &Device::Cpu)?);
        }
        Ok(state)
    }

    /// # Errors
    /// If it is not a state of this strategy for `tasks` tasks.
    pub(crate) fn restored(tasks: usize, state: &BTreeMap<String, Tensor>) -> Result<Self> {
        let mut found = Self::new(tasks);
        if let Some(steps) = state.get("evidence/steps") {
            found.steps = steps.to_scalar::<f64>()? as usize;
        }
        let places = |text: &str, most: (usize, usize)| -> Result<(usize, usize)> {
            let places = text.split_once('/').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
            match places.filter(|places: &(usize, usize)| places.0 < most.0 && places.1 < most.1) {
                Some(places) => Ok(places),
                None => candle_core::bail!("the saved evidence has a part `{text}`, and there are {tasks} tasks"),
            }
        };
        for (name, tensor) in state {
            if let Some(place) = name.strip_prefix("evidence/rows/") {
                let Some(ids) = state.get(&format!("evidence/ids/{place}")) else {
                    candle_core::bail!("the saved evidence lacks the rows' places of `{place}`")
                };
                let ids = ids.to_vec1::<f64>()?.into_iter().map(|id| id as u32);
                let rows = ids.zip(tensor.to_vec2::<f32>()?).collect();
                found.sums.insert(places(place, (BLOCKS, tasks))?, rows);
            } else if let Some(name) = name.strip_prefix("evidence/gram/") {
                let values = tensor.flatten_all()?.to_vec1::<f64>()?;
                if values.len() != tasks * tasks {
                    candle_core::bail!("the saved evidence is not of {tasks} tasks");
                }
                found.grams.insert(name.to_string(), values);
            } else if let Some(place) = name.strip_prefix("evidence/pair/") {
                let &[overlap, agreement, score, error] = tensor.to_vec1::<f64>()?.as_slice() else {
                    candle_core::bail!("the saved evidence of `{place}` is not four numbers")
                };
                found.verdicts.insert(places(place, (tasks, tasks))?, Verdict { overlap, agreement, score, error });
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use mtl_backbone::SparseRows;

    use super::*;

    const TABLE: &str = "shared/words";

    /// A task that tells words 0..8 apart by `sign`, along a direction of its own, a little otherwise in every step.
    fn gradient(sign: impl Fn(usize) -> f64, direction: [f64; 2], step: usize) -> TaskGradient {
        let value = |word: usize| sign(word) * (1. + 0.1 * ((word * 7 + step * 3) % 5) as f64);
        let rows = (0..8).flat_map(|word| direction.map(|along| along * value(word))).collect();
        let block = SparseRows { width: 2, ids: (0..8).collect(), rows: Flat::F64(rows) };
        TaskGradient([(TABLE.to_string(), GradientBlock::Rows(block))].into())
    }

    /// Two tasks that tell the first half from the second, and one that tells even from odd.
    fn seen(steps: usize, of: usize) -> Evidence {
        let mut evidence = Evidence::new(3);
        let (half, parity) = (
            |word: usize| if word < 4 { 1. } else { -1. },
            |word: usize| if word.is_multiple_of(2) { 1. } else { -1. },
        );
        let present = [TaskId(0), TaskId(1), TaskId(2)];
        for step in 0..steps {
            let rows =
                [gradient(half, [1., 0.], step), gradient(half, [0., 3.], step), gradient(parity, [1., 1.], step)];
            let gram = Gram::of_rows(&[[2., 0.], [1., 0.], [0., 4.]]);
            let grams = BTreeMap::from([(TABLE.to_string(), gram)]);
            evidence.add(&rows, &[TABLE; 3], (&present, &grams), of).expect("sums");
        }
        evidence
    }

    fn sets(evidence: &Evidence, most: usize) -> Vec<Vec<usize>> {
        evidence.partition(most).into_iter().map(Vec::from).collect()
    }

    #[test]
    fn who_agrees_stays_together_and_who_conflicts_parts() {
        let found = seen(10, 10);
        assert_eq!(sets(&found, 0), [vec![0, 1], vec![2]]);
        assert_eq!(sets(&found, 1), [vec![0, 1, 2]]);
        let related = found.verdicts[&(0, 1)];
        assert!((related.agreement - 1.).abs() < 1e-6 && (related.score - 2. / 3.).abs() < 1e-6, "{related:?}");
        let opposed = found.verdicts[&(1, 2)];
        assert!(opposed.overlap > 0.9 && opposed.agreement < 0.1 && opposed.counts() < -0.2, "{opposed:?}");
    }

    #[test]
    fn without_evidence_tasks_stay_together() {
        for found in [Evidence::new(3), seen(9, 10), seen(1, 1)] {
            assert!(!found.tells() && sets(&found, 0) == [vec![0, 1, 2]], "{} steps", found.steps());
        }
    }

    #[test]
    fn a_group_has_its_share_of_the_squared_gradient() {
        let mut evidence = seen(2, 10);
        // The sum is (3, 4) in each step.
        assert!((evidence.share(TABLE, &vec![0, 1].into()) - 9. / 25.).abs() < 1e-12);
        assert!((evidence.share(TABLE, &vec![2].into()) - 16. / 25.).abs() < 1e-12);
        assert_eq!(evidence.share("shared/layer.0", &vec![2].into()), 1.);
        evidence.settle();
        assert_eq!(evidence.share(TABLE, &vec![2].into()), 1.);
    }

    #[test]
    fn a_state_comes_back_and_one_of_other_tasks_is_refused() {
        for steps in [0, 3, 10] {
            let evidence = seen(steps, 10);
            let state = evidence.state().expect("tensors");
            assert_eq!(Evidence::restored(3, &state).expect("its own state"), evidence);
            let refused = Evidence::restored(2, &state);
            assert_eq!(refused.is_err(), steps > 0, "{steps} steps");
        }
    }
}
