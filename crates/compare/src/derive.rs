//! Records that no run leaves: of restarts, and of portfolios. Each task takes the run that is best on dev; test has no say.

use std::collections::BTreeMap;

use anyhow::Result;
use mtl_eval::comparison::{RunRecord, TaskRecord};

use super::{Arm, Plan, Purpose};

/// The records of the final runs, one an arm and seed. An arm lacks a seed of which some run did not finish: what chooses
/// among fewer would not be what was asked for.
///
/// # Errors
/// If a record cannot be read.
pub(super) fn finals(arms: &[Arm], plan: &Plan) -> Result<Vec<RunRecord>> {
    let mut runs: BTreeMap<(&str, u64), Vec<Option<RunRecord>>> = BTreeMap::new();
    for line in plan.lines().iter().filter(|line| line.purpose == Purpose::Final) {
        runs.entry((&line.arm, line.seed)).or_default().push(plan.record(line)?);
    }
    let mut found: Vec<RunRecord> = Vec::new();
    for ((arm, _), runs) in runs {
        let Some(runs) = runs.into_iter().collect::<Option<Vec<RunRecord>>>() else { continue };
        found.extend(best_by_task(arm, &runs));
    }
    charge(arms, &mut found);
    for arm in arms.iter().filter(|arm| !arm.of.is_empty()) {
        let mut seeds: Vec<u64> = found.iter().map(|record| record.seed).collect();
        seeds.sort_unstable();
        seeds.dedup();
        let of_seed = |seed: u64| -> Option<RunRecord> {
            let member =
                |name: &String| found.iter().find(|record| record.arm == *name && record.seed == seed).cloned();
            best_by_task(&arm.spec.name, &arm.of.iter().map(member).collect::<Option<Vec<_>>>()?)
        };
        let derived: Vec<RunRecord> = seeds.into_iter().filter_map(of_seed).collect();
        found.extend(derived);
    }
    Ok(found)
}

/// Charges arms that learn from others' runs with what these cost.
fn charge(arms: &[Arm], records: &mut [RunRecord]) {
    let before = records.to_vec();
    for record in records {
        let teachers = arms.iter().find(|arm| arm.spec.name == record.arm).map_or(&[][..], |arm| &arm.teachers);
        for teacher in before.iter().filter(|other| other.seed == record.seed && teachers.contains(&other.arm)) {
            record.steps += teacher.steps;
            record.seconds += teacher.seconds;
            record.cpu_seconds += teacher.cpu_seconds;
        }
    }
}

/// The record of `arm` out of `runs` of one seed: of each task that of the run whose headline score on dev is highest, the
/// first one of equals. It cost what all of them cost, and is as large as those together that some task takes. None of no
/// runs.
fn best_by_task(arm: &str, runs: &[RunRecord]) -> Option<RunRecord> {
    let (first, others) = runs.split_first()?;
    if others.is_empty() {
        return Some(RunRecord { arm: arm.to_string(), ..first.clone() });
    }
    let dev = |task: &TaskRecord| task.dev.get(&task.headline).copied().unwrap_or(f64::NEG_INFINITY);
    let mut tasks: BTreeMap<String, TaskRecord> = BTreeMap::new();
    let mut taken: Vec<usize> = Vec::new();
    for name in first.tasks.keys() {
        let mut best: Option<(usize, &TaskRecord)> = None;
        for (at, run) in runs.iter().enumerate() {
            let Some(task) = run.tasks.get(name) else { continue };
            if best.is_none_or(|(_, best)| dev(task) > dev(best)) {
                best = Some((at, task));
            }
        }
        let (at, task) = best?;
        taken.push(at);
        tasks.insert(name.clone(), task.clone());
    }
    let served = |at: &usize| taken.iter().filter(|place| *place == at).count() as f64;
    let mut distinct = taken.clone();
    distinct.sort_unstable();
    distinct.dedup();
    let parts: Vec<(&RunRecord, f64)> = distinct.iter().filter_map(|at| Some((runs.get(*at)?, served(at)))).collect();
    let sum = |of: fn(&RunRecord) -> f64| runs.iter().map(of).sum::<f64>();
    let tokens = sum(|run| run.tokens_per_second * run.seconds);
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    for (name, count) in runs.iter().flat_map(|run| &run.outcomes) {
        *outcomes.entry(name.clone()).or_default() += count;
    }
    let latency = parts.iter().map(|(run, share)| Some(run.latency_ms? * share / taken.len() as f64));
    let ids: Vec<&str> = runs.iter().map(|run| run.id.as_str()).collect();
    let diverged = runs.iter().map(|run| run.diverged.clone()).collect::<Option<Vec<String>>>();
    Some(RunRecord {
        id: ids.join("+"),
        arm: arm.to_string(),
        seed: first.seed,
        steps: runs.iter().map(|run| run.steps).sum(),
        seconds: sum(|run| run.seconds),
        cpu_seconds: sum(|run| run.cpu_seconds),
        tokens_per_second: tokens / sum(|run| run.seconds).max(1e-9),
        parameters: parts.iter().map(|(run, _)| run.parameters).sum(),
        trainable: parts.iter().map(|(run, _)| run.trainable).sum(),
        single_task_parameters: first.single_task_parameters,
        stored_bytes: parts.iter().map(|(run, _)| run.stored_bytes).sum(),
        latency_ms: latency.sum::<Option<f64>>(),
        outcomes,
        // Cosines are of one model.
        cosines: match parts.as_slice() {
            [(run, _)] => run.cosines.clone(),
            _ => Vec::new(),
        },
        test_opened_at: runs.iter().filter_map(|run| run.test_opened_at.clone()).min(),
        // A result as long as one of them is.
        diverged: diverged.and_then(|reasons| reasons.into_iter().next()),
        commit: first.commit.clone(),
        data: first.data.clone(),
        tasks,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(dev: f64, test: f64) -> TaskRecord {
        let scores = |score| BTreeMap::from([("accuracy".to_string(), score)]);
        TaskRecord {
            kind: "classification".into(),
            names: Vec::new(),
            headline: "accuracy".into(),
            sizes: [1, 1, 1],
            train: scores(1.),
            dev: scores(dev),
            test: Some(scores(test)),
            trivial: 0.5,
            ceiling: None,
            passes: None,
            texts: Vec::new(),
            truths: Vec::new(),
            answers: Vec::new(),
            dev_curve: Default::default(),
            train_curve: Default::default(),
            loss_curve: Default::default(),
            weight_curve: Default::default(),
        }
    }

    fn run(arm: &str, seconds: f64, scores: [[f64; 2]; 2]) -> RunRecord {
        RunRecord {
            id: format!("id of {arm}"),
            arm: arm.into(),
            seed: 3,
            steps: 10,
            seconds,
            cpu_seconds: 2. * seconds,
            tokens_per_second: 100.,
            parameters: 1000,
            trainable: 900,
            single_task_parameters: 2000,
            stored_bytes: 4000,
            latency_ms: Some(seconds),
            outcomes: BTreeMap::from([("agreed".to_string(), 10)]),
            cosines: vec![vec![1.]],
            test_opened_at: Some("then".into()),
            diverged: None,
            commit: Some("commit".into()),
            data: BTreeMap::new(),
            tasks: ["a", "b"].map(String::from).into_iter().zip(scores.map(|[dev, test]| task(dev, test))).collect(),
        }
    }

    #[test]
    fn each_task_takes_what_dev_says_and_all_is_paid_for() {
        // Test says the opposite of dev on `a`; on `b` dev has equals.
        let runs = [
            run("single", 1., [[0.8, 0.9], [0.6, 0.1]]),
            run("hard", 2., [[0.9, 0.2], [0.6, 0.9]]),
            run("soft", 3., [[0.7, 1.0], [0.5, 1.0]]),
        ];
        let found = best_by_task("portfolio", &runs).expect("a record");
        let test = |task: &str| found.tasks[task].test.as_ref().expect("scored")["accuracy"];
        assert_eq!((test("a"), test("b")), (0.2, 0.1));
        assert_eq!((found.seconds, found.cpu_seconds, found.steps, found.tokens_per_second), (6., 12., 30, 100.));
        assert_eq!((found.parameters, found.stored_bytes, found.latency_ms), (2000, 8000, Some(1.5)));
        assert_eq!((found.arm.as_str(), found.seed, found.outcomes["agreed"]), ("portfolio", 3, 30));
        assert!(found.cosines.is_empty() && found.diverged.is_none());
        // Whatever test says, nothing but dev decides.
        let mut other = runs.clone();
        other[0].tasks.insert("a".into(), task(0.8, 0.));
        assert_eq!(best_by_task("portfolio", &other).expect("a record").tasks, found.tasks);
        assert_eq!(best_by_task("one", &runs[..1]).expect("a record").tasks, runs[0].tasks);
        assert_eq!(best_by_task("none", &[]), None);
    }
}
