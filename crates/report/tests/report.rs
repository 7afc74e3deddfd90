//! The reports of a made-up comparison: every arm, task and number is there, nothing that a name or a text says gets
//! out of its place, and nothing is asked of a network.

mod support;

use std::process::Command;

use mtl_eval::comparison::{Comparison, Role, Tone};
use mtl_report::{csv, html, intervals_csv, latex, latex_document, markdown, metrics_csv};
use support::{ARMS, TASKS, comparison, crowded, sparse};

/// Comparisons with parts missing, one after the other.
fn incomplete() -> Vec<(&'static str, Comparison)> {
    let mut alone = sparse();
    alone.arms.truncate(1);
    let mut empty = sparse();
    empty.arms.clear();
    empty.tasks.clear();
    empty.seeds.clear();
    let mut broken = comparison();
    for arm in &mut broken.arms[1..] {
        arm.finished = 0;
        (arm.headline, arm.gain_headline, arm.gain_per_task) = (None, None, None);
        arm.gains[0].percent = None;
        for task in &mut arm.tasks {
            task.scores.fill(None);
            (task.mean, task.deviation, task.transfer, task.corrected_p) = (None, None, None, None);
        }
    }
    let mut nan = comparison();
    for arm in &mut nan.arms {
        arm.cosines.iter_mut().flatten().for_each(|cosine| *cosine = f64::NAN);
        arm.weights.iter_mut().for_each(|curve| curve.0.iter_mut().for_each(|point| point.value = f64::INFINITY));
        arm.tasks.iter_mut().for_each(|task| task.dev_curve.0.truncate(1));
    }
    let mut two = comparison();
    two.arms.truncate(2);
    two.nemenyi = mtl_eval::stats::nemenyi(&[vec![0.5, 0.6]], 0.05).expect("finite");
    vec![
        ("sparse", sparse()),
        ("alone", alone),
        ("empty", empty),
        ("broken", broken),
        ("nan", nan),
        ("two", two),
        ("crowded", crowded()),
    ]
}

/// As HTML writes a text.
fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('"', "&quot;").replace('\'', "&#x27;").replace('/', "&#x2f;")
}

fn fold(page: &str) -> String {
    page.replace("&#x2f;", "/").replace("&#x27;", "'").replace("&quot;", "\"").replace("&apos;", "'")
}

#[test]
fn the_page_asks_nothing_of_a_network_and_runs_its_own_script_alone() {
    for (name, comparison) in incomplete().into_iter().chain([("full", comparison())]) {
        let page = html(&comparison).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        let code = page.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
        // Texts may name an address; no tag and no style may.
        let tags: Vec<&str> = code.split('<').filter_map(|part| Some(part.split_once('>')?.0)).collect();
        let tags = tags.join("\n");
        let style = code.split("<style>").nth(1).and_then(|rest| rest.split("</style>").next()).expect("a style");
        for request in ["http:", "https:", "src=", "@import", "url(", "//"] {
            assert!(!tags.contains(request), "{name}: a tag holds `{request}`");
            assert!(!style.contains(request), "{name}: the style holds `{request}`");
        }
        assert_eq!(page.matches("<script").count(), 1, "{name}");
        assert_eq!(page.matches("<b>").count() + page.matches("<i>").count() + page.matches("<oops").count(), 0);
        assert!(page.contains("default-src 'none'"));
        assert!(!code.contains("src=") && !code.contains("@import") && !code.contains("https://"), "{name}");
    }
}

#[test]
fn the_page_shows_every_arm_task_and_number() {
    let comparison = comparison();
    let page = fold(&html(&comparison).expect("a page"));
    for name in ARMS.iter().chain(&TASKS) {
        assert!(page.contains(&fold(&escaped(name))), "{name} is missing");
    }
    for arm in &comparison.arms {
        for task in &arm.tasks {
            let mean = format!("{:.3} ± {:.3}", task.mean.expect("a mean"), task.deviation.expect("a deviation"));
            assert!(page.contains(&mean), "{mean} of {} is missing", arm.arm.name);
            for score in task.scores.iter().flatten() {
                assert!(page.contains(&format!("{score:.4}")), "{score} is missing");
            }
        }
    }
    for (gain, digits) in [(&comparison.arms[1].headline, 4), (&comparison.arms[1].gain_headline, 2)] {
        let gain = gain.as_ref().expect("an interval");
        assert!(page.contains(&format!("[{:+.digits$}, {:+.digits$}]", gain.low, gain.high)));
    }
    assert!(
        page.contains(&format!("critical difference {:.2}", comparison.nemenyi.expect("ranks").critical_difference))
    );
    // One panel a task for learning curves, losses and transfer; one an arm for weights (2) and maps (3); four more.
    assert_eq!(page.matches("<svg").count(), 3 * TASKS.len() + 2 + 3 + 4);
    assert!(page.contains("<text") && page.contains("higher is better"));
}

#[test]
fn texts_are_shown_whole_and_harmless() {
    let page = html(&comparison()).expect("a page");
    assert!(fold(&page).contains(&fold(&escaped(support::TEXT))));
    let text = markdown(&comparison()).expect("Markdown");
    assert!(text.contains("한국어 문장 !\\[a\\](http&#58;//evil.example/x.png)"), "{text}");
    assert!(!text.contains("<script") && !text.contains("http://"));
    // A table's rows are as wide as its head.
    for table in text.split("\n\n").filter(|block| block.starts_with('|')) {
        let cells = |line: &str| line.replace("\\|", "").matches('|').count();
        let head = table.lines().next().map(cells);
        assert!(table.trim_end().lines().all(|line| Some(cells(line)) == head), "{table}");
    }
}

#[test]
fn the_verdict_goes_no_further_than_the_interval() {
    let mut comparison = comparison();
    let page = |comparison: &Comparison| fold(&html(comparison).expect("a page"));
    let words = page(&comparison);
    assert!(words.contains("Better than single") && words.contains("cannot reach 0.05"));
    assert!(words.contains("1 run of 5 broke") && words.contains("1 run diverged and count as results"), "{words}");
    assert!(words.contains("samples of training examples and initialisations"));
    assert!(words.contains("mrpc_50%/matthews (+0.150)") && words.contains("no room to be shown better"));

    // Δm and its interval decide nothing.
    let found = |comparison: &mut Comparison, low: f64, high: f64, p: f64| {
        let arm = &mut comparison.arms[1];
        let interval = arm.headline.as_mut().expect("an interval");
        (interval.low, interval.high, interval.p) = (low, high, p);
        arm.corrected_p = Some(2. * p);
    };
    comparison.arms.truncate(2);
    comparison.nemenyi = None;
    found(&mut comparison, -0.005, 0.05, 0.2);
    assert!(comparison.arms[1].gain_per_task.as_ref().expect("Δm").low > 0.);
    let words = page(&comparison);
    assert!(words.contains("Not told apart from single") && !words.contains("Better than"));
    assert!(words.contains("Anything from -0.0050 to +0.0500 remains possible"));

    // An interval above 0 whose p is above the level once it is corrected.
    found(&mut comparison, 0.001, 0.05, 0.03);
    assert!(page(&comparison).contains("Not told apart from single among so many candidates"));

    found(&mut comparison, 0.001, 0.05, 0.003);
    comparison.pilot = Some("too few steps".into());
    let words = page(&comparison);
    assert!(words.contains("Pilot: no conclusion") && !words.contains("Better than"), "a pilot concludes nothing");
    assert!(!words.contains("after Holm's correction: better"));
    for word in ["▲", "▼", ">better<", ">worse<", ">differs<", ">undecided<"] {
        let cells = words.split("<tbody>").skip(1).filter_map(|rest| rest.split("</tbody>").next());
        assert!(cells.into_iter().all(|cells| !cells.contains(word)), "a pilot says `{word}`");
    }
    assert!(!latex(&comparison).expect("a table").contains("arrow"));

    comparison.pilot = None;
    comparison.arms[1].headline.as_mut().expect("an interval").seeds = 1;
    assert!(page(&comparison).contains("One pair of seeds: no conclusion on other seeds"));
    comparison.test_opened_at = None;
    assert!(page(&comparison).contains("The test splits are sealed"));
    comparison.arms[1].finished = 0;
    assert!(page(&comparison).contains("No run finished: nothing can be said"));
}

/// The terminal shows [`Comparison::verdict`], and `comparison.json` keeps it.
#[test]
fn every_report_says_the_same_of_every_arm() {
    let mut comparison = comparison();
    comparison.conclude();
    let (page, text) = (fold(&html(&comparison).expect("a page")), markdown(&comparison).expect("Markdown"));
    let json = serde_json::to_value(&comparison).expect("JSON");
    let table = latex(&comparison).expect("a table");
    for (index, arm) in comparison.arms.iter().enumerate().skip(1) {
        let verdict = comparison.verdict(arm);
        assert_eq!(json["arms"][index]["verdict"]["headline"], verdict.headline);
        let interval = arm.headline.as_ref().expect("an interval");
        let p = format!("interval [{:+.4}, {:+.4}]", interval.low, interval.high);
        assert!(verdict.sentence().contains(&p) && verdict.because[0].contains(&p), "{}", verdict.sentence());
        for sentence in std::iter::once(&verdict.headline).chain(&verdict.because) {
            assert!(page.contains(&fold(&escaped(sentence))), "{sentence}");
            let plain: String = sentence.chars().filter(|letter| letter.is_alphanumeric() || *letter == ' ').collect();
            let said: String = text.replace("&lt;", "").replace("&gt;", "").replace("&amp;", "");
            let said: String = said.chars().filter(|letter| letter.is_alphanumeric() || *letter == ' ').collect();
            assert!(said.contains(&plain), "{sentence}");
        }
        let arrow = match verdict.tone {
            Tone::Better => "^{\\uparrow}$ {",
            Tone::Worse => "^{\\downarrow}$ {",
            Tone::Undecided | Tone::None => "$ {",
        };
        let cell = format!("${:+.3}{arrow}\\scriptsize $[{:+.3}", interval.estimate, interval.low);
        assert!(table.contains(&cell), "{cell}: {table}");
    }
    let tones: Vec<Tone> = comparison.arms[1..].iter().map(|arm| comparison.verdict(arm).tone).collect();
    assert_eq!(tones, [Tone::Better, Tone::Worse, Tone::Worse]);
}

/// Written before verdicts rested on headline scores.
#[test]
fn a_comparison_of_before_is_shown_without_a_verdict() {
    let new = ["headline", "corrected_p", "verdict", "gain_headline", "left_out", "pairs", "pilot", "diverged"];
    let mut json = serde_json::to_value(comparison()).expect("JSON");
    for name in ["sampled", "common", "headroom"] {
        json.as_object_mut().expect("an object").remove(name);
    }
    for arm in json["arms"].as_array_mut().expect("arms") {
        new.iter().for_each(|name| drop(arm.as_object_mut().expect("an arm").remove(*name)));
        ["role", "batches"].iter().for_each(|name| drop(arm["arm"].as_object_mut().expect("a spec").remove(*name)));
        for task in arm["tasks"].as_array_mut().expect("tasks") {
            task.as_object_mut().expect("a task").remove("seed_metrics");
        }
        for test in arm["tests"].as_array_mut().expect("tests") {
            test.as_object_mut().expect("a test").remove("sign");
        }
    }
    let old: Comparison = serde_json::from_value(json).expect("an old comparison opens");
    let page = html(&old).expect("a page");
    assert!(page.contains("No interval: no conclusion") && page.contains("made anew from its records"));
    assert!(old.arms[3].arm.role() == Role::Control && !page.contains("Better than"));
}

/// d_z and t of differences that are all equal have no value, and t of them no p.
#[test]
fn equal_differences_have_no_effect_size() {
    let mut comparison = comparison();
    let arm = &mut comparison.arms[1];
    arm.tests = vec![mtl_eval::stats::paired_t(&[0.1; 5]).expect("finite")];
    arm.effect = Some(mtl_eval::stats::cohens_dz(&[0.1; 5]).expect("finite"));
    let text = markdown(&comparison).expect("Markdown");
    assert!(text.contains("| hard+nash | paired t | – | 5 | + | – | no limit | – |"), "{text}");
    assert!(!text.contains("17976931") && !page_of(&comparison).contains("17976931"));
}

fn page_of(comparison: &Comparison) -> String {
    fold(&html(comparison).expect("a page"))
}

#[test]
fn parts_that_are_missing_leave_a_sentence() {
    for (name, comparison) in incomplete() {
        let told = |error| panic!("{name}: {error:?}");
        let page = html(&comparison).unwrap_or_else(told);
        let text = markdown(&comparison).unwrap_or_else(told);
        // The script, and the reason of the broken run, do name it.
        let shown = page.split("<script>").next().expect("a page").replace("is NaN at step", "");
        assert!(!shown.contains("NaN") && !shown.contains(">inf"), "{name}");
        assert!(text.contains("## Verdict") && latex(&comparison).unwrap_or_else(told).contains("\\bottomrule"));
        let rows = csv(&comparison).unwrap_or_else(told).lines().count();
        assert_eq!(rows, 1 + comparison.arms.len() * comparison.tasks.len() * comparison.seeds.len(), "{name}");
    }
    let page = html(&sparse()).expect("a page");
    for sentence in [
        "No learning curve was kept",
        "No arm has weights",
        "were not measured",
        "No critical-difference",
        "None to show",
    ] {
        assert!(page.contains(sentence), "{sentence}");
    }
    let mut odd = comparison();
    odd.arms[1].cosines.pop();
    assert!(html(&odd).expect_err("a contradiction").to_string().contains("hard+nash"));
}

#[test]
fn rows_hold_every_run_and_no_formula() {
    let comparison = comparison();
    let text = csv(&comparison).expect("rows");
    let mut reader = ::csv::Reader::from_reader(text.as_bytes());
    let heads: Vec<String> = reader.headers().expect("heads").iter().map(String::from).collect();
    let column = |name: &str| heads.iter().position(|head| head == name).unwrap_or_else(|| panic!("no column {name}"));
    let rows: Vec<_> = reader.records().map(|row| row.expect("a row")).collect();
    assert_eq!(rows.len(), ARMS.len() * TASKS.len() * comparison.seeds.len());
    for row in &rows {
        for (cell, head) in row.iter().zip(&heads) {
            let number = cell.parse::<f64>().is_ok();
            assert!(number || !cell.starts_with(['=', '+', '-', '@']), "{head} holds the formula {cell}");
        }
    }
    let unguarded = |row: &::csv::StringRecord| row[column("arm")].trim_start_matches('\'').to_string();
    let soft: Vec<_> = rows.iter().filter(|row| unguarded(row) == ARMS[2]).collect();
    assert_eq!(soft[0][column("arm")], format!("'{}", ARMS[2]));
    assert_eq!(soft.iter().filter(|row| &row[column("finished")] == "false").count(), TASKS.len());
    let (row, task) = (soft[0], &comparison.arms[2].tasks[0]);
    assert_eq!(row[column("score")].parse::<f64>().ok(), task.scores[0], "full precision");
    assert_eq!(&row[column("task")], TASKS[0]);
}

/// Means, gains and Δm follow from what the rows hold.
#[test]
fn rows_hold_every_metric_and_every_interval() {
    let comparison = comparison();
    let read = |text: String| -> Vec<std::collections::BTreeMap<String, String>> {
        let mut reader = ::csv::Reader::from_reader(text.as_bytes());
        reader.deserialize().map(|row| row.expect("a row")).collect()
    };
    let metrics = read(metrics_csv(&comparison).expect("rows"));
    let finished: usize = comparison.arms.iter().map(|arm| arm.finished).sum();
    assert_eq!(metrics.len(), 2 * TASKS.len() * finished);
    assert!(metrics.iter().all(|row| row["value"].parse::<f64>().is_ok() && row["split"] == "test"));
    let of =
        |metric: &str, name: &str| metrics.iter().filter(|row| row["metric"] == metric).all(|row| row[name] == "true");
    assert!(!of("mse", "headline") && of("pearson", "headline"));
    let task = &comparison.arms[2].tasks[3];
    let unguarded = |row: &std::collections::BTreeMap<String, String>| row["arm"].trim_start_matches('\'').to_string();
    let own =
        metrics.iter().filter(|row| unguarded(row) == ARMS[2] && row["task"] == TASKS[3] && row["headline"] == "true");
    let values: Vec<f64> = own.map(|row| row["value"].parse().expect("a number")).collect();
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    assert!((mean - task.mean.expect("a mean")).abs() < 1e-12);

    let intervals = read(intervals_csv(&comparison).expect("rows"));
    assert_eq!(intervals.len(), 3 * (1 + TASKS.len() + 3) + 1);
    let contrast = intervals.last().expect("a row");
    assert_eq!((contrast["of"].as_str(), unguarded(contrast).as_str()), ("contrast", ARMS[1]));
    assert_eq!(contrast["against"].trim_start_matches('\''), ARMS[2]);
    let gains: Vec<_> = intervals.iter().filter(|row| row["of"] == "gain").collect();
    for (row, arm) in gains.iter().zip(&comparison.arms[1..]) {
        let found = arm.headline.as_ref().expect("an interval");
        assert_eq!(row["estimate"].parse(), Ok(found.estimate));
        assert_eq!(row["corrected_p"].parse().ok(), arm.corrected_p);
    }
    assert_eq!(gains[2]["role"], "control");
}

#[test]
fn the_best_is_bold_and_the_marks_are_those_of_the_corrected_tests() {
    let table = latex(&comparison()).expect("a table");
    assert_eq!(table.matches("\\mathbf").count(), TASKS.len());
    assert!(
        table.contains("\\begin{table}") && table.contains("\\toprule") && table.trim_end().ends_with("\\end{table}")
    );
    let worse = table.lines().find(|line| line.contains("shuffled labels")).expect("the control's row");
    // Every task and the mean over them.
    assert_eq!(worse.matches("\\downarrow").count(), TASKS.len() + 1, "{worse}");
    assert!(table.contains("mrpc\\_50\\%") && table.contains("\\texttt{[U+AC10]}") && table.contains("\\$x\\$"));
    assert!(latex(&sparse()).expect("a table").contains("Pilot, no conclusion may be drawn"));
}

#[test]
#[allow(clippy::print_stdout)] // A test that is skipped says so.
fn the_table_compiles() {
    if Command::new("pdflatex").arg("--version").output().is_err() {
        println!("skipped: there is no pdflatex here to compile the table with");
        return;
    }
    for (name, comparison) in incomplete().into_iter().chain([("full", comparison())]) {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("table.tex"), latex_document(&comparison).expect("a document"))
            .expect("writes");
        let run = Command::new("pdflatex")
            .args(["-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "table.tex"])
            .current_dir(folder.path())
            .output()
            .expect("pdflatex runs");
        assert!(run.status.success(), "{name}: {}", String::from_utf8_lossy(&run.stdout));
    }
}
