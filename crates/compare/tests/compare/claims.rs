//! Claims: their hash enters the plan, their differences the rows, and rows judge them.

use std::path::Path;

use mtl_compare::{Claimed, Document, Experiment, Plan};
use mtl_report::claims::{Outcome, Stated};
use mtl_report::paper::Rows;

use crate::comparison::{SMALL, finished};
use crate::library::Shipped;
use crate::measuring::planned;

const ARMS: &str = "\n[[arm]]\nstrategy = \"hard\"\nrule = \"equal\"\n[[arm]]\nstrategy = \"soft\"\nrule = \"equal\"\n";
const CLAIMS: &str = r#"
level = 0.05
detectable = 0.01
suites = { all = "small" }

[[claim]]
name = "better"
arm = "hard+equal"
above = -2.0
part = [{ suites = { all = ["soft", "single"] } }]
"#;

fn experiment(folder: &Path) -> anyhow::Result<Experiment> {
    let text = format!("claims = \"claims.toml\"\n{SMALL}{ARMS}");
    let document = Document { name: "small".into(), location: "small.toml".into(), folder: folder.into(), text };
    Experiment::parse("small", &document, &[], &Shipped)
}

fn rows(out: &Path) -> Rows {
    let files = mtl_report::paper::FILES.map(|name| (name, std::fs::read_to_string(out.join(name))));
    let files: Vec<(&str, String)> = files.into_iter().filter_map(|(name, text)| Some((name, text.ok()?))).collect();
    Rows::parse("small", &files).expect("rows")
}

#[test]
fn a_claim_stands_in_the_plan_before_test_is_opened_and_is_judged_by_the_rows() {
    let folder = tempfile::tempdir().expect("a folder");
    let (here, out) = (folder.path(), folder.path().join("out"));
    let file = here.join("claims.toml");
    std::fs::write(&file, CLAIMS).expect("written");
    planned(&experiment(here).expect("an experiment"), &out);
    let claimed = Claimed::read(&file).expect("claims");
    assert!(Plan::open(&out).is_ok_and(|plan| !plan.lines().is_empty()));
    let header = std::fs::read_to_string(out.join("plan.json")).expect("a header");
    assert!(claimed.digits.len() == 64 && header.contains(&claimed.words()), "{header}");

    let comparison = finished(&experiment(here).expect("an experiment"), &out);
    let contrast = &comparison.contrasts;
    assert_eq!(contrast.len(), 1, "the difference from the baseline is a gain: {contrast:?}");
    let mean = |arm: &str| {
        let arm = comparison.arms.iter().find(|found| found.arm.name == arm).expect("an arm");
        arm.tasks.iter().map(|task| task.mean.expect("a mean")).sum::<f64>() / arm.tasks.len() as f64
    };
    let difference = mean("hard+equal") - mean("soft");
    assert!((contrast[0].headline.estimate - difference).abs() < 1e-12, "{contrast:?}");
    assert!(!comparison.warnings.join("\n").contains("changed after"), "{:?}", comparison.warnings);

    // Two seeds of four steps are a pilot, from which nothing follows.
    let judged = claimed.claims.judge(&[rows(&out)], &claimed.digits).expect("judged");
    assert_eq!((judged[0].outcome, &judged[0].stated), (Outcome::Uninformative, &Stated::Before));
    assert!(judged[0].lines().join("\n").contains("`small` is a pilot"), "{judged:?}");
    // As if they were none: the rows have both intervals, and two seeds detect nothing.
    let mut whole = rows(&out);
    whole.pilot = false;
    let judged = claimed.claims.judge(&[whole], &claimed.digits).expect("judged");
    assert_eq!(judged[0].outcome, Outcome::Uninformative, "{judged:?}");
    assert!(judged[0].lines().join("\n").contains("its rows detect more than 1 and no less, 0.01 is allowed"));
    assert!(judged[0].compared.iter().all(|one| one.interval.is_some()), "{judged:?}");

    // Another file is another claim, and the rows keep the hash of the first.
    std::fs::write(&file, CLAIMS.replace("-2.0", "-3.0")).expect("written");
    let comparison = finished(&experiment(here).expect("an experiment"), &out);
    let said = comparison.warnings.join("\n");
    assert!(said.contains("changed after the test splits were opened: claims: was `claims.toml, sha256"), "{said}");
    assert_eq!(comparison.provenance["claims"], claimed.words());
    let other = Claimed::read(&file).expect("claims");
    let judged = other.claims.judge(&[rows(&out)], &other.digits).expect("judged");
    assert_eq!(judged[0].stated, Stated::NotInPlan(vec!["all".into()]));
}

#[test]
fn claims_that_do_not_fit_their_experiment_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let error = |text: &str| {
        std::fs::write(here.join("claims.toml"), text).expect("written");
        let found = experiment(here).and_then(|experiment| experiment.arms().map(drop));
        format!("{:#}", found.expect_err("refused"))
    };
    let said = error(&CLAIMS.replace("all = \"small\"", "all = \"other\""));
    assert!(said.contains("claims.toml asks nothing of `small`; its suites are other"), "{said}");
    let said = error(&CLAIMS.replace("\"soft\", ", "\"sofft\", "));
    assert!(said.contains("`sofft` is none of the arms") && said.contains("soft"), "{said}");
    let said = error(&CLAIMS.replace("level = 0.05", "level = 0.05\nlevl = 1"));
    assert!(said.contains("levl") && said.contains("claims.toml"), "{said}");
    std::fs::remove_file(here.join("claims.toml")).expect("removed");
    assert!(format!("{:#}", experiment(here).expect_err("refused")).contains("cannot read"));
}
