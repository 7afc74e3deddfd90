//! One cell: a run to its end, the same run from a save on its way, and what has to be equal of both.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mtl_train::{Assembled, Ended, Observer, Plan, Recipe, Registries};
use mtl_weighting::Class;
use serde_json::Value;

use crate::tiny::{metrics, new, recipe};

/// Steps of a run whose strategy adds none of its own.
const STEPS: usize = 5;
/// Four tasks, since there are rules that leave the odd ones out.
const TASKS: &str = "tasks=[\"topic\", \"mood\", \"tags\", \"genre\"]";
/// What a strategy needs to fit into an encoder that is smaller than any real one.
const FITTED: [(&str, &str); 1] = [("single-small", "sharing.tolerance=0.9")];
/// Members of the checkpoint's `state.json` that tell of time.
const TIMES: [&str; 2] = ["seconds", "cpu_seconds"];

/// A strategy, a rule, and micro-batches in a step.
pub(crate) struct Cell {
    registries: Arc<Registries>,
    strategy: &'static str,
    rule: &'static str,
    window: usize,
    setting: Option<&'static str>,
}

/// What became of a cell.
pub(crate) enum Verdict {
    Same,
    /// The recipe is none.
    Refused(String),
    /// What of the resumed run is not that of the uninterrupted one.
    Different(String),
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} by {}, {} micro-batches", self.strategy, self.rule, self.window)
    }
}

impl Cell {
    pub(crate) fn new(
        registries: &Arc<Registries>,
        strategy: &'static str,
        rule: &'static str,
        window: usize,
        setting: Option<&'static str>,
    ) -> Self {
        Self { registries: registries.clone(), strategy, rule, window, setting }
    }

    pub(crate) fn strategy(&self) -> &'static str {
        self.strategy
    }

    pub(crate) fn rule(&self) -> &'static str {
        self.rule
    }

    pub(crate) fn window(&self) -> usize {
        self.window
    }

    /// Whether the strategy shares parameters.
    pub(crate) fn shares(&self) -> bool {
        self.registries.strategies.find(self.strategy).expect("a strategy").shares
    }

    /// Whether there is such a recipe: a rule over gradients has nothing to say where no parameter is shared.
    pub(crate) fn fits(&self) -> bool {
        self.shares() || self.registries.rules.find(self.rule).expect("a rule").class == Class::Losses
    }

    fn recipe(&self) -> anyhow::Result<Recipe> {
        let mut settings = vec![
            TASKS.to_string(),
            format!("sharing.strategy={}", self.strategy),
            format!("weighting.rule={}", self.rule),
            format!("train.accumulate={}", self.window),
            format!("train.steps={STEPS}"),
            "train.batch=2".into(),
            "train.save_every=1".into(),
            "optimizer.rate=1e-2".into(),
            "evaluation.test=sealed".into(),
            "evaluation.dev_limit=4".into(),
        ];
        let fitted = FITTED.iter().filter(|(name, _)| *name == self.strategy).map(|(_, setting)| *setting);
        settings.extend(fitted.chain(self.setting).map(String::from));
        let text = recipe(&[]).to_toml()?;
        Ok(Recipe::parse(&self.registries, "cell.toml", &text, &settings)?.0)
    }

    /// Trains to the end, and once more from one of the saves, in its turn by `index`.
    pub(crate) fn walk(&self, index: usize) -> Verdict {
        let recipe = match self.recipe() {
            Ok(recipe) => recipe,
            Err(error) => return Verdict::Refused(format!("{error:#}")),
        };
        // In memory, where that is to be had: these runs wait for the disk longer than they train.
        let memory = Path::new("/dev/shm");
        let place = match memory.is_dir() {
            true => tempfile::tempdir_in(memory),
            false => tempfile::tempdir(),
        };
        let place = place.expect("a folder");
        let (whole, resumed) = (place.path().join("whole"), place.path().join("resumed"));
        let run = match new(&recipe, &whole, false) {
            Ok(run) => run,
            Err(error) => return Verdict::Refused(format!("{error:#}")),
        };
        let mut copy = CopyAt { index, at: 0, from: whole.clone(), to: resumed.clone() };
        let ended = run.execute(&mut copy).unwrap_or_else(|error| panic!("{self}: {error:#}"));
        assert!(matches!(ended, Ended::Finished(_)), "{self}");
        let run = new(&recipe, &resumed, true).unwrap_or_else(|error| panic!("{self}: {error:#}"));
        let mut from = StartsAt(0);
        run.execute(&mut from).unwrap_or_else(|error| panic!("{self}: {error:#}"));
        assert_eq!(from.0, copy.at, "{self}: it goes on from the save");
        match difference(&whole, &resumed) {
            None => Verdict::Same,
            Some(what) => Verdict::Different(format!("{what} after a break after step {}", copy.at)),
        }
    }
}

/// Copies the run folder after one step, which was saved.
struct CopyAt {
    index: usize,
    /// The step; the first and the last of all steps have their turns too.
    at: usize,
    from: PathBuf,
    to: PathBuf,
}

impl Observer for CopyAt {
    fn begin(&mut self, plan: &Plan) {
        self.at = 1 + self.index % (plan.steps - 1);
    }

    fn measure(&mut self, step: usize, of: usize, _assembled: &Assembled) -> anyhow::Result<()> {
        if step == self.at && step < of {
            copied(&self.from, &self.to)?;
        }
        Ok(())
    }
}

/// Notes where a run goes on.
struct StartsAt(usize);

impl Observer for StartsAt {
    fn begin(&mut self, plan: &Plan) {
        self.0 = plan.from;
    }
}

fn copied(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copied(&entry.path(), &target)?,
            false => drop(fs::copy(entry.path(), target)?),
        }
    }
    Ok(())
}

/// The first thing that differs between two finished runs: weights, moments, states of strategy and rules, where the
/// run stands, or a step's line.
fn difference(whole: &Path, resumed: &Path) -> Option<String> {
    let read = |out: &Path, file: &str| fs::read(out.join("checkpoints/last").join(file)).expect(file);
    for file in ["model.safetensors", "optimizer.safetensors", "sharing.safetensors", "structure.json"] {
        if read(whole, file) != read(resumed, file) {
            return Some(file.to_string());
        }
    }
    let state = |out: &Path| {
        let mut state: Value = serde_json::from_slice(&read(out, "state.json")).expect("JSON");
        let object = state.as_object_mut().expect("an object");
        TIMES.iter().for_each(|time| drop(object.remove(*time).expect(time)));
        state
    };
    let (wanted, found) = (state(whole), state(resumed));
    if wanted != found {
        return Some(format!("state.json: {found} for {wanted}"));
    }
    let lines = |out: &Path| -> Vec<Value> {
        let mut lines = metrics(out);
        for line in &mut lines {
            let object = line.as_object_mut().expect("an object");
            ["seconds", "tokens_per_second"].iter().for_each(|time| drop(object.remove(*time).expect(time)));
        }
        lines
    };
    let (wanted, found) = (lines(whole), lines(resumed));
    (wanted.is_empty() || wanted != found).then(|| "metrics.jsonl".to_string())
}
