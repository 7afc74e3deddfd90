//! A choice ends in a run folder like any other, keeps to its budget and to what evidence forbids, and goes on from any
//! kill with the same result.

use std::path::{Path, PathBuf};

use candle_core::Device;
use mtl_compare::choose::{CANDIDATES, Choice, Chose, Options, choose};
use mtl_data::Texts;
use mtl_data::manifest::{DatasetManifest, ModelManifest};
use mtl_train::{Located, LocatedDataset, LocatedModel, Observer, Plan, Recipe, Silent, StepReport, Trained};

const KINDS: [(&str, &str); 5] = [
    ("clash", "classification"),
    ("genre", "classification"),
    ("mood", "regression"),
    ("tags", "tagging"),
    ("topic", "classification"),
];

const RECIPE: &str = r#"
tasks = ["topic", "clash", "genre"]
checkpoint = "tiny"
weighting = { rule = "equal" }
train = { steps = 40, batch = 12, max_tokens = 24, dropout = 0.0 }
optimizer = { name = "adamw", rate = 2e-3, groups = { head = { scale = 1.0 } } }
evaluation = { every = 10, dev_limit = 40, test_limit = 40 }
"#;

fn recipe(overrides: &[&str]) -> Recipe {
    let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_string()).collect();
    Recipe::parse(&Default::default(), "tiny.toml", RECIPE, &overrides).expect("a recipe").0
}

fn located(recipe: &Recipe) -> Located {
    let manifest: ModelManifest = toml::from_str(
        "about = \"\"\nlicence = \"\"\narchitecture = \"bert\"\n[random]\nhidden_size = 16\nnum_hidden_layers = 2\n\
         num_attention_heads = 2\nintermediate_size = 32\nmax_position_embeddings = 32\ntype_vocab_size = 2\n\
         hidden_act = \"gelu\"\nlayer_norm_eps = 1e-12\ninitializer_range = 0.05\n",
    )
    .expect("a manifest");
    let dataset = |name: &String| {
        let (_, kind) = KINDS.iter().find(|(known, _)| known == name).expect("a task of the suite");
        let manifest: DatasetManifest = toml::from_str(&format!(
            "about = \"\"\nlicence = \"\"\n[task]\nkind = \"{kind}\"\n[generator]\nname = \"planted\"\ntask = \
             \"{name}\"\nexamples = 240\n"
        ))
        .expect("a manifest");
        LocatedDataset { name: name.clone(), manifest, folder: PathBuf::new() }
    };
    let model = LocatedModel { name: "tiny".into(), manifest, folder: None };
    Located { datasets: recipe.tasks.iter().map(dataset).collect(), model }
}

fn options(out: &Path) -> Options {
    Options {
        out: out.to_path_buf(),
        candidates: CANDIDATES.map(String::from).to_vec(),
        budget: 2.,
        every: 10,
        fresh: false,
        recipe_name: "tiny".into(),
        commit: None,
        device_name: "cpu".into(),
    }
}

fn chosen(recipe: &Recipe, options: &Options, observer: &mut dyn Observer) -> Option<Choice> {
    match choose(recipe, &located(recipe), options, &Device::Cpu, observer).expect("chosen") {
        Chose::Finished(choice) => Some(*choice),
        Chose::Interrupted => None,
    }
}

/// What has to be the same of two choices: all but times.
fn lasting(choice: &Choice) -> Choice {
    let mut choice = choice.clone();
    choice.cost.seconds = 0.;
    choice.candidates.iter_mut().for_each(|tried| tried.seconds = 0.);
    (choice.report.seconds, choice.report.tokens_per_second) = (0., 0.);
    choice.report.test_opened_at = None;
    choice
}

fn weights(out: &Path) -> Vec<u8> {
    std::fs::read(out.join("checkpoints/last/model.safetensors")).expect("a checkpoint")
}

/// Asks to stop after so many steps of all candidates together.
struct StopAfter {
    left: usize,
}

impl Observer for StopAfter {
    fn begin(&mut self, _plan: &Plan) {}

    fn step(&mut self, _step: usize, _of: usize, _rate: f64, _report: &StepReport) {
        self.left = self.left.saturating_sub(1);
    }

    fn interrupted(&self) -> bool {
        self.left == 0
    }
}

#[test]
fn a_choice_is_a_run_like_any_other_within_its_budget_and_goes_on_from_any_stop() {
    let place = tempfile::tempdir().expect("a folder");
    let recipe = recipe(&["sharing.strategy=groups", "sharing.warmup_steps=10", "weighting.rule=nash"]);
    let whole = place.path().join("whole");
    let choice = chosen(&recipe, &options(&whole), &mut Silent).expect("finished");
    assert_eq!(choice.tasks.iter().map(|task| task.name.as_str()).collect::<Vec<_>>(), ["topic", "clash", "genre"]);
    assert!(choice.cost.passes <= 2 * choice.cost.training && choice.cost.training == 120, "{:?}", choice.cost);
    assert_eq!(choice.cost.passes, choice.candidates.iter().map(|tried| tried.passes).sum::<usize>());
    // What wants the opposite of the same words never shares with them.
    assert!(choice.groups.contains(&vec!["clash".to_string()]), "{:?} {:?}", choice.groups, choice.conflicts);
    for task in &choice.tasks {
        let tried = choice.candidates.iter().find(|tried| tried.name == task.taken).expect("a candidate");
        assert!(tried.continued.contains(&task.name) && tried.left_out.is_empty(), "{task:?} {tried:?}");
        assert!(task.dev > 0 && task.step > 0);
    }
    assert!(choice.report.test_opened_at.is_some() && choice.report.strategy == "groups");

    // The folder answers with each task's kept weights.
    let trained = Trained::open(&Default::default(), &whole, &Device::Cpu).expect("it opens");
    let components = trained.model().topology.components();
    assert_eq!(components.len(), choice.groups.len());
    let (topic, _) = trained.task("topic").expect("a task");
    assert_eq!(trained.answer(topic, &[Texts::One("subab mobab".into())]).expect("an answer").len(), 1);
    for task in &choice.tasks {
        let looks = std::fs::read_to_string(whole.join("candidates").join(&task.taken).join("looks.json"));
        let looks: serde_json::Value = serde_json::from_str(&looks.expect("looks")).expect("JSON");
        let looks = looks["looks"].as_array().expect("a list");
        let look = looks.iter().find(|look| look["step"] == task.step).expect("the look that was kept");
        let at = choice.tasks.iter().position(|known| known.name == task.name).expect("a task");
        let score = look["tasks"][at]["score"].as_f64().expect("a score");
        let found = choice.report.tasks[&task.name].dev;
        assert!((score - found).abs() < 1e-12, "{}: {score} when it was kept, {found} in the run folder", task.name);
        assert!(look["step"].as_u64().is_some());
    }

    // Stopped again and again.
    for pace in [7, 33] {
        let broken = place.path().join(format!("broken-{pace}"));
        let mut stops = 0;
        let again = loop {
            match chosen(&recipe, &options(&broken), &mut StopAfter { left: pace }) {
                Some(choice) => break choice,
                None => stops += 1,
            }
        };
        assert!(stops > 0, "it was never stopped");
        assert_eq!(lasting(&again), lasting(&choice), "stopped every {pace} steps");
        assert_eq!(weights(&broken), weights(&whole), "stopped every {pace} steps");
    }
    // Given again, it says the same.
    assert_eq!(lasting(&chosen(&recipe, &options(&whole), &mut Silent).expect("finished")), lasting(&choice));
}

#[test]
fn numbers_and_tags_are_chosen_for_too() {
    let place = tempfile::tempdir().expect("a folder");
    let recipe = recipe(&["tasks=[\"mood\", \"tags\", \"topic\"]", "train.steps=16", "evaluation.test=sealed"]);
    let mut options = options(&place.path().join("out"));
    options.candidates = vec!["single".into(), "hard".into(), "soft".into()];
    let choice = chosen(&recipe, &options, &mut Silent).expect("finished");
    assert_eq!(choice.report.test_opened_at, None);
    for task in &choice.tasks {
        for (name, gain) in &task.gains {
            let finite =
                [gain.mean, gain.error, gain.expected, gain.low, gain.high].iter().all(|value| value.is_finite());
            assert!(finite && gain.low <= gain.expected && gain.expected <= gain.high, "{name}: {gain:?}");
        }
    }
    let text = choice.to_markdown();
    assert!(choice.tasks.iter().all(|task| text.contains(&format!("| {} | {} |", task.name, task.taken))), "{text}");
}

#[test]
fn what_cannot_be_chosen_is_refused_before_anything_trains() {
    let place = tempfile::tempdir().expect("a folder");
    let out = place.path().join("out");
    let refused = |recipe: &Recipe, options: Options, because: &str| {
        let error = choose(recipe, &located(recipe), &options, &Device::Cpu, &mut Silent).err();
        let error = format!("{:#}", error.expect(because));
        assert!(error.contains(because), "{error}");
        assert!(!out.join("candidates").exists(), "{because}: something was trained");
    };
    let named = |names: &[&str]| names.iter().map(|name| (*name).to_string()).collect::<Vec<String>>();
    refused(&recipe(&["tasks=[\"topic\"]"]), options(&out), "nobody to share with");
    refused(&recipe(&[]), Options { budget: 1., ..options(&out) }, "leaves no race");
    refused(&recipe(&[]), Options { budget: f64::NAN, ..options(&out) }, "leaves no race");
    refused(&recipe(&[]), Options { candidates: named(&["hard", "single"]), ..options(&out) }, "`hard` shares");
    refused(&recipe(&[]), Options { candidates: named(&["single", "hrad"]), ..options(&out) }, "did you mean `hard`?");
    refused(&recipe(&[]), Options { candidates: named(&["single", "single"]), ..options(&out) }, "named twice");
    refused(&recipe(&[]), Options { candidates: named(&["single"]), ..options(&out) }, "2 to 16");
    std::fs::create_dir_all(&out).expect("made");
    std::fs::write(out.join("recipe.toml"), "").expect("written");
    refused(&recipe(&[]), options(&out), "no choice's");
}
