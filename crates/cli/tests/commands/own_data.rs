//! The example `own-data`: a command line whose task kind, metric, reader, generator, sampler, schedule and architecture
//! are not all built in.

use std::path::Path;

use crate::own;
use crate::own_method::own;
use crate::tool::{json, refused};

const RATINGS: &str = r#"
about = "rated texts"
licence = "ours"

[task]
kind = "ordinal"
labels = ["low", "middle", "high"]

[splits]
all = ["ratings.blocks"]

[[source]]
kind = "path"
folder = "."
files = [{ path = "ratings.blocks" }]
"#;

const REPEATS: &str = r#"
about = "generated"
licence = "ours"

[task]
kind = "classification"
metric = "within-one"

[generator]
name = "repeats"
examples = 60
"#;

const RECIPE: &str = r#"
tasks = ["ratings.toml", "repeats.toml"]
checkpoint = "my-model.toml"

[train]
steps = 6
batch = 4
max_tokens = 16

[sampler]
name = "rare-first"

[schedule]
name = "inverse_sqrt"
warmup_steps = 2

[optimizer]
rate = 1e-3

[evaluation]
every = 3
"#;

fn folder() -> tempfile::TempDir {
    let folder = own::folder();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
    let block = |row: usize| {
        let (letter, rating) = (char::from(b'a' + (row % 26) as u8), ["low", "middle", "high"][row % 3]);
        format!("text: {letter} {row}\nlabel: {rating}\n\n")
    };
    write("ratings.blocks", &(0..90).map(block).collect::<String>());
    write("ratings.toml", RATINGS);
    write("repeats.toml", REPEATS);
    write("recipe.toml", RECIPE);
    folder
}

fn report(run: &Path) -> serde_json::Value {
    json(&std::fs::read_to_string(run.join("report.json")).expect("a report"))
}

#[test]
fn members_of_ones_own_are_trained_listed_and_explained() {
    let folder = folder();
    let here = folder.path();
    let own = |arguments: &[&str]| own("own-data", here, arguments);
    own(&["train", "recipe.toml", "--out", "run"]);
    let tasks = &report(&here.join("run"))["tasks"];
    assert_eq!((tasks["ratings"]["kind"].as_str(), tasks["ratings"]["n_test"].as_u64()), (Some("ordinal"), Some(18)));
    for task in ["ratings", "repeats"] {
        assert_eq!(tasks[task]["headline"], "within-one");
        assert!(tasks[task]["test"].as_f64().is_some_and(|score| (0. ..=1.).contains(&score)), "{tasks}");
    }
    assert!(tasks["repeats"]["metrics"]["accuracy"]["dev"].is_number(), "the kind's own metrics stay: {tasks}");
    let log = std::fs::read_to_string(here.join("run/metrics.jsonl")).expect("metrics");
    let rates: Vec<f64> = log.lines().filter_map(|line| json(line)["learning_rate"].as_f64()).collect();
    let expected = [0., 0.5, 1., (3f64 / 4.).sqrt(), (3f64 / 5.).sqrt(), (3f64 / 6.).sqrt()];
    assert!(rates.len() == 6 && rates.iter().zip(expected).all(|(a, b)| (a - 1e-3 * b).abs() < 1e-12), "{rates:?}");
    let scores = own(&["evaluate", "run"]);
    assert!(scores.contains("within-one"), "{scores}");

    for (kind, name) in [
        ("architectures", "bare-bert"),
        ("generators", "repeats"),
        ("metrics", "within-one"),
        ("readers", "blocks"),
        ("samplers", "rare-first"),
        ("schedules", "inverse_sqrt"),
        ("tasks", "ordinal"),
    ] {
        let listed = own(&["list", kind]);
        assert!(listed.lines().any(|line| line.trim_start().starts_with(&format!("{name} "))), "{kind}: {listed}");
        assert!(own(&["explain", name]).contains(name), "{kind}");
    }
    assert!(own(&["explain", "ordinal"]).contains("within-one"));
    assert!(own(&["explain", "within-one"]).contains("classification, ordinal"));
}

/// The plain command line does not know them, and says so of the manifest before it reads any data.
#[test]
fn the_plain_command_line_refuses_them_with_file_and_field() {
    let folder = folder();
    let here = folder.path();
    refused(here, &["train", "recipe.toml"], &["unknown sampler `rare-first`", "recipe.toml"]);
    let plain = RECIPE.replace("rare-first", "uniform").replace("inverse_sqrt", "linear");
    std::fs::write(here.join("plain.toml"), &plain).expect("written");
    refused(here, &["data", "check", "plain.toml"], &["ratings.toml", "[task] kind", "unknown task kind `ordinal`"]);
    std::fs::write(here.join("plain.toml"), plain.replace("\"ratings.toml\", ", "")).expect("written");
    let named = ["repeats.toml", "[generator] name", "unknown generator `repeats`", "planted"];
    refused(here, &["data", "check", "plain.toml"], &named);
}
