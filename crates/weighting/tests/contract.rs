//! What every entry of the registry must keep, whatever the gradients.

mod matrices;

use std::collections::BTreeSet;
use std::path::Path;

use matrices::{Rows, extremes, kinds, play, step};
use mtl_task::Registry;
use mtl_weighting::{Class, Rule, Status, TOLERANCE, Weighting};
use serde_json::{Value, json};

fn build(entry: &Rule, tasks: usize) -> Option<Weighting> {
    match (entry.build)(tasks, &json!({})) {
        Ok(rule) => Some(rule),
        // Only the robust means need more tasks than two to make sense.
        Err(message) => {
            assert!(message.contains("needs at least") && tasks < 4, "{}: {message}", entry.name);
            None
        }
    }
}

fn losses(tasks: usize) -> Vec<f64> {
    (0..tasks).map(|task| 0.4 + 0.3 * task as f64).collect()
}

#[test]
fn every_file_is_entered_and_no_name_is_taken_twice() {
    let rules = Registry::<Rule>::default();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/rules");
    let files: BTreeSet<String> = std::fs::read_dir(folder)
        .expect("the sources")
        .filter_map(|file| Some(file.ok()?.file_name().to_str()?.strip_suffix(".rs")?.replace('_', "-")))
        .filter(|name| name != "mod")
        .collect();
    let entries: BTreeSet<String> = rules.names().into_iter().map(str::to_owned).collect();
    assert_eq!(files, entries);
    let mut names: Vec<&str> = rules.iter().flat_map(|rule| [&[rule.name], rule.aliases].concat()).collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "a name is taken twice");
}

#[test]
fn every_page_has_an_equation_or_words_and_every_setting_explained() {
    for rule in &Registry::<Rule>::default() {
        let page = mtl_task::page(rule.source, &(rule.defaults)());
        assert!(page.lines().next().is_some_and(|line| line.len() > 20), "{}: {page}", rule.name);
        for key in (rule.defaults)().as_object().expect("an object").keys() {
            let explained = page.split(&format!("\n{key} = ")).nth(1).and_then(|rest| rest.lines().nth(1));
            assert!(explained.is_some_and(|line| line.starts_with("    ")), "{}: `{key}` in {page}", rule.name);
        }
    }
    let rules = Registry::<Rule>::default();
    let nash = rules.find("nash").expect("a rule");
    let page = mtl_task::page(nash.source, &(nash.defaults)());
    assert!(page.starts_with("Nash-MTL: ") && page.contains("solved exactly by\n`mtl_nash`"), "{page}");
    assert!(page.contains("\nmax_norm = 1.0\n    The largest norm of the shared direction"), "{page}");
}

#[test]
fn rules_depend_on_no_tensor() {
    let manifest = include_str!("../Cargo.toml");
    let dependencies = manifest.split("[dependencies]").nth(1).and_then(|rest| rest.split("\n[").next());
    let names: Vec<&str> = dependencies
        .expect("dependencies")
        .lines()
        .filter_map(|line| line.split(['.', ' ']).next().filter(|name| !name.is_empty()))
        .collect();
    assert_eq!(names, ["mtl-task", "mtl-nash", "serde", "serde_json"]);
    let workspace = include_str!("../../../Cargo.toml");
    let task = workspace.lines().find(|line| line.starts_with("mtl-task")).expect("mtl-task");
    assert!(task.contains("default-features = false") && !task.contains("candle"), "{task}");
}

#[test]
fn names_and_settings_are_checked_with_a_hint() {
    let rules = Registry::<Rule>::default();
    assert_eq!(rules.find("nash-mtl").expect("an alias").name, "nash");
    assert_eq!(rules.find("sum").expect("an alias").name, "equal");
    let error = rules.find("uncertanty").expect_err("no such rule").to_string();
    assert!(error.contains("did you mean `uncertainty`?"), "{error}");
    for entry in &Registry::<Rule>::default() {
        let defaults = (entry.defaults)();
        let known = defaults.as_object().expect("an object");
        assert!((entry.build)(4, &defaults).is_ok(), "{}: its own defaults are refused", entry.name);
        let error = (entry.build)(4, &json!({"wieghts_of": 1})).err().expect("an unknown setting");
        assert!(error.contains(entry.name) && error.contains("no setting `wieghts_of`"), "{error}");
        if let Some(name) = known.keys().find(|name| name.len() > 3) {
            let misspelt = format!("{name}x");
            let error = (entry.build)(4, &json!({misspelt: 1})).err().expect("an unknown setting");
            assert!(error.contains(&format!("did you mean `{name}`?")), "{error}");
        }
    }
    for (rule, settings) in [
        ("fixed", json!({"weights": [1.0]})),
        ("single-task", json!({"task": 4})),
        ("krum", json!({"byzantine": 2})),
        ("krum", json!({"selected": 5})),
        ("trimmed-mean", json!({"trim": 2})),
        ("nash", json!({"refresh": 0})),
        ("nash", json!({"max_norm": -1})),
        ("fairgrad", json!({"alpha": 0})),
        ("cagrad", json!({"c": -0.1})),
        ("dwa", json!({"window": 0})),
        ("stch", json!({"mu": 0})),
        ("graddrop", json!({"leak": 1.5})),
        ("gradvac", json!({"beta": 2})),
        ("auto-lambda", json!({"primary": [4]})),
        ("auto-lambda", json!({"travel": -1})),
        ("db-mtl", json!({"beta": 2})),
        ("famo", json!({"minimum": [0.0, 1.0]})),
        ("moco", json!({"beta": 1.5})),
        ("stch", json!({"warmup": 2.5})),
        ("excess-mtl", json!({"warmup": 0})),
    ] {
        let error =
            (Registry::<Rule>::default().find(rule).expect("a rule").build)(4, &settings).err().expect("refused");
        assert!(error.contains(rule), "{error}");
    }
}

/// Every rule × every kind of matrix × several steps: the right lengths, and no number that is not finite.
#[test]
fn every_answer_is_finite_whatever_the_gradients() {
    for entry in &Registry::<Rule>::default() {
        for seed in 0..20 {
            for (kind, rows) in kinds(seed) {
                let Some(mut rule) = build(entry, rows.len()) else { continue };
                for number in 0..4 {
                    let mini_batches = vec![rows.clone(); rule.needs().mini_batches];
                    let (outcome, direction) = step(&mut rule, &mini_batches, &losses(rows.len()), number);
                    let name = entry.name;
                    assert!(
                        !matches!(outcome.status, Status::NonFinite(_)) && outcome.residual.is_finite(),
                        "{name} on {kind}: {outcome:?}"
                    );
                    assert!(outcome.weights.iter().all(|w| w.is_finite()), "{name} on {kind}: {outcome:?}");
                    assert!(outcome.weights.len() == rows.len() || entry.class == Class::Jacobian, "{name} on {kind}");
                    assert_eq!(direction.len(), rows[0].len(), "{name} on {kind}");
                    assert!(direction.iter().all(|d| d.is_finite()), "{name} on {kind}");
                    let exact = outcome.status != Status::Agreed || outcome.residual <= 1e-9;
                    assert!(exact, "{name} on {kind}, seed {seed}: {outcome:?}");
                    rule.losses_after_step(&losses(rows.len()));
                }
            }
        }
    }
}

/// Settings beside the defaults under which a rule solves other problems.
fn variants(entry: &Rule) -> Vec<Value> {
    let more = match entry.name {
        "cagrad" => vec![json!({"c": 0.05}), json!({"c": 0.9}), json!({"c": 1}), json!({"c": 3, "rescale": "none"})],
        "fairgrad" => [0.1, 0.5, 2.0, 20.0].map(|alpha| json!({"alpha": alpha, "max_norm": 0})).to_vec(),
        "nash" => vec![json!({"max_norm": 0})],
        "aligned-mtl" => vec![json!({"scale": "median", "preference": "sum"}), json!({"scale": "rmse"})],
        "stch" => vec![json!({"warmup": 0}), json!({"warmup": 2, "mu": 0.01})],
        "moco" => vec![json!({"normalise": false})],
        "famo" => vec![json!({"minimum": -2.0})],
        _ => vec![],
    };
    [vec![json!({})], more].concat()
}

/// Every rule × its settings × gradients up to 1e±150 × losses of every size and sign: what is agreed has finite weights, a
/// finite direction and no residual above the tolerance.
#[test]
fn agreed_is_never_said_of_what_is_not() {
    let losses = |tasks: usize| -> Vec<Vec<f64>> {
        let of = |values: [f64; 4]| (0..tasks).map(|task| values[task % 4]).collect();
        vec![losses(tasks), of([-3.0, 0.0, -1e-3, 2.0]), of([1e-300, 1e300, 1.0, 5e-324])]
    };
    let mut agreed = 0;
    for entry in &Registry::<Rule>::default() {
        for settings in variants(entry) {
            for (kind, rows) in (0..4).flat_map(extremes) {
                for losses in losses(rows.len()) {
                    let Ok(mut rule) = (entry.build)(rows.len(), &settings) else { continue };
                    for number in 0..3 {
                        let mini_batches = vec![rows.clone(); rule.needs().mini_batches];
                        let (outcome, direction) = step(&mut rule, &mini_batches, &losses, number);
                        let case = || format!("{} {settings} on {kind} with {losses:?}: {outcome:?}", entry.name);
                        if matches!(outcome.status, Status::NonFinite(_)) {
                            break;
                        }
                        assert!(
                            outcome.residual.is_finite() && outcome.weights.iter().all(|w| w.is_finite()),
                            "{}",
                            case()
                        );
                        if outcome.status == Status::Agreed {
                            agreed += 1;
                            assert!(outcome.residual <= TOLERANCE, "{}", case());
                            assert!(direction.iter().all(|d| d.is_finite()), "{}, {direction:?}", case());
                        }
                        rule.losses_after_step(&losses);
                    }
                }
            }
        }
    }
    assert!(agreed > 50_000, "only {agreed} agreed");
}

/// Rules that ask for equal projections, or for aligned gradients, have nothing to agree on where gradients are opposed.
#[test]
fn opposed_gradients_are_stationary() {
    let opposed = [vec![vec![1.0, 2.0], vec![-1.0, -2.0]], vec![vec![1.0, 2.0], vec![-3.0, -6.0], vec![0.5, -1.0]]];
    for name in ["aligned-mtl", "cagrad", "config", "fairgrad", "imtl-g", "mgda", "nash"] {
        for rows in &opposed {
            let entry = Registry::<Rule>::default();
            let mut rule = (entry.find(name).expect("a rule").build)(rows.len(), &json!({})).expect("its defaults");
            let (outcome, direction) = step(&mut rule, std::slice::from_ref(rows), &losses(rows.len()), 0);
            let served = rows.iter().all(|row| matrices::dot(row, &direction) > 1e-9);
            assert!(!served && (outcome.status == Status::ParetoStationary || name == "cagrad"), "{name}: {outcome:?}");
        }
    }
    let balance = [0.0, 1.0, 2.0].map(|third: f64| (third * std::f64::consts::TAU / 3.0).sin_cos());
    let rows: Rows = balance.iter().map(|(sine, cosine)| vec![*sine, *cosine]).collect();
    for name in ["config", "imtl-g"] {
        let entry = Registry::<Rule>::default();
        let mut rule = (entry.find(name).expect("a rule").build)(3, &json!({})).expect("its defaults");
        let (outcome, direction) = step(&mut rule, std::slice::from_ref(&rows), &losses(3), 0);
        assert_eq!((outcome.status, direction), (Status::ParetoStationary, vec![0.0, 0.0]), "{name}");
    }
}

#[test]
fn what_is_not_finite_names_its_task_and_spoils_no_state() {
    for entry in &Registry::<Rule>::default() {
        let rows = kinds(3).remove(0).1;
        for corrupted in [f64::NAN, f64::INFINITY] {
            let mut rule = build(entry, 4).expect("four tasks are enough");
            play(&mut rule, &rows, &losses(4), 0..3);
            let before = rule.state();
            let mut bad: Rows = rows.clone();
            let mut bad_losses = losses(4);
            if entry.class == Class::Losses {
                bad_losses[2] = corrupted
            } else {
                bad[2][5] = corrupted
            }
            let mini_batches = vec![bad; rule.needs().mini_batches];
            let (outcome, direction) = step(&mut rule, &mini_batches, &bad_losses, 3);
            assert_eq!(outcome.status, Status::NonFinite(2), "{}", entry.name);
            assert!(direction.iter().all(|d| !d.is_finite() || *d == 0.0), "{}", entry.name);
            assert_eq!(rule.state(), before, "{}", entry.name);
        }
    }
}

#[test]
fn a_restored_rule_goes_on_bit_for_bit() {
    for entry in &Registry::<Rule>::default() {
        for (kind, rows) in kinds(1).into_iter().filter(|(kind, _)| ["normal", "scaled", "zero"].contains(kind)) {
            let mut whole = build(entry, 4).expect("four tasks are enough");
            play(&mut whole, &rows, &losses(4), 0..30);
            let mut resumed = build(entry, 4).expect("four tasks are enough");
            resumed.restore(&whole.state()).expect("its own state");
            assert_eq!(resumed.state(), whole.state(), "{}", entry.name);
            let (there, here) =
                (play(&mut whole, &rows, &losses(4), 30..60), play(&mut resumed, &rows, &losses(4), 30..60));
            assert_eq!(there, here, "{} on {kind}", entry.name);
            assert_eq!(resumed.state(), whole.state(), "{}", entry.name);
            let mut other = build(entry, 5).expect("five tasks are enough");
            if whole.state().values().any(|values| values.len() >= 4) {
                assert!(other.restore(&whole.state()).is_err(), "{} takes the state of fewer tasks", entry.name);
            }
        }
    }
}

/// What `rule` over losses answers to `losses` in step `step`.
fn weights_of(rule: &mut Weighting, step: usize, losses: &[f64]) -> Vec<f64> {
    let progress = mtl_task::Progress { step, of: 250 };
    let key = mtl_task::rng::Key::new(step as u64);
    let Weighting::Losses(rule) = rule else { panic!("a rule over losses") };
    rule.weights(&mtl_weighting::StepInputs { losses, likelihood: &[], progress, key }).weights
}

#[test]
fn rules_that_know_their_weights_before_the_losses_say_so_and_no_others() {
    let tasks = 4;
    let mut known = BTreeSet::new();
    for entry in Registry::<Rule>::default().iter().filter(|entry| entry.class == Class::Losses) {
        let (mut rule, mut depends) = (build(entry, tasks).expect("any number of tasks"), false);
        for step in 0..250 {
            let state = rule.state();
            let one = weights_of(&mut rule, step, &losses(tasks));
            rule.restore(&state).expect("its own state");
            depends |= weights_of(&mut rule, step, &[7., 0.01, 2. + step as f64, 0.5]) != one;
        }
        assert_eq!(rule.weights_precede_losses(), !depends, "{}", entry.name);
        if !depends {
            known.insert(entry.name);
        }
    }
    assert!(known.contains("equal") && known.contains("uncertainty") && !known.contains("famo"), "{known:?}");
}
