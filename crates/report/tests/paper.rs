//! A paper from rows: every number that the rows hold is shown, and the same rows give the same bytes.

#[allow(dead_code)] // Other tests' comparisons.
mod support;

use mtl_report::paper::{MARK, PAGE, Rows, paper};
use mtl_report::{csv, intervals_csv, metrics_csv};
use support::{ARMS, TASKS, comparison};

fn rows() -> Rows {
    let comparison = comparison();
    let files = [
        ("report.csv", csv(&comparison).expect("rows")),
        ("metrics.csv", metrics_csv(&comparison).expect("rows")),
        ("intervals.csv", intervals_csv(&comparison).expect("rows")),
    ];
    Rows::parse("folder", &files).expect("rows")
}

#[test]
fn tables_and_figures_hold_what_the_rows_hold_and_their_bytes_repeat() {
    let files = paper(&[rows()], &[]).expect("made");
    assert_eq!(files, paper(&[rows()], &[]).expect("made again"));
    let name = "sharing---weighting--b-on--b--small-encoders-1";
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    for of in ["scores.md", "scores.tex", "gains.tex", "gains.svg", "effects.svg", "contrasts.md", "metrics.tex"] {
        assert!(names.contains(&format!("{name}-{of}").as_str()), "{of} is not among {names:?}");
    }
    let page = &files[PAGE];
    assert!(page.starts_with(MARK) && page.contains(&format!("({name}-effects.svg)")), "{page}");
    let scores = &files[&format!("{name}-scores.md")];
    let comparison = comparison();
    for arm in &comparison.arms[1..] {
        let gain = arm.headline.as_ref().expect("an interval");
        let shown = format!("{:+.4} | \\[{:+.4}, {:+.4}\\]", gain.estimate, gain.low, gain.high);
        assert!(scores.contains(&shown), "{shown}: {scores}");
    }
    assert_eq!(scores.lines().filter(|line| line.starts_with("| ")).count(), 2 + ARMS.len(), "{scores}");
    assert!(scores.contains("**"), "the best of a task is bold: {scores}");
    let gains = &files[&format!("{name}-gains.md")];
    assert_eq!(gains.lines().filter(|line| line.starts_with("| ")).count(), 2 + (ARMS.len() - 1) * TASKS.len());
    // No text gets out of its place.
    for (name, text) in &files {
        assert!(!text.contains("<script"), "{name}: {text}");
    }
    let document = &files["paper.tex"];
    assert!(document.starts_with("\\documentclass") && document.matches("\\begin{table}").count() == 4, "{document}");
    assert!(files[&format!("{name}-effects.svg")].contains("fill=\"white\""));
}

#[test]
fn sizes_are_drawn_and_experiments_are_put_beside_each_other() {
    let text = "relation,examples,ratio,seeds,single,shared,gain,low,high\nrelated,20,50,12,0.9,0.95,0.05,0.01,0.09\n\
                related,100,10,12,0.98,0.98,0,-0.01,0.01\n";
    let sizes = Rows::parse("results/regimes", &[("regimes.csv", text.into())]).expect("rows");
    assert_eq!(sizes.experiment, "regimes");
    let files = paper(&[rows(), sizes.clone()], &[]).expect("made");
    assert!(files["regimes-sizes.svg"].contains("50 : 1") && files.contains_key("effects.svg"));
    assert!(files["regimes-sizes.md"].contains("| related | 20 | 12 | 0.900 | 0.950 | +0.0500 |"));
    let error = paper(&[sizes.clone(), sizes], &[]).expect_err("twice").to_string();
    assert!(error.contains("two folders hold rows of the experiment `regimes`"), "{error}");
}

#[test]
fn rows_of_before_have_intervals_over_seeds_alone_and_say_so() {
    let head = "experiment,pilot,arm,baseline,control,task,metric,split,seed,score,parameters,mean_cpu_seconds\n";
    let mut text = head.to_string();
    for (arm, first, up) in [("single", true, 0.), ("hard", false, 0.02), ("shuffled", false, 0.01)] {
        let control = if arm == "shuffled" { "shuffled labels" } else { "" };
        for seed in 0..4 {
            let score = 0.8 + up * (1. + f64::from(seed)) / 2.;
            text += &format!("old,false,{arm},{first},{control},t,accuracy,test,{seed},{score},1000000,2.5\n");
        }
    }
    let files = paper(&[Rows::parse("old", &[("report.csv", text)]).expect("rows")], &[]).expect("made");
    let table = &files["old-scores.md"];
    assert!(table.contains("seeds alone") && table.contains("shuffled (control)"), "{table}");
    // Differences 0.01, 0.02, 0.03, 0.04: mean 0.025, t₀.₉₇₅(3)·√(5/3)/200 = 0.0205; parameters and seconds behind.
    assert!(table.contains("| +0.0250 | \\[+0.0045, +0.0455\\] | 0.030 | 1.00 | 2.5 |"), "{table}");
}

#[test]
fn odd_rows_are_refused_by_place_and_column() {
    let error = |files: &[(&str, String)]| format!("{:#}", Rows::parse("f", files).expect_err("refused"));
    assert!(error(&[]).contains("f: none of report.csv, metrics.csv"));
    let rows = csv(&comparison()).expect("rows");
    let cut: String = rows.lines().map(|line| line.split_once(',').expect("cells").1.to_string() + "\n").collect();
    assert!(error(&[("report.csv", cut)]).contains("no column `experiment`"));
    let regimes = "relation,examples,ratio,seeds,single,shared,gain,low,high\nrelated,x,1,1,1,1,1,1,1\n";
    let found = error(&[("regimes.csv", regimes.into())]);
    assert!(found.contains("f/regimes.csv:2, column `examples`: `x` is not a number"), "{found}");
    let double = rows.clone() + rows.lines().nth(1).expect("a row") + "\n";
    assert!(error(&[("report.csv", double)]).contains("a second row of this arm, task and seed"));
}
