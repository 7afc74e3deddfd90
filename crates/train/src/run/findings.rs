//! What a strategy found, for the report: of the weights that are kept, of the training, and against the truth where that
//! is known.

use anyhow::Result;
use mtl_data::generator::{Relation, Truth};
use mtl_eval::recovery::adjusted_rand;
use mtl_sharing::TaskSet;
use mtl_task::TaskId;
use serde_json::{Map, Value, json};

use super::Run;

impl Run {
    /// The strategy's findings, its `chronicle`, and how its partitions meet the planted truth.
    pub(super) fn findings(&self, chronicle: &Value) -> Result<Value> {
        let sharing = &self.assembled.trainer.model.sharing;
        let mut found = sharing.findings()?;
        let (partitions, tasks) = (sharing.partitions(), self.assembled.datasets.len());
        if let Some(truth) = self.truth.as_ref().filter(|_| !partitions.is_empty()) {
            let scores: Map<String, Value> =
                partitions.iter().map(|(name, groups)| (name.clone(), json!(score(groups, truth, tasks)))).collect();
            insert(&mut found, "adjusted Rand index against the planted relations", Value::Object(scores));
        }
        for (key, value) in chronicle.as_object().into_iter().flatten() {
            insert(&mut found, key, value.clone());
        }
        Ok(found)
    }
}

fn insert(into: &mut Value, key: &str, value: Value) {
    if into.is_null() {
        *into = Value::Object(Map::new());
    }
    if let Some(entries) = into.as_object_mut() {
        entries.insert(key.to_string(), value);
    }
}

/// The adjusted Rand index of `groups` against the tasks that are related, directly or through others.
fn score(groups: &[TaskSet], truth: &Truth, tasks: usize) -> f64 {
    let place =
        |task: usize| groups.iter().position(|group| group.contains(TaskId(task))).unwrap_or(groups.len() + task);
    let found: Vec<u32> = (0..tasks).map(|task| place(task) as u32).collect();
    adjusted_rand(&found, &families(truth, tasks))
}

/// The number of each task's family: the least of the tasks that it is related to, directly or through others.
fn families(truth: &Truth, tasks: usize) -> Vec<u32> {
    let mut of: Vec<u32> = (0..tasks as u32).collect();
    // A number travels one step in each round, and there are fewer steps than tasks.
    for _ in 0..tasks {
        for (i, relations) in truth.relations.iter().enumerate().take(tasks) {
            for (j, _) in relations.iter().enumerate().take(tasks).filter(|(_, known)| **known == Relation::Related) {
                let least = of[i].min(of[j]);
                (of[i], of[j]) = (least, least);
            }
        }
    }
    of
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_that_are_related_through_others_are_one_family() {
        use Relation::{Conflicting, Related, Unrelated};
        let truth = Truth {
            relations: vec![
                vec![Unrelated, Related, Unrelated, Conflicting],
                vec![Related, Unrelated, Related, Unrelated],
                vec![Unrelated, Related, Unrelated, Unrelated],
                vec![Conflicting, Unrelated, Unrelated, Unrelated],
            ],
            factors: vec![0, 0, 0, 1],
        };
        assert_eq!(families(&truth, 4), [0, 0, 0, 3]);
        let set = |tasks: &[usize]| TaskSet::from(tasks.to_vec());
        assert_eq!(score(&[set(&[0, 1, 2]), set(&[3])], &truth, 4), 1.);
        assert!(score(&[set(&[0, 3]), set(&[1, 2])], &truth, 4) < 0.5);
    }
}
