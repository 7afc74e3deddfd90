//! Arms that learn from other arms' runs: of the same seed, tuned after them, charged with them.

use mtl_compare::{Ended, Engine, Experiment, Planned, Purpose, Silent, compare};
use mtl_train::{Recipe, Teachers};

use crate::comparison::{SMALL, experiment, finished, lines, options, timeless};
use crate::library::{Shipped, document};

const TAUGHT: &str = r#"
[[arm]]
strategy = "hard"
rule = "equal"

[[arm]]
name = "bam"
strategy = "hard"
rule = "equal"
set = { distill = { teachers = "arm:single" } }
"#;
const TUNED: &str = r#"
[tune]
method = "grid"
keys = { "optimizer.rate" = [1e-3, 3e-3] }
seeds = [1000, 1001]
steps = 2
"#;

/// The one folder that `line` learns from.
fn teacher(line: &Planned) -> String {
    let recipe = Recipe::parse_resolved(&Default::default(), "line", &line.recipe).expect("a recipe");
    match recipe.distill.expect("a teacher").teachers {
        Teachers::All(folder) => folder,
        other => panic!("one folder was asked for, found {other:?}"),
    }
}

#[test]
fn a_student_learns_from_the_run_of_its_seed_wherever_it_is_stopped() {
    let experiment = experiment(&format!("{TAUGHT}{TUNED}"));
    let (whole, parts) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let comparison = finished(&experiment, whole.path());
    let lines = lines(whole.path());
    let of = |arm: &str, purpose: Purpose| -> Vec<&Planned> {
        lines.iter().filter(|line| line.arm == arm && line.purpose == purpose).collect()
    };
    // Two trials by two seeds each; the teacher once more by each, as it was tuned.
    assert_eq!(["single", "hard+equal", "bam"].map(|arm| of(arm, Purpose::Tune).len()), [6, 4, 4]);
    let first = of("bam", Purpose::Final)[0].stage;
    assert!(lines.iter().all(|line| line.arm == "bam" || line.stage < first), "students come last");
    let opened = lines.iter().filter(|line| line.purpose == Purpose::Final).map(|line| line.stage).min();
    assert!(lines.iter().all(|line| line.purpose == Purpose::Final || Some(line.stage) < opened), "test opens last");
    for purpose in [Purpose::Tune, Purpose::Final] {
        for line in of("bam", purpose) {
            let fits = |known: &&&Planned| known.seed == line.seed && known.keep;
            let single = of("single", purpose);
            let known = single.iter().find(fits).expect("a teacher");
            assert_eq!(teacher(line), format!("../{}", known.id));
            assert!(known.stage < line.stage);
        }
    }
    let arm = |name: &str| comparison.arms.iter().find(|arm| arm.arm.name == name).expect("an arm");
    assert_eq!((arm("bam").finished, arm("bam").broken.len()), (2, 0), "{:?}", arm("bam").broken);
    assert!(arm("bam").cpu_seconds > arm("single").cpu_seconds, "it is charged with its teacher");
    assert!(arm("bam").tuning_cpu_seconds > arm("single").tuning_cpu_seconds);
    let said = comparison.warnings.join("\n");
    assert!(said.contains("`bam` learns from the runs of `single`, and is charged with them too"), "{said}");
    assert!(!said.contains("as many trials to begin with"), "{said}");
    // Run by run it ends alike.
    let ended = loop {
        let options = options(parts.path(), Engine::Local(1), Some(1));
        match compare(&experiment, &options, &Shipped, &mut Silent).expect("compared") {
            Ended::Finished(comparison) => break *comparison,
            Ended::Stopped { .. } => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(timeless(ended), timeless(comparison));
}

#[test]
fn teachers_that_are_no_arms_or_cannot_teach_are_refused() {
    let refused = |more: &str| {
        let text = format!("{SMALL}{more}");
        let found = Experiment::parse("x", &document("x", &text), &[], &Shipped).and_then(|found| found.arms());
        match found {
            Ok((_, refused)) => refused.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
            Err(error) => format!("{error:#}"),
        }
    };
    let error = refused(&TAUGHT.replace("arm:single", "arm:singel"));
    assert!(
        error.contains("arm `bam`: its teacher `singel` is none of the arms") && error.contains("`single`"),
        "{error}"
    );
    let chain = TAUGHT
        .replace("name = \"bam\"", "name = \"first\"")
        .replace("[[arm]]\nstrategy = \"hard\"\nrule = \"equal\"\n\n", "")
        + "\n[[arm]]\nname = \"bam\"\nstrategy = \"hard\"\nset = { distill = { teachers = \"arm:first\" } }\n";
    assert!(refused(&chain).contains("its teacher `first` has a teacher itself"), "{}", refused(&chain));
    let often = TAUGHT.replacen("rule = \"equal\"\n", "rule = \"equal\"\nname = \"often\"\nrestarts = 2\n", 1);
    let error = refused(&often.replace("arm:single", "arm:often"));
    assert!(error.contains("its teacher `often` is trained 2 times a seed"), "{error}");
    // An arm that cannot be trained teaches nobody.
    let cannot = "[[arm]]\nstrategy = \"single\"\n[[arm]]\nname = \"odd\"\nstrategy = \"single\"\nrule = \"nash\"\n";
    let error = refused(&format!("{cannot}{}", TAUGHT.replace("arm:single", "arm:odd")));
    assert!(error.contains("arm `bam`: its teacher `odd` is not trained"), "{error}");
}
