//! How often a verdict finds a difference where there is none.
//!
//! Every example has an effect of its own under each method, drawn anew for each, whose mean over all examples there
//! could be is 0: two methods are right on different examples, and neither on more. A verdict that ranges over seeds
//! alone takes the difference on these examples for one on all.

use super::*;

/// A simulated null.
struct Null {
    seeds: u64,
    tasks: usize,
    examples: usize,
    /// Spread of the examples' difficulty, which both methods share.
    difficulty: f64,
    /// Spread of each method's own effects on examples.
    method: f64,
    /// Spread of a seed's effect on all its examples, as another sample of training examples makes it.
    seed: f64,
    /// Spread of what no more than one answer has.
    answer: f64,
}

impl Null {
    /// The records of `arms` arms, the first of them the baseline; `at` counts the simulations.
    fn records(&self, arms: &[&str], at: u64) -> Vec<RunRecord> {
        let key = Key::new(77).named("nulls").with(at);
        let mut records = Vec::new();
        let difficulties: Vec<Vec<f64>> = (0..self.tasks as u64)
            .map(|task| {
                let mut stream = key.named("difficulty").with(task).stream();
                (0..self.examples).map(|_| 1.2 + self.difficulty * stream.normal()).collect()
            })
            .collect();
        for (arm, name) in arms.iter().enumerate() {
            let own = key.named("arm").with(arm as u64);
            for seed in 0..self.seeds {
                let mut tasks = BTreeMap::new();
                for (task, difficulty) in difficulties.iter().enumerate() {
                    let mut effects = own.named("effects").with(task as u64).stream();
                    let mut run = own.named("run").with(task as u64).with(seed).stream();
                    let shift = self.seed * run.normal();
                    let right = difficulty.iter().map(|difficulty| {
                        let margin = difficulty + self.method * effects.normal() + shift + self.answer * run.normal();
                        margin > 0.
                    });
                    tasks.insert(format!("task {task}"), answered(task, right.collect()));
                }
                records.push(RunRecord { tasks, ..super::run(name, seed, &[]) });
            }
        }
        records
    }

    /// The share of `simulations` in which some verdict calls an arm better or worse.
    fn errors(&self, arms: &[&str], simulations: u64, resamples: usize) -> f64 {
        let mut question = question(arms, self.seeds);
        question.tasks = (0..self.tasks).map(|task| format!("task {task}")).collect();
        question.resamples = resamples;
        let wrong = |at: &u64| {
            question.key = Key::new(3).with(*at);
            let found = Comparison::of(&Metrics::default(), &question, &self.records(arms, *at)).expect("compared");
            found.arms[1..].iter().any(|arm| matches!(found.verdict(arm).tone, Tone::Better | Tone::Worse))
        };
        (0..simulations).filter(wrong).count() as f64 / simulations as f64
    }
}

/// A task on texts of its own whose answers are right or wrong as said.
fn answered(task: usize, right: Vec<bool>) -> TaskRecord {
    let share = right.iter().filter(|right| **right).count() as f64 / right.len() as f64;
    let answer = |right: &bool| Answer { label: Label::Class(u32::from(*right)), scores: Vec::new() };
    TaskRecord {
        test: Some(BTreeMap::from([("accuracy".to_string(), share)])),
        texts: vec![format!("of task {task}"); right.len()],
        truths: vec![Label::Class(1); right.len()],
        answers: right.iter().map(answer).collect(),
        loss_curve: Curve::default(),
        dev_curve: Curve::default(),
        train_curve: Curve::default(),
        weight_curve: Curve::default(),
        passes: Some(10.),
        ..super::task(0)
    }
}

/// Initialisation alone, and samples too; the bounds are those of so few simulations about 3 to 7 %.
#[test]
fn a_verdict_finds_nothing_in_nulls() {
    let of = |seed: f64| Null { seeds: 5, tasks: 2, examples: 60, difficulty: 1.5, method: 1., seed, answer: 0.6 };
    for null in [of(0.1), of(0.6)] {
        let errors = null.errors(&["single", "other"], 300, 100);
        assert!((0.01..=0.09).contains(&errors), "{errors}");
        // The same runs by their seeds alone, as Δm was judged once: four times as many errors and more where seeds agree.
        if null.seed < 0.5 {
            let records: Vec<Vec<RunRecord>> = (0..100).map(|at| null.records(&["single", "other"], at)).collect();
            let by_seeds = records.iter().filter(|records| by_seeds_alone(records, null.seeds) < 0.05).count();
            assert!(by_seeds >= 12, "{by_seeds} of 100");
        }
    }
}

/// p of Student's t over the seeds' mean differences.
fn by_seeds_alone(records: &[RunRecord], seeds: u64) -> f64 {
    let mean = |arm: &str, seed: u64| {
        let run = records.iter().find(|run| run.arm == arm && run.seed == seed).expect("there");
        run.tasks.values().map(|task| task.test.as_ref().expect("scored")["accuracy"]).sum::<f64>()
    };
    let differences: Vec<f64> = (0..seeds).map(|seed| mean("other", seed) - mean("single", seed)).collect();
    crate::stats::paired_t(&differences).expect("finite").p
}

/// Among four candidates, that any is called better or worse.
#[test]
fn many_candidates_do_not_make_more_errors() {
    let null = Null { seeds: 5, tasks: 2, examples: 40, difficulty: 1.5, method: 1., seed: 0.2, answer: 0.6 };
    let errors = null.errors(&["single", "a", "b", "c", "d"], 100, 60);
    assert!(errors <= 0.1, "{errors}");
}

/// The figures of `docs/experiments.md`: minutes, by
/// `cargo test -p mtl-eval --lib nulls -- --ignored --nocapture`.
#[test]
#[ignore = "takes minutes"]
#[allow(clippy::print_stdout)]
fn verdicts_err_in_3_to_7_percent_of_nulls() {
    const SIMULATIONS: u64 = 2000;
    for (what, seed, answer) in [("initialisations", 0.1, 0.6), ("samples", 0.6, 0.6), ("steady", 0., 0.1)] {
        for seeds in [5, 10, 20] {
            let null = Null { seeds, tasks: 3, examples: 150, difficulty: 1.5, method: 1., seed, answer };
            let errors = null.errors(&["single", "other"], SIMULATIONS, 200);
            let by_seeds = |at: &u64| by_seeds_alone(&null.records(&["single", "other"], *at), seeds) < 0.05;
            let alone = (0..SIMULATIONS).filter(by_seeds).count() as f64 / SIMULATIONS as f64;
            println!("{what}, {seeds} seeds: {:.1} %, over seeds alone {:.1} %", 100. * errors, 100. * alone);
            assert!((0.03..=0.07).contains(&errors), "{what}, {seeds} seeds: {errors}");
        }
    }
}
