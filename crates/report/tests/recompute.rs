//! The numbers of a report follow from the rows that are shipped beside it, by a script that shares no code with them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use mtl_eval::Metrics;
use mtl_eval::comparison::{ArmSpec, Comparison, Contrast, Curve, Question, Role, RunRecord, Sampled, TaskRecord};
use mtl_task::rng::Key;
use mtl_task::{Answer, Label};

const EXAMPLES: usize = 50;
const ARMS: [(&str, f64); 6] = [
    ("single", 0.75),
    ("hard+equal", 0.9),
    ("=soft_*", 0.76),
    ("hard+equal (shuffled labels)", 0.7),
    ("oracle", 0.95),
    ("tiny", 0.74),
];
const TASKS: [&str; 3] = ["topic", "clash_2|", "cola"];

fn task(arm: usize, task: usize, seed: u64, skill: f64) -> TaskRecord {
    let mut effects = Key::new(5).with(arm as u64).with(task as u64).stream();
    let mut run = Key::new(6).with(arm as u64).with(task as u64).with(seed).stream();
    // The last task's baseline is hardly ever right.
    let skill = if task == 2 { skill - 0.72 } else { skill };
    let right: Vec<bool> = (0..EXAMPLES).map(|_| 0.9 * effects.uniform() + 0.1 * run.uniform() < skill).collect();
    let accuracy = right.iter().filter(|right| **right).count() as f64 / EXAMPLES as f64;
    let scores = BTreeMap::from([("accuracy".to_string(), accuracy), ("ece".to_string(), 0.5 - accuracy / 3.)]);
    let answer = |right: &bool| Answer { label: Label::Class(u32::from(*right)), scores: vec![0.5, 0.5] };
    TaskRecord {
        kind: "classification".into(),
        names: vec!["no".into(), "yes".into()],
        headline: "accuracy".into(),
        sizes: [50, 20, EXAMPLES],
        train: BTreeMap::new(),
        dev: BTreeMap::new(),
        test: Some(scores),
        trivial: 0.5,
        ceiling: (task == 0).then_some(0.99),
        passes: Some(20.),
        texts: (0..EXAMPLES).map(|at| format!("{task} {at}")).collect(),
        truths: vec![Label::Class(1); EXAMPLES],
        answers: right.iter().map(answer).collect(),
        dev_curve: Curve::default(),
        train_curve: Curve::default(),
        loss_curve: Curve::default(),
        weight_curve: Curve::default(),
    }
}

/// Five seeds, of which `=soft_*` lost one and `tiny` all but one; a control judged on one task alone.
fn comparison() -> Comparison {
    let mut records = Vec::new();
    for (arm, (name, skill)) in ARMS.into_iter().enumerate() {
        for seed in (0..6).filter(|seed| (name != "=soft_*" || *seed != 2) && (name != "tiny" || *seed == 0)) {
            let judged = TASKS.iter().enumerate().take(if arm == 3 { 1 } else { TASKS.len() });
            records.push(RunRecord {
                id: format!("{name}-{seed}"),
                arm: name.into(),
                seed,
                tasks: judged.map(|(index, task)| (task.to_string(), self::task(arm, index, seed, skill))).collect(),
                steps: 100,
                seconds: 1.,
                cpu_seconds: 2.,
                tokens_per_second: 3.,
                parameters: 10,
                trainable: 10,
                single_task_parameters: 30,
                stored_bytes: 40,
                latency_ms: None,
                outcomes: BTreeMap::new(),
                cosines: Vec::new(),
                test_opened_at: Some("2026-01-01T00:00:00Z".into()),
                diverged: None,
                commit: None,
                data: BTreeMap::new(),
            });
        }
    }
    let arm = |(name, _): (&str, f64)| ArmSpec {
        name: name.into(),
        control: name.contains("shuffled").then(|| "shuffled labels".into()),
        role: if name == "oracle" { Role::Oracle } else { Role::Candidate },
        ..ArmSpec::default()
    };
    let question = Question {
        name: "made".into(),
        about: "by hand".into(),
        arms: ARMS.map(arm).to_vec(),
        baseline: "single".into(),
        tasks: TASKS.map(String::from).to_vec(),
        seeds: (0..6).collect(),
        level: 0.05,
        resamples: 100,
        key: Key::new(1),
        sampled: Sampled::Both,
    };
    let mut comparison = Comparison::of(&Metrics::default(), &question, &records).expect("compared");
    let pair = (ARMS[1].0, ARMS[2].0);
    comparison.contrasts.extend(Contrast::of(&Metrics::default(), &question, &records, pair).expect("compared"));
    assert_eq!(comparison.contrasts.len(), 1);
    comparison
}

fn recomputed(script: &Path, folder: &Path) -> (Option<i32>, String) {
    let run = Command::new("python3").arg(script).arg(folder).output().expect("python3 runs");
    let said = String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
    (run.status.code(), said)
}

#[test]
#[allow(clippy::print_stdout)] // A test that is skipped says so.
fn the_numbers_of_a_report_recompute_from_its_rows() {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/results/recompute.py");
    if !script.exists() || Command::new("python3").arg("--version").output().is_err() {
        println!("skipped: there is no python3 here, or no script, to recompute the report with");
        return;
    }
    let comparison = comparison();
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).expect("writes");
    let report = mtl_report::markdown(&comparison).expect("Markdown");
    write("report.md", report.clone());
    write("report.csv", mtl_report::csv(&comparison).expect("rows"));
    write("metrics.csv", mtl_report::metrics_csv(&comparison).expect("rows"));
    write("intervals.csv", mtl_report::intervals_csv(&comparison).expect("rows"));
    let (code, said) = recomputed(&script, folder.path());
    assert_eq!(code, Some(0), "{said}");
    let count: usize = said.split(": ").last().and_then(|said| said.split(' ').next()?.parse().ok()).expect("a count");
    assert!(count > 200, "{said}");

    // Whatever is changed is found: a mean, a verdict, a gain, a Δm, a rank.
    let gain = comparison.arms[1].headline.as_ref().expect("an interval").estimate;
    let share = comparison.arms[1].gain_headline.as_ref().expect("an interval").estimate;
    let mean = comparison.arms[0].tasks[0].mean.expect("a mean");
    for (is, other) in [
        (format!("{mean:.3} ±"), format!("{:.3} ±", mean + 0.001)),
        ("Better than single".to_string(), "Worse than single".to_string()),
        (format!("| {gain:+.4} |"), format!("| {:+.4} |", gain + 0.0001)),
        (format!("| {share:+.2} |"), format!("| {:+.2} |", share + 0.01)),
    ] {
        assert!(report.contains(&is), "no `{is}` in {report}");
        write("report.md", report.replacen(&is, &other, 1));
        let (code, said) = recomputed(&script, folder.path());
        assert_eq!(code, Some(1), "`{other}` for `{is}` is not noticed: {said}");
    }
}
