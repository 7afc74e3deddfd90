//! Learning rates and weight decay by kind of parameter, and runs of before there were any.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Device;
use mtl_sharing::Role;
use mtl_task::{Progress, TaskId};
use mtl_train::{DevSplits, Recipe, Silent, Trained};
use sha2::{Digest, Sha256};

use crate::tiny::{Break, assembled, hash, new, recipe, run};

const PLAIN: [&str; 6] = [
    "train.precision=f64",
    "train.clip=0.0",
    "optimizer.name=sgd",
    "optimizer.momentum=0.0",
    "optimizer.weight_decay=0.0",
    "optimizer.rate=0.5",
];

/// What one step at base rate 0.5 takes from each parameter, by its name, and the role of each.
fn taken(overrides: &[&str]) -> BTreeMap<String, (Role, Vec<f64>)> {
    let mut assembled = assembled(&recipe(&[&PLAIN[..], overrides].concat()));
    let values = |assembled: &mtl_train::Assembled| -> BTreeMap<String, Vec<f64>> {
        let params = assembled.trainer.model.params.iter();
        let flat = |param: &mtl_backbone::Param| param.tensor().flatten_all()?.copy()?.to_vec1::<f64>();
        params.map(|param| (param.name().to_string(), flat(param).expect("values"))).collect()
    };
    let before = values(&assembled);
    let batch = |(task, dataset): (usize, &mtl_data::Dataset)| {
        mtl_data::collate(TaskId(task), &dataset.train.examples[..4], true)
    };
    let batches = assembled.datasets.iter().enumerate().map(batch).collect();
    let progress = Progress { step: 0, of: 4 };
    assembled.trainer.step(&[batches], progress, 0.5, &DevSplits::none()).expect("a step");
    let after = values(&assembled);
    let topology = &assembled.trainer.model.topology;
    let difference = |(name, before): (String, Vec<f64>)| {
        let taken = before.iter().zip(&after[&name]).map(|(before, after)| before - after).collect();
        let role = topology.role_of(&name);
        (name, (role, taken))
    };
    before.into_iter().map(difference).collect()
}

/// Whether every parameter moved `factor` times as far with `overrides` as at one rate for all.
fn moved_by(overrides: &[&str], more: &[&str], factor: impl Fn(&str, Role) -> f64) {
    // A strategy refuses roles that it lacks.
    let known = recipe(&[&PLAIN[..], overrides].concat()).groups;
    let tables: Vec<String> = known.keys().map(|role| format!("{role} = {{ scale = 1.0 }}")).collect();
    let uniform = format!("optimizer.groups={{ {} }}", tables.join(", "));
    let plain = taken(&[overrides, &[uniform.as_str()]].concat());
    let paced = taken(&[overrides, more].concat());
    let mut met = 0.;
    for (name, (role, expected)) in &plain {
        let factor = factor(name, *role);
        for (expected, found) in expected.iter().zip(&paced[name].1) {
            let wanted = factor * expected;
            assert!((found - wanted).abs() <= 1e-9 * wanted.abs() + 1e-12, "{name} ({role}): {found} {wanted}");
            met += found.abs();
        }
    }
    assert!(met > 0.);
}

#[test]
fn each_kind_of_parameter_has_its_default_multiple_of_the_base_rate() {
    moved_by(&[], &[], |_, role| if role == Role::Head { 10. } else { 1. });
    for (strategy, expected) in [("lora", 20.), ("bitfit", 30.), ("adapter", 20.), ("prefix", 100.), ("mtl-lora", 20.)]
    {
        let set = format!("sharing.strategy={strategy}");
        moved_by(&[&set, "optimizer.rate=1e-4"], &[], |_, role| match role {
            Role::Head => 10.,
            Role::Added => expected,
            Role::Encoder | Role::Mixing => 1.,
        });
    }
    // No default lifts what is added above 0.02.
    let bounded = |rate: &str| recipe(&["sharing.strategy=prefix", rate]).group(Role::Added).scale;
    assert_eq!(bounded("optimizer.rate=1e-3"), Some(20.));
    assert_eq!(bounded("optimizer.rate=0.5"), Some(1.));
}

#[test]
fn a_recipe_states_scales_and_rates_beside_those_of_tasks() {
    let scaled = ["optimizer.groups={ head = { scale = 3.0 }, encoder = { scale = 0.5 } }"];
    moved_by(&[], &scaled, |_, role| if role == Role::Head { 3. } else { 0.5 });
    // A stated rate holds whatever the base rate is, a task's own base rate is multiplied like the common one.
    let stated = ["optimizer.groups.head.rate=2.0", "optimizer.task_rates={ topic = 0.25 }"];
    moved_by(&[], &stated, |_, role| if role == Role::Head { 4. } else { 1. });
    let scaled = ["optimizer.groups.head.scale=4.0", "optimizer.task_rates={ topic = 0.25 }"];
    moved_by(&["sharing.strategy=single"], &scaled, |name, role| {
        let base = if name.starts_with("task.topic/") { 0.5 } else { 1. };
        base * if role == Role::Head { 4. } else { 1. }
    });
    // Nothing of the encoder moves.
    moved_by(&[], &["optimizer.groups.encoder.scale=0.0"], |_, role| if role == Role::Head { 10. } else { 0. });
}

#[test]
fn a_group_has_a_weight_decay_of_its_own() {
    let uniform = "optimizer.groups={ encoder = { scale = 1.0 }, head = { scale = 1.0 } }";
    let decayed = "optimizer.groups={ encoder = { scale = 1.0 }, head = { scale = 1.0, weight_decay = 0.5 } }";
    let (plain, decayed) = (taken(&[uniform]), taken(&[decayed]));
    for (name, (role, plain)) in &plain {
        let same = plain.iter().zip(&decayed[name].1).all(|(a, b)| a == b);
        let spared = name.ends_with("bias");
        assert_eq!(same, *role != Role::Head || spared, "{name}");
    }
}

#[test]
fn a_resolved_recipe_has_the_groups_written_out_and_another_strategy_its_own() {
    let lora = recipe(&["sharing.strategy=lora", "optimizer.groups.added.scale=7.0", "optimizer.rate=1e-4"]);
    let text = lora.to_toml().expect("TOML");
    assert!(text.contains("[optimizer.groups.added]\nscale = 7.0"), "{text}");
    assert!(text.contains("[optimizer.groups.head]\nscale = 10.0"), "{text}");
    let set = ["sharing.strategy=prefix".to_string()];
    let (prefix, dropped) = Recipe::parse(&Default::default(), "again", &text, &set).expect("a recipe");
    assert_eq!(prefix.group(Role::Added).scale, Some(100.));
    let said: Vec<String> = dropped.iter().map(ToString::to_string).collect();
    assert!(said.iter().any(|line| line == "[optimizer.groups] keys of `lora` dropped: added"), "{said:?}");
    // Encoders and heads are any strategy's, and so is what another optimizer is told of them.
    let set = ["sharing.strategy=hard".to_string(), "optimizer.name=sgd".to_string()];
    let text = text.replace("scale = 10.0", "scale = 5.0");
    let (hard, _) = Recipe::parse(&Default::default(), "again", &text, &set).expect("a recipe");
    assert_eq!(hard.group(Role::Head).scale, Some(5.));
}

#[test]
fn groups_that_cannot_be_are_refused_with_their_place_and_the_remedy() {
    let refused = |overrides: &[&str], named: &[&str]| {
        let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_string()).collect();
        let text = "tasks = [\"a\", \"b\"]\ncheckpoint = \"m\"\n";
        let error = Recipe::parse(&Default::default(), "my.toml", text, &overrides).expect_err("refused");
        let error = format!("{error:#}");
        named.iter().for_each(|part| assert!(error.contains(part), "`{part}` is missing in: {error}"));
    };
    refused(&["optimizer.groups=3"], &["--set optimizer.groups", "must be a table, found 3"]);
    refused(&["optimizer.groups.heads.scale=1.0"], &["--set optimizer.groups", "`heads`", "did you mean `head`?"]);
    refused(&["optimizer.groups.head.scal=1.0"], &["`scal` in [optimizer.groups.head]", "did you mean `scale`?"]);
    refused(&["optimizer.groups.head=1.0"], &["`head` cannot be 1.0", "write { scale = 10.0 }"]);
    refused(&["optimizer.groups.head.scale=-1.0"], &["`scale` must be a finite number of at least 0, found -1"]);
    refused(&["optimizer.groups.head={ scale = 1.0, rate = 1.0 }"], &["state one of them"]);
    refused(
        &["sharing.strategy=single", "optimizer.groups.added.scale=2.0"],
        &["strategy `single` has no parameters of the kind `added`, only encoder, head", "leave it out"],
    );
    refused(&["optimizer.rate=0.0", "optimizer.groups.head.rate=1.0"], &["which is 0", "hold still by `scale = 0.0`"]);
    refused(&["optimizer.groups.head.scale.x=1.0"], &["`head` cannot be"]);
    refused(&["tasks.x.y=1"], &["--set tasks"]);
}

/// Makes the run in `folder` one of before there were groups, roles and logged intervals.
fn age(folder: &Path) {
    let path = folder.join("recipe.toml");
    let mut table: toml::Table = std::fs::read_to_string(&path).expect("a recipe").parse().expect("TOML");
    table["optimizer"].as_table_mut().expect("a table").remove("groups").expect("written out");
    table["train"].as_table_mut().expect("a table").remove("log_gradients").expect("written out");
    let text = toml::to_string(&table).expect("TOML");
    std::fs::write(&path, &text).expect("written");
    let hex = |bytes: &[u8]| Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let checkpoint = folder.join("checkpoints/last");
    let json = |name: &str| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(checkpoint.join(name)).expect(name)).expect("JSON")
    };
    let (mut state, mut structure, mut manifest) = (json("state.json"), json("structure.json"), json("manifest.json"));
    state["recipe"] = hex(text.as_bytes()).into();
    structure["topology"].as_object_mut().expect("an object").remove("roles").expect("saved");
    for (name, value) in [("state.json", state), ("structure.json", structure)] {
        let bytes = serde_json::to_vec(&value).expect("JSON");
        manifest[name] = hex(&bytes).into();
        std::fs::write(checkpoint.join(name), bytes).expect("written");
    }
    std::fs::write(checkpoint.join("manifest.json"), serde_json::to_vec(&manifest).expect("JSON")).expect("written");
}

#[test]
fn a_run_of_before_opens_and_goes_on_with_one_rate_for_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let one = recipe(&[
        "optimizer.groups={ encoder = { scale = 1.0 }, head = { scale = 1.0 }, added = { scale = 1.0 }, mixing = { scale = 1.0 } }",
    ]);
    let whole = folder.path().join("whole");
    run(&one, &whole);
    let old = folder.path().join("old");
    new(&one, &old, false).expect("a run").execute(&mut Break { at: 2, now: 0 }).expect("interrupted");
    age(&old);
    // It goes on from the same recipe as ever, more than once, and not from another one.
    let plain = recipe(&[]);
    let error = new(&recipe(&["optimizer.groups.head.scale=2.0"]), &old, true).err().expect("another recipe");
    assert!(format!("{error:#}").contains("of another recipe"), "{error:#}");
    new(&plain, &old, true).expect("resumed").execute(&mut Break { at: 3, now: 0 }).expect("interrupted");
    new(&plain, &old, true).expect("resumed").execute(&mut Silent).expect("trained");
    for file in ["model.safetensors", "optimizer.safetensors"] {
        assert_eq!(hash(&old, file), hash(&whole, file), "{file}");
    }
    let trained = Trained::open(&Default::default(), &old, &Device::Cpu).expect("it opens");
    assert_eq!(trained.recipe.group(Role::Head).scale, Some(1.));
    assert_eq!(trained.model().topology.role_of("task.topic/head.weight"), Role::Head);
    // A run of today has the rates of today.
    let today = folder.path().join("today");
    run(&plain, &today);
    assert_ne!(hash(&today, "model.safetensors"), hash(&whole, "model.safetensors"));
    let trained = Trained::open(&Default::default(), &today, &Device::Cpu).expect("it opens");
    assert_eq!(trained.recipe.group(Role::Head).scale, Some(10.));
}

#[test]
fn the_report_says_which_rates_there_were() {
    let folder = tempfile::tempdir().expect("a folder");
    let report = run(&recipe(&["sharing.strategy=lora", "optimizer.rate=1e-4"]), folder.path());
    let near = |role: &str, rate: f64| (report.learning_rates[role] / rate - 1.).abs() < 1e-12;
    assert!(report.learning_rates.len() == 2 && near("added", 2e-3) && near("head", 1e-3), "{report:?}");
    let page = std::fs::read_to_string(folder.path().join("report.md")).expect("a report");
    assert!(page.contains("What to raise for them: `train.steps` (4 here)"), "{page}");
    assert!(page.contains("`[optimizer.groups]`; here added"), "{page}");
}
