//! Comparisons of a few steps on generated text: frozen plans, sealed tuning, the same end after any number of stops.

use mtl_backbone::DeviceName;
use mtl_compare::{Ended, Engine, Experiment, Leak, Options, Plan, Planned, Purpose, Silent, compare};
use mtl_eval::comparison::Comparison;
use std::path::Path;

use crate::library::{Shipped, document};

pub(crate) const SMALL: &str = r#"
about = "small"
base = "embedded"
seeds = 2
resamples = 50

[set]
tasks = ["planted-topic", "planted-mood"]
train = { steps = 4, limit = 40, batch = 4 }
evaluation = { every = 2, dev_limit = 20, test_limit = 20 }
"#;

pub(crate) fn experiment(more: &str) -> Experiment {
    Experiment::parse("small", &document("small", &format!("{SMALL}{more}")), &[], &Shipped).expect("an experiment")
}

pub(crate) fn options(out: &Path, engine: Engine, at_most: Option<usize>) -> Options {
    Options {
        out: out.to_path_buf(),
        engine,
        device: Default::default(),
        offline: true,
        data: Vec::new(),
        at_most,
        retry: false,
        commit: None,
        program: "mtl".into(),
    }
}

pub(crate) fn finished(experiment: &Experiment, out: &Path) -> Comparison {
    match compare(experiment, &options(out, Engine::Local(1), None), &Shipped, &mut Silent).expect("compared") {
        Ended::Finished(comparison) => *comparison,
        other => panic!("not finished: {other:?}"),
    }
}

pub(crate) fn lines(out: &Path) -> Vec<Planned> {
    Plan::open(out).expect("a plan").lines().to_vec()
}

/// `comparison` without what a clock says.
pub(crate) fn timeless(mut comparison: Comparison) -> Comparison {
    comparison.test_opened_at = comparison.test_opened_at.map(|_| "then".into());
    for arm in &mut comparison.arms {
        (arm.seconds, arm.cpu_seconds, arm.tuning_cpu_seconds, arm.tokens_per_second) = (0., 0., 0., 0.);
        arm.latency_ms = arm.latency_ms.map(|_| 0.);
    }
    comparison
}

const TUNED: &str = r#"
[[arm]]
strategy = "hard"
rule = "nash"

[tune]
method = "grid"
keys = { "optimizer.rate" = [1e-3, 3e-3] }
steps = 2
"#;

#[test]
fn stopped_anywhere_and_started_again_it_ends_alike() {
    let (experiment, whole, parts) = (experiment(TUNED), tempfile::tempdir(), tempfile::tempdir());
    let (whole, parts) = (whole.expect("a folder"), parts.expect("a folder"));
    let expected = finished(&experiment, whole.path());
    let mut stops = 0;
    let found = loop {
        match compare(&experiment, &options(parts.path(), Engine::Local(1), Some(1)), &Shipped, &mut Silent)
            .expect("compared")
        {
            Ended::Finished(comparison) => break *comparison,
            Ended::Stopped { done, of } => assert!(done < of && of == 8, "{done} of {of}"),
            Ended::Printed(_) => panic!("nothing was to be printed"),
        }
        // Another run dies before its record is whole: it is run again from what is left.
        if stops == 3 {
            let all = lines(parts.path());
            let plan = Plan::open(parts.path()).expect("a plan");
            std::fs::remove_file(plan.folder(&all[0]).join("record.json")).expect("a record");
        }
        stops += 1;
    };
    assert!(stops > 4, "{stops}");
    assert_eq!(timeless(found), timeless(expected.clone()));
    assert_eq!(lines(parts.path()), lines(whole.path()));
    let written = std::fs::read(whole.path().join("comparison.json")).expect("comparison.json");
    assert_eq!(serde_json::from_slice::<Comparison>(&written).expect("a comparison"), expected);
    for name in ["report.html", "report.md", "report.csv", "metrics.csv", "intervals.csv", "report.tex"] {
        assert!(whole.path().join(name).metadata().is_ok_and(|file| file.len() > 100), "{name}");
    }
    // Nothing is run again, and nothing changes.
    assert_eq!(finished(&experiment, whole.path()), expected);

    let [single, nash] = &expected.arms[..] else { panic!("two arms") };
    assert_eq!((single.arm.name.as_str(), nash.arm.name.as_str()), ("single", "hard+nash"));
    assert!(single.arm.tuned.contains_key("optimizer.rate") && single.tuning_cpu_seconds > 0.);
    assert!(nash.tasks[0].transfer.is_some() && nash.cosines.len() == 2 && single.cosines.is_empty());
    assert_eq!((nash.tasks[0].dev_curve.0.len(), nash.tasks[0].train_curve.0.len()), (2, 2));
    assert_eq!((nash.weights.len(), nash.weights[0].0.len()), (2, 4));
    assert!(expected.pilot.is_some() && expected.test_opened_at.is_some());
}

#[test]
fn tasks_that_never_meet_are_tuned_one_by_one() {
    let (experiment, folder) = (experiment(TUNED), tempfile::tempdir().expect("a folder"));
    let found = finished(&experiment, folder.path());
    let (plan, all) = (Plan::open(folder.path()).expect("a plan"), lines(folder.path()));
    let chosen = found.arms[0].arm.tuned["optimizer.task_rates"].parse::<toml::Value>().expect("TOML");
    for task in ["planted-topic", "planted-mood"] {
        let tuning = all.iter().filter(|line| line.purpose == Purpose::Tune && line.arm == "single");
        let mut scored: Vec<(f64, f64)> = tuning
            .map(|line| {
                let record = plan.record(line).expect("readable").expect("finished");
                let scored = &record.tasks[task];
                (scored.dev[&scored.headline], line.tuned["optimizer.rate"].parse().expect("a rate"))
            })
            .collect();
        scored.sort_by(|a, b| b.0.total_cmp(&a.0));
        let rate = chosen[task].as_float().expect("a rate");
        assert!(
            scored.iter().any(|(score, tried)| *score == scored[0].0 && *tried == rate),
            "{task}: {rate} {scored:?}"
        );
    }
    for line in all.iter().filter(|line| line.purpose == Purpose::Final) {
        let apart = line.arm == "single";
        assert_eq!(line.recipe.contains("[optimizer.task_rates]"), apart, "{}", line.recipe);
        assert_eq!(line.recipe.contains("keep = \"each\""), apart, "{}", line.recipe);
    }
    assert!(!found.arms[1].arm.tuned.contains_key("optimizer.task_rates"));
}

#[test]
fn equal_compute_buys_as_many_steps_as_the_baseline_costs() {
    let more = format!(
        "{TUNED}\n[[arm]]\nstrategy = \"cross-stitch\"\nrule = \"equal\"\nequal_compute = true\nset = {{ \"train.batch\" \
         = 16 }}\n"
    );
    // [[arm]] after [tune] is still of the whole file.
    let (experiment, folder) = (experiment(&more), tempfile::tempdir().expect("a folder"));
    let found = finished(&experiment, folder.path());
    let plan = Plan::open(folder.path()).expect("a plan");
    let steps_of = |arm: &str, purpose: Purpose| -> Vec<usize> {
        plan.lines().iter().filter(|line| line.arm == arm && line.purpose == purpose).map(|line| line.steps).collect()
    };
    let name = "cross-stitch+equal (equal compute)";
    assert_eq!(found.arms.last().map(|arm| arm.arm.name.as_str()), Some(name));
    assert_eq!((steps_of("single", Purpose::Final), steps_of(name, Purpose::Tune)), (vec![4, 4], vec![2, 2]));
    let cost = |arm: &str| {
        let lines = plan.lines().iter().filter(|line| line.arm == arm && line.purpose == Purpose::Tune);
        let records: Vec<_> = lines.map(|line| plan.record(line).expect("readable").expect("finished")).collect();
        let steps: usize = records.iter().map(|record| record.steps).sum();
        records.iter().map(|record| record.cpu_seconds).sum::<f64>() / steps as f64
    };
    let bought = (4. * cost("single") / cost(name)).round().max(1.) as usize;
    assert_eq!(steps_of(name, Purpose::Final), [bought, bought]);
    let text = format!("{SMALL}\n[[arm]]\nstrategy = \"hard\"\nequal_compute = true\n");
    let error = Experiment::parse("x", &document("x", &text), &[], &Shipped).expect_err("nothing is measured");
    assert!(format!("{error:#}").contains("add a [tune] section"), "{error:#}");
}

#[test]
fn a_plan_is_frozen_and_tuning_never_opens_test() {
    let (experiment, folder) = (experiment(TUNED), tempfile::tempdir().expect("a folder"));
    let out = folder.path();
    let Ended::Printed(commands) =
        compare(&experiment, &options(out, Engine::Print, None), &Shipped, &mut Silent).expect("printed")
    else {
        panic!("commands were to be printed")
    };
    let frozen = lines(out);
    assert_eq!((commands.len(), frozen.len()), (4, 4));
    assert!(commands.iter().zip(&frozen).all(|(command, line)| command.contains(&format!("--run {}", line.id))));
    let mut ids: Vec<&str> = frozen.iter().map(|line| line.id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 4);
    let elsewhere = Options { device: DeviceName::Cuda(1), ..options(out, Engine::Print, None) };
    let Ended::Printed(devices) = compare(&experiment, &elsewhere, &Shipped, &mut Silent).expect("printed") else {
        panic!("commands were to be printed")
    };
    assert!(devices.iter().zip(&commands).all(|(there, here)| *there == format!("{here} --device cuda:1")));
    finished(&experiment, out);
    let (all, plan) = (lines(out), Plan::open(out).expect("a plan"));
    assert_eq!(all[..4], frozen[..]);
    for line in &all {
        let record = plan.record(line).expect("readable").expect("finished");
        assert_eq!(record.test_opened_at.is_none(), line.purpose == Purpose::Tune, "{}", line.arm);
        assert_eq!(line.recipe.contains("test = \"sealed\""), line.purpose == Purpose::Tune);
        assert!(record.tasks.values().all(|task| task.test.is_none() == (line.purpose == Purpose::Tune)));
        assert!(record.cpu_seconds > 0. && !plan.folder(line).join("checkpoints").exists());
    }
    let changed = TUNED.replace("3e-3", "2e-3");
    let options = options(out, Engine::Local(1), None);
    let error = compare(&self::experiment(&changed), &options, &Shipped, &mut Silent).expect_err("another plan");
    assert!(format!("{error:#}").contains("choose another --out"), "{error:#}");
}

#[test]
fn refused_cells_and_broken_runs_are_named_with_their_reasons() {
    let more = r#"
[grid]
strategies = ["single", "hard"]
rules = ["equal", "nash"]

[[arm]]
name = "strange"
strategy = "nowhere"

[[arm]]
name = "too long"
strategy = "hard"
rule = "equal"
set = { "train.max_tokens" = 4000 }
"#;
    let (experiment, folder) = (experiment(more), tempfile::tempdir().expect("a folder"));
    let found = finished(&experiment, folder.path());
    let names: Vec<&str> = found.arms.iter().map(|arm| arm.arm.name.as_str()).collect();
    assert_eq!(names, ["single", "hard+equal", "hard+nash", "too long"]);
    let said = found.warnings.join("\n");
    for part in ["arm `single+nash`", "shares none", "arm `strange`", "unknown strategy `nowhere`", "`too long` has no"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(found.arms[3].broken.len(), 2);
    assert!(found.arms[3].broken[0].contains("reads at most"), "{:?}", found.arms[3].broken);
    assert!(lines(folder.path()).iter().all(|line| line.arm != "single+nash" && line.arm != "strange"));
}

#[test]
fn controls_are_judged_on_the_main_task_alone() {
    let more = r#"
[[arm]]
strategy = "hard"
rule = "equal"
control = "shuffled"

[[arm]]
strategy = "hard"
rule = "equal"
control = "noise"

[[arm]]
control = "augmented"

[[arm]]
control = "regularised"
"#;
    let (experiment, folder) = (experiment(more), tempfile::tempdir().expect("a folder"));
    let found = finished(&experiment, folder.path());
    let names: Vec<&str> = found.arms.iter().map(|arm| arm.arm.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "single",
            "single (augmented single task)",
            "single (regularised single task)",
            "hard+equal (shuffled labels)",
            "hard+equal (noise task)",
        ]
    );
    assert!(found.arms[3].tasks[0].mean.is_some() && found.arms[3].tasks[1].mean.is_none());
    assert_ne!(found.arms[3].tasks[0].loss_curve, found.arms[4].tasks[0].loss_curve);
    assert_ne!(found.arms[0].tasks[0].loss_curve, found.arms[1].tasks[0].loss_curve);
    // Controls are compared with the baseline and not ranked.
    assert_eq!((&found.nemenyi, found.candidates()), (&None, 0));
    assert!(found.arms[1..].iter().all(|arm| arm.headline.is_some() && arm.mean_rank.is_none()));
}

#[test]
fn a_rule_that_draws_other_batches_says_so() {
    let more = "[[arm]]\nstrategy = \"hard\"\nrule = \"modo\"\n";
    let (experiment, folder) = (experiment(more), tempfile::tempdir().expect("a folder"));
    let found = finished(&experiment, folder.path());
    let said = found.warnings.join("\n");
    assert!(said.contains("`hard+modo` does not see the baseline's batches: it draws 3 batches a task"), "{said}");
    assert!(!said.contains("`single` does not see"), "{said}");
}

#[test]
fn halving_keeps_the_better_half_for_twice_the_steps() {
    let more = r#"
[tune]
method = "halving"
keys = { "optimizer.rate" = [1e-4, 3e-4, 1e-3, 3e-3] }
"#;
    let (experiment, folder) = (experiment(more), tempfile::tempdir().expect("a folder"));
    let found = finished(&experiment, folder.path());
    let tuning: Vec<(usize, usize)> = (lines(folder.path()).iter())
        .filter(|line| line.purpose == Purpose::Tune)
        .map(|line| (line.stage, line.steps))
        .collect();
    assert_eq!(tuning, [(0, 2), (0, 2), (0, 2), (0, 2), (1, 4), (1, 4)]);
    assert_eq!(found.arms[0].finished, 2);
}

#[test]
fn an_experiment_that_cannot_be_says_why() {
    let error = |text: &str| {
        let found =
            Experiment::parse("x", &document("x", text), &[], &Shipped).and_then(|found| found.arms().map(drop));
        format!("{:#}", found.expect_err("refused"))
    };
    for (text, part) in [
        ("arms = 3", "unknown field `arms`"),
        ("seeds = 0", "at least one"),
        ("seeds = [1, 1]", "every seed may be listed once"),
        ("base = \"embeded\"", "did you mean `embedded`?"),
        ("[set]\n\"train.stepz\" = 3", "--set train.stepz: unknown key"),
        ("main = \"planted-nothing\"", "none of the tasks"),
        ("baseline = \"hard+cagrad\"", "none of the arms single"),
        ("[[arm]]\nstrategy = \"hard\"\n[[arm]]\nstrategy = \"hard\"", "two arms are called"),
        ("[tune]\nmethod = \"grid\"\nseeds = [0]\nkeys = { \"optimizer.rate\" = [1e-3] }", "tuned to it"),
        ("[tune]\nmethod = \"grid\"\nkeys = { \"optimizer.rate\" = { low = 1e-5, high = 1e-3 } }", "is a range"),
    ] {
        let said = error(text);
        assert!(said.contains(part), "{text}: {said}");
    }
}

#[test]
fn a_leak_is_shown_beside_the_comparison_and_not_in_it() {
    let (plain, leaky) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let text = SMALL.replace("seeds = 2", "seeds = 2\nleak = true");
    let experiment_of = |text: &str| Experiment::parse("small", &document("small", text), &[], &Shipped).expect("one");
    let (mut expected, mut found) =
        (finished(&experiment_of(SMALL), plain.path()), finished(&experiment_of(&text), leaky.path()));
    let written = std::fs::read(leaky.path().join("leak.json")).expect("leak.json");
    let leaks: Vec<Leak> = serde_json::from_slice(&written).expect("leaks");
    assert_eq!((leaks.len(), leaks[0].runs, leaks[0].evaluations), (1, 2, 2));
    assert!(leaks[0].by_test >= leaks[0].by_dev);
    assert!(
        found.warnings.iter().any(|warning| warning.contains("had test picked among the 2 evaluations of `single`"))
    );
    expected.warnings.clear();
    found.warnings.clear();
    assert_eq!(timeless(found), timeless(expected));
}
