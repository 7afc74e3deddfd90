//! What is measured: training examples of a seed, restarts, portfolios, and how every arm is tuned alike.

use std::collections::BTreeMap;
use std::path::Path;

use mtl_compare::{Ended, Engine, Experiment, Plan, Planned, Purpose, Silent, compare};
use mtl_eval::comparison::{RunRecord, TaskRecord};
use mtl_train::Recipe;

use crate::comparison::{SMALL, experiment, finished, lines, options};
use crate::library::{Shipped, document};

/// Plans as far as it can be planned without a run; the lines of the plan.
pub(crate) fn planned(experiment: &Experiment, out: &Path) -> Vec<Planned> {
    let ended = compare(experiment, &options(out, Engine::Print, None), &Shipped, &mut Silent).expect("planned");
    assert!(matches!(ended, Ended::Printed(_)), "{ended:?}");
    lines(out)
}

fn refused(text: &str) -> String {
    let found = Experiment::parse("x", &document("x", text), &[], &Shipped).and_then(|found| found.arms().map(drop));
    format!("{:#}", found.expect_err("refused"))
}

fn recipe(line: &Planned) -> Recipe {
    Recipe::parse_resolved(&Default::default(), "line", &line.recipe).expect("a recipe")
}

/// The record that a tuning run of `line` would leave if it scored so on dev.
fn scored(line: &Planned, scores: &[(&str, f64)]) -> RunRecord {
    let task = |(name, score): &(&str, f64)| {
        let scores = BTreeMap::from([("accuracy".to_string(), *score)]);
        let task = TaskRecord {
            kind: "classification".into(),
            names: Vec::new(),
            headline: "accuracy".into(),
            sizes: [40, 20, 20],
            train: BTreeMap::new(),
            dev: scores,
            test: None,
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
        };
        ((*name).to_string(), task)
    };
    RunRecord {
        id: line.id.clone(),
        arm: line.arm.clone(),
        seed: line.seed,
        tasks: scores.iter().map(task).collect(),
        steps: line.steps,
        seconds: 1.,
        cpu_seconds: 1.,
        tokens_per_second: 1.,
        parameters: 1,
        trainable: 1,
        single_task_parameters: 1,
        stored_bytes: 1,
        latency_ms: None,
        outcomes: BTreeMap::new(),
        cosines: Vec::new(),
        test_opened_at: None,
        diverged: None,
        commit: None,
        data: BTreeMap::new(),
    }
}

/// Carries out the tuning of `experiment` by what `score` says of a line and a task; the lines of the plan, the final runs
/// among them.
fn tuned(experiment: &Experiment, out: &Path, score: impl Fn(&Planned, &str) -> f64) -> Vec<Planned> {
    loop {
        let all = planned(experiment, out);
        if all.iter().any(|line| line.purpose == Purpose::Final) {
            return all;
        }
        let plan = Plan::open(out).expect("a plan");
        for line in all.iter().filter(|line| !plan.is_done(line)) {
            let scores = ["planted-topic", "planted-mood"].map(|task| (task, score(line, task)));
            let folder = plan.folder(line);
            std::fs::create_dir_all(&folder).expect("made");
            let text = serde_json::to_vec(&scored(line, &scores)).expect("JSON");
            std::fs::write(folder.join("record.json"), text).expect("written");
        }
    }
}

/// The rate of `task` in `recipe`.
fn rate(recipe: &Recipe, task: &str) -> f64 {
    let base = recipe.optimizer.settings["rate"].as_f64().expect("a rate");
    recipe.task_rates.get(task).copied().unwrap_or(base)
}

#[test]
fn each_seed_has_training_examples_of_its_own_unless_told_otherwise() {
    let of = |more: &str| {
        let folder = tempfile::tempdir().expect("a folder");
        let text = format!("{more}\n{SMALL}");
        let found = Experiment::parse("small", &document("small", &text), &[], &Shipped).expect("an experiment");
        let lines = planned(&found, folder.path());
        let train = |line: &Planned| {
            let recipe = recipe(line);
            (recipe.train.data_seed, recipe.train.sample_seed, recipe.train.stratified == Some(true))
        };
        lines.iter().map(train).collect::<Vec<_>>()
    };
    assert_eq!(of(""), [(Some(0), Some(0), true), (Some(0), Some(1), true)]);
    assert_eq!(of("data_seed = \"each\""), of(""));
    assert_eq!(of("data_seed = 7"), [(Some(0), Some(7), false); 2]);
    for (text, part) in [
        ("data_seed = \"all\"", "must be \"each\" or a whole number"),
        ("data_seed = \"each\"", "nothing limits the training examples"),
        ("data_seed = 1\n[set.train]\nsample_seed = 3\nlimit = 20", "two answers to one question"),
        ("dev = \"m\"", "must be \"n\" or a whole number"),
    ] {
        let said = refused(text);
        assert!(said.contains(part), "{text}: {said}");
    }
    let dev = |size: &str| {
        let folder = tempfile::tempdir().expect("a folder");
        let text = format!("dev = {size}\nbase = \"embedded\"\n[set]\ntasks = [\"planted-topic\"]\ntrain.limit = 40\n");
        let found = Experiment::parse("small", &document("small", &text), &[], &Shipped).expect("an experiment");
        recipe(&planned(&found, folder.path())[0]).evaluation
    };
    assert_eq!((dev("\"n\"").dev_as_train, dev("30").dev_limit()), (Some(true), 30));
}

#[test]
fn a_portfolio_takes_for_each_task_what_dev_says_and_restarts_do_so_among_themselves() {
    let more = r#"
[[arm]]
name = "first of two"
strategy = "hard"
rule = "equal"
restarts = 2

[[arm]]
strategy = "soft"
rule = "equal"
role = "oracle"

[[arm]]
role = "portfolio"
of = ["single", "first of two", "soft"]
"#;
    let (experiment, folder) = (experiment(more), tempfile::tempdir().expect("a folder"));
    let found = finished(&experiment, folder.path());
    let names: Vec<&str> = found.arms.iter().map(|arm| arm.arm.name.as_str()).collect();
    assert_eq!(names, ["single", "first of two", "soft", "portfolio"]);
    let roles: Vec<&str> = found.arms.iter().map(|arm| arm.arm.role().name()).collect();
    assert_eq!(roles, ["candidate", "candidate", "oracle", "portfolio"]);
    let (plan, all) = (Plan::open(folder.path()).expect("a plan"), lines(folder.path()));
    assert_eq!(all.len(), 8, "a portfolio is not trained");
    let record = |line: &Planned| plan.record(line).expect("readable").expect("finished");
    let best = |runs: &[&Planned], task: &str| {
        let mut best: Option<TaskRecord> = None;
        for run in runs {
            let found = record(run).tasks[task].clone();
            if best.as_ref().is_none_or(|best| found.dev[&found.headline] > best.dev[&best.headline]) {
                best = Some(found);
            }
        }
        best.expect("a run")
    };
    for (at, seed) in [0, 1].into_iter().enumerate() {
        let of = |arm: &str| all.iter().filter(|line| line.arm == arm && line.seed == seed).collect::<Vec<_>>();
        let restarts = of("first of two");
        assert_eq!(restarts.iter().map(|line| line.restart).collect::<Vec<_>>(), [0, 1]);
        let recipes: Vec<Recipe> = restarts.iter().map(|line| recipe(line)).collect();
        assert!(recipes[0].train.seed == seed && recipes[1].train.seed != seed);
        assert_eq!([0, 1].map(|run| recipes[run].train.sample_seed), [Some(seed); 2], "the same examples");
        let members = [of("single"), restarts.clone(), of("soft")].concat();
        for (task, name) in ["planted-topic", "planted-mood"].into_iter().enumerate() {
            let score = |record: &TaskRecord| record.test.as_ref().map(|test| test[&record.headline]);
            assert_eq!(found.arms[1].tasks[task].scores[at], score(&best(&restarts, name)));
            assert_eq!(found.arms[3].tasks[task].scores[at], score(&best(&members, name)));
        }
    }
    let spent: f64 = all.iter().map(|line| record(line).cpu_seconds).sum::<f64>() / 2.;
    assert!((found.arms[3].cpu_seconds - spent).abs() < 1e-9 * spent, "all of it is paid for");
    for (text, part) in [
        ("[[arm]]\nrole = \"portfolio\"\nof = [\"single\"]", "two arms or more"),
        ("[[arm]]\nrole = \"portfolio\"\nof = [\"single\", \"hrad\"]", "`hrad` is none of the arms"),
        ("[[arm]]\nstrategy = \"hard\"\nof = [\"single\"]", "`of` is a portfolio's"),
        ("[[arm]]\nrole = \"portfolio\"\nstrategy = \"hard\"\nof = [\"single\", \"x\"]", "is not trained"),
        ("[[arm]]\nstrategy = \"hard\"\nrestarts = 0", "between 1 and 100"),
        ("[[arm]]\nstrategy = \"hard\"\ntune = { \"head.dropout\" = [0.1] }", "add one"),
    ] {
        let said = refused(text);
        assert!(said.contains(part), "{text}: {said}");
    }
}

#[test]
fn every_arm_is_tuned_around_its_own_rates_by_as_many_trials() {
    let more = r#"
[[arm]]
name = "lora"
strategy = "lora"
rule = "equal"

[[arm]]
strategy = "soft"
rule = "equal"
tune = { "sharing.strength" = [0.01, 0.1, 1.0] }

[tune]
method = "grid"
keys = { "optimizer.scale" = [0.3, 1, 3] }
"#;
    let (experiment, folder) = (experiment(more), tempfile::tempdir().expect("a folder"));
    let all = planned(&experiment, folder.path());
    let of = |arm: &str| all.iter().filter(|line| line.arm == arm).map(recipe).collect::<Vec<_>>();
    for arm in ["single", "lora", "soft"] {
        let recipes = of(arm);
        assert_eq!(recipes.len(), 3, "{arm}");
        let rates: Vec<_> = recipes.iter().map(|recipe| recipe.learning_rates().expect("rates")).collect();
        for (role, usual) in &rates[1] {
            for (factor, at) in [(0.3, 0), (3., 2)] {
                assert!((rates[at][role] / usual - factor).abs() < 1e-4, "{arm} {role}: {rates:?}");
            }
        }
    }
    // Each value of its own once, each with a rate of its own.
    let mut strengths: Vec<f64> =
        of("soft").iter().map(|recipe| recipe.sharing.settings["strength"].as_f64().expect("a number")).collect();
    strengths.sort_by(f64::total_cmp);
    assert_eq!(strengths, [0.01, 0.1, 1.]);
    assert!(all.iter().all(|line| recipe(line).train.dev_seed.is_none()));
    let (drawn, other) =
        (more.replace("[tune]", "[tune]\ndev_seed = \"each\""), tempfile::tempdir().expect("a folder"));
    let drawn = planned(&self::experiment(&drawn), other.path());
    assert!(drawn.iter().all(|line| recipe(line).train.dev_seed == Some(line.seed)));
    // A task's best rate is one of its own rates, multiplied.
    let all = tuned(&experiment, folder.path(), |line, task| {
        let best = if task == "planted-topic" { "0.3" } else { "1" };
        if line.arm == "single" && line.tuned["optimizer.scale"] == best { 0.9 } else { 0.5 }
    });
    let last = all.iter().find(|line| line.arm == "single" && line.purpose == Purpose::Final).map(recipe);
    let (last, usual) = (last.expect("a final run"), rate(&of("single")[1], "planted-topic"));
    assert!((rate(&last, "planted-mood") / usual - 1.).abs() < 1e-9);
    assert!((rate(&last, "planted-topic") / usual - 0.3).abs() < 1e-9);
    for (text, part) in [
        ("[tune]\nmethod = \"grid\"\nkeys = { \"optimizer.scale\" = [0, 1] }", "numbers above 0"),
        ("[tune]\nmethod = \"grid\"\nkeys = { \"optimizer.scale\" = [1], \"optimizer.rate\" = [1e-3] }", "two answers"),
        ("[tune]\nmethod = \"halving\"\ngrow = 1\nkeys = { \"optimizer.rate\" = [1e-3] }", "has a grid to grow"),
        (
            "[[arm]]\nstrategy = \"soft\"\ntune = { \"optimizer.rate\" = [1e-3] }\n[tune]\nmethod = \"grid\"\nkeys = { \
             \"optimizer.rate\" = [1e-3] }",
            "tuned alike for every arm",
        ),
    ] {
        let said = refused(text);
        assert!(said.contains(part), "{text}: {said}");
    }
}

#[test]
fn a_grid_grows_while_the_best_rate_is_at_its_end() {
    let more = r#"
[[arm]]
strategy = "hard"
rule = "equal"

[tune]
method = "grid"
keys = { "optimizer.rate" = [1e-3, 3e-3, 1e-2] }
"#;
    let (experiment, folder) = (experiment(more), tempfile::tempdir().expect("a folder"));
    // The higher the better for hard; single's tasks are best inside and at the lower end.
    let all = tuned(&experiment, folder.path(), |line, task| {
        let rate: f64 = line.tuned["optimizer.rate"].parse().expect("a rate");
        match (line.arm.as_str(), task) {
            ("single", "planted-topic") => 0.9 - (rate - 3e-3).abs(),
            ("single", _) => 0.9 - (rate - 3e-4).abs(),
            _ => 0.5 + rate,
        }
    });
    let tried = |arm: &str, stage: usize| -> Vec<&str> {
        let of = |line: &&Planned| line.arm == arm && line.stage == stage && line.purpose == Purpose::Tune;
        all.iter().filter(of).map(|line| line.tuned["optimizer.rate"].as_str()).collect()
    };
    assert_eq!(tried("hard+equal", 0), ["0.001", "0.003", "0.01"]);
    assert_eq!((tried("hard+equal", 1), tried("hard+equal", 2)), (vec!["0.0333333"], vec!["0.111111"]));
    assert_eq!((tried("single", 1), tried("single", 2)), (vec!["0.000333333"], vec!["0.000111111"]));
    let last = |arm: &str| {
        let line = all.iter().find(|line| line.arm == arm && line.purpose == Purpose::Final).expect("a final run");
        assert_eq!(line.stage, 3);
        recipe(line)
    };
    assert_eq!(rate(&last("hard+equal"), "planted-topic"), 0.111111);
    assert_eq!(["planted-topic", "planted-mood"].map(|task| rate(&last("single"), task)), [3e-3, 0.000333333]);
    // Nothing more is planned by the next call.
    assert_eq!(planned(&experiment, folder.path()), all);

    // Two values have no inside, and nothing grows where it is not to.
    for (from, to) in [("[1e-3, 3e-3, 1e-2] }", "[1e-3, 3e-3] }"), ("1e-2] }", "1e-2] }\ngrow = 0")] {
        let folder = tempfile::tempdir().expect("a folder");
        let all = tuned(&self::experiment(&more.replace(from, to)), folder.path(), |_, _| 0.5);
        assert!(all.iter().all(|line| line.purpose == Purpose::Final || line.stage == 0));
    }
}

#[test]
fn halving_leaves_each_task_of_the_baseline_its_own_rate() {
    let more = r#"
[[arm]]
strategy = "hard"
rule = "equal"

[tune]
method = "halving"
keys = { "optimizer.rate" = [1e-4, 3e-4, 1e-3, 3e-3] }
"#;
    let (experiment, folder) = (experiment(more), tempfile::tempdir().expect("a folder"));
    // Topic is best by the lowest rate, mood by the highest: by their mean, the two between would be left.
    let best = |task: &str| if task == "planted-topic" { 1e-4 } else { 3e-3 };
    let all = tuned(&experiment, folder.path(), |line, task| {
        let distance = (rate(&recipe(line), task).ln() - f64::ln(best(task))).abs();
        if distance < 1e-9 { 0.6 } else { 0.5 - distance / 100. - (distance > 3.3) as u32 as f64 / 3. }
    });
    let second = |arm: &str| -> Vec<[f64; 2]> {
        let of = |line: &&Planned| line.arm == arm && line.stage == 1;
        let rates = |line: &Planned| ["planted-topic", "planted-mood"].map(|task| rate(&recipe(line), task));
        all.iter().filter(of).map(rates).collect()
    };
    assert_eq!(second("single"), [[1e-4, 3e-3], [3e-4, 1e-3]]);
    assert_eq!(second("hard+equal"), [[3e-4, 3e-4], [1e-3, 1e-3]]);
    let last = all.iter().find(|line| line.arm == "single" && line.purpose == Purpose::Final).map(recipe);
    let last = last.expect("a final run");
    assert_eq!(["planted-topic", "planted-mood"].map(|task| rate(&last, task)), [1e-4, 3e-3]);
}

#[test]
fn what_is_drawn_beside_a_rate_meets_several() {
    let more = r#"
[tune]
method = "random"
budget = 9
keys = { "optimizer.rate" = { low = 1e-4, high = 1e-2 }, "optimizer.weight_decay" = { low = 1e-3, high = 1e-1 } }
"#;
    let (experiment, folder) = (experiment(more), tempfile::tempdir().expect("a folder"));
    let all = tuned(&experiment, folder.path(), |line, task| {
        // Each task likes another rate of the same decay.
        let rate = rate(&recipe(line), task);
        if task == "planted-topic" { 1. / (1. + rate) } else { 0.5 + rate }
    });
    let first: Vec<&Planned> = all.iter().filter(|line| line.purpose == Purpose::Tune).collect();
    let mut by_decay: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in &first {
        by_decay.entry(&line.tuned["optimizer.weight_decay"]).or_default().push(&line.tuned["optimizer.rate"]);
    }
    assert_eq!((first.len(), by_decay.len()), (9, 3));
    assert!(by_decay.values().all(|rates| rates.len() == 3));
    let last = all.iter().find(|line| line.purpose == Purpose::Final).map(recipe).expect("a final run");
    assert!(rate(&last, "planted-topic") < rate(&last, "planted-mood"));
}
