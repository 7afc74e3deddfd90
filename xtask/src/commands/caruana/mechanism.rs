//! One mechanism: its file, the datasets and experiments that follow from it.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use mtl_compare::Document;
use mtl_train::write_atomically;
use serde::Deserialize;

/// The mechanisms, in the order of the page: what a file is called, and its text.
const FILES: [(&str, &str); 5] = [
    ("amplification", include_str!("../../../caruana/amplification.toml")),
    ("attributes", include_str!("../../../caruana/attributes.toml")),
    ("eavesdropping", include_str!("../../../caruana/eavesdropping.toml")),
    ("representation", include_str!("../../../caruana/representation.toml")),
    ("overfitting", include_str!("../../../caruana/overfitting.toml")),
];

/// The task whose gain is measured.
pub(super) const MAIN: &str = "main";

/// The arms: single-task training, hard sharing in the setting, and in the control.
pub(super) const ALONE: &str = "single";
pub(super) const SETTING: &str = "setting";
pub(super) const CONTROL: &str = "control";

/// What is compared, and how well it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Measure {
    /// The headline score on test.
    Score,
    /// What the score on dev falls from its best step to the last one; less is better.
    Decline,
}

/// The companion in the setting where the mechanism is said to work, or where it is taken away.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Side {
    /// In words, for the table.
    pub(super) about: String,
    /// The task of the graph.
    pub(super) companion: String,
    /// Whether its training labels are permuted.
    #[serde(default)]
    pub(super) shuffled: bool,
}

/// A mechanism as its file says it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mechanism {
    #[serde(skip)]
    pub(super) name: &'static str,
    pub(super) title: String,
    /// What the paper says.
    pub(super) claim: String,
    /// What result would speak against it.
    pub(super) refuted: String,
    pub(super) measure: Measure,
    /// Training examples of the main task, and of its companion.
    pub(super) size: usize,
    companion_size: usize,
    /// Multiples of the usual learning rates, of which each arm takes the best on dev; none for the usual rates, untuned.
    #[serde(default)]
    pub(super) rates: Vec<f64>,
    pub(super) setting: Side,
    pub(super) control: Side,
    /// The generator's settings of all tasks.
    generator: toml::Table,
    /// Changes of the base recipe.
    #[serde(default)]
    set: toml::Table,
}

/// Seeds of the final runs and of tuning.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seeds {
    pub(super) first: u64,
    pub(super) count: u64,
    pub(super) tuning: u64,
}

/// All of them.
///
/// # Errors
/// Never for the files that are shipped.
pub(super) fn all() -> Result<Vec<Mechanism>> {
    let read = |(name, text): &(&'static str, &str)| {
        let found: Mechanism = toml::from_str(text).with_context(|| format!("xtask/caruana/{name}.toml"))?;
        Ok(Mechanism { name, ..found })
    };
    FILES.iter().map(read).collect()
}

/// Those of the given names, or all.
///
/// # Errors
/// If there is no such mechanism; names the nearest.
pub(super) fn chosen(names: &[String]) -> Result<Vec<Mechanism>> {
    let all = all()?;
    for name in names {
        if !all.iter().any(|known| known.name == name) {
            let known = || all.iter().map(|known| known.name);
            bail!(
                "unknown mechanism `{name}`{}; there are {}",
                mtl_task::nearest(name, known()),
                known().collect::<Vec<_>>().join(", ")
            );
        }
    }
    Ok(all.into_iter().filter(|known| names.is_empty() || names.iter().any(|name| known.name == name)).collect())
}

impl Mechanism {
    /// The two sides, each with its name.
    pub(super) fn sides(&self) -> [(&'static str, &Side); 2] {
        [(SETTING, &self.setting), (CONTROL, &self.control)]
    }

    /// The lowest and the highest rate that is tried.
    pub(super) fn ends(&self) -> [f64; 2] {
        let of = |better: fn(f64, f64) -> f64| self.rates.iter().copied().reduce(better).unwrap_or(f64::NAN);
        [of(f64::min), of(f64::max)]
    }

    /// Writes the manifests of the main task and both companions into `folder`.
    pub(super) fn write_manifests(&self, folder: &Path) -> Result<()> {
        for task in [MAIN, self.setting.companion.as_str(), self.control.companion.as_str()] {
            let path = folder.join(format!("{task}.toml"));
            write_atomically(&path, self.manifest(task)?.as_bytes())?;
        }
        Ok(())
    }

    /// The manifest of one task of the graph.
    pub(super) fn manifest(&self, task: &str) -> Result<String> {
        let graph = self.generator.get("graph").and_then(toml::Value::as_array);
        let named = |node: &&toml::Value| node.get("name").and_then(toml::Value::as_str) == Some(task);
        let node = graph.into_iter().flatten().find(named);
        let node = node.with_context(|| format!("{}: the graph has no task `{task}`", self.name))?;
        let kind = node.get("kind").and_then(toml::Value::as_str).unwrap_or("classification");
        let mut generator = toml::Table::new();
        generator.insert("name".into(), "planted".into());
        generator.insert("task".into(), task.into());
        generator.extend(self.generator.clone());
        let mut manifest = toml::Table::new();
        manifest.insert("about".into(), format!("generated text: `{task}` of Caruana's {}", self.title).into());
        manifest.insert("licence".into(), "MIT OR Apache-2.0".into());
        manifest.insert("verified".into(), true.into());
        manifest.insert("task".into(), toml::Table::from_iter([("kind".to_string(), kind.into())]).into());
        manifest.insert("generator".into(), generator.into());
        Ok(toml::to_string(&manifest)?)
    }

    /// The experiment, whose manifests lie in `folder`: alone, shared in the setting, shared in the control. Who trains
    /// alone does not see the companion, and is the same for both sides.
    pub(super) fn experiment(&self, folder: &Path, seeds: Seeds) -> Result<Document> {
        let tasks = |side: &Side| toml::Value::from(vec![format!("{MAIN}.toml"), format!("{}.toml", side.companion)]);
        let mut set = self.set.clone();
        set.insert("tasks".into(), tasks(&self.setting));
        let limit = |rows: usize| Ok::<_, anyhow::Error>(toml::Value::Integer(rows.try_into()?));
        let main = toml::Table::from_iter([("limit".to_string(), limit(self.size)?)]);
        set.insert("task".into(), toml::Table::from_iter([(MAIN.to_string(), main.into())]).into());
        let train = set.entry("train").or_insert_with(|| toml::Table::new().into()).as_table_mut();
        train.context("[set] train: a table was expected")?.insert("limit".into(), limit(self.companion_size)?);
        let mut text = format!(
            "about = {}\nbase = \"planted-related\"\nseeds = {:?}\ndata_seed = \"each\"\nbaseline = \"{ALONE}\"\nmain = \
             \"{MAIN}\"\n\n{}\n",
            toml::Value::from(self.title.as_str()),
            (seeds.first..seeds.first + seeds.count).collect::<Vec<u64>>(),
            toml::to_string(&toml::Table::from_iter([("set".to_string(), set.into())]))?
        );
        let control = match self.control.shuffled {
            true => "control = \"shuffled\"".to_string(),
            false => format!("role = \"control\"\nset = {{ tasks = {} }}", tasks(&self.control)),
        };
        write!(
            text,
            "[[arm]]\nname = \"{ALONE}\"\nstrategy = \"single\"\n\n[[arm]]\nname = \"{SETTING}\"\nstrategy = \"hard\"\nrule = \
             \"equal\"\n\n[[arm]]\nname = \"{CONTROL}\"\nstrategy = \"hard\"\nrule = \"equal\"\n{control}\n"
        )?;
        if !self.rates.is_empty() {
            let (rates, seeds) = (&self.rates, (TUNING..TUNING + seeds.tuning).collect::<Vec<u64>>());
            write!(
                text,
                "\n[tune]\nmethod = \"grid\"\nseeds = {seeds:?}\nkeys = {{ \"optimizer.scale\" = {rates:?} }}\ngrow = 0\n"
            )?;
        }
        let path = folder.join("experiment.toml");
        write_atomically(&path, text.as_bytes())?;
        let folder = std::path::absolute(folder)?;
        Ok(Document { name: self.name.into(), location: path.display().to_string(), folder, text })
    }
}

/// The first seed that tunes; none of the final ones.
pub(super) const TUNING: u64 = 1000;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use mtl_cli::Registries;
    use mtl_cli::locate::Files;
    use mtl_compare::Experiment;
    use mtl_data::manifest::DatasetManifest;

    use super::*;

    /// Every mechanism has an experiment that parses, tasks that can be written, and both sides named in the file.
    #[test]
    fn what_is_shipped_can_be_carried_out() {
        let registries = std::sync::Arc::new(Registries::default());
        let files = Files::new(&registries, true).expect("a library");
        let seeds = Seeds { first: 100, count: 4, tuning: 2 };
        let mut names = BTreeSet::new();
        for mechanism in all().expect("shipped files") {
            let folder = tempfile::tempdir().expect("a folder");
            mechanism.write_manifests(folder.path()).expect("manifests");
            let document = mechanism.experiment(folder.path(), seeds).expect("an experiment");
            let experiment = Experiment::parse(&document.location, &document, &[], &files).expect("it parses");
            assert_eq!((experiment.seeds(), experiment.tasks().expect("tasks").len()), (vec![100, 101, 102, 103], 2));
            let mut written = Vec::new();
            for task in [MAIN, &mechanism.setting.companion, &mechanism.control.companion] {
                let path = folder.path().join(format!("{task}.toml"));
                let manifest = DatasetManifest::read(&path).expect("it parses");
                let generator = manifest.generator.expect("a generator");
                let settings = serde_json::to_value(&generator.settings).expect("JSON");
                let made = (mtl_data::generator::planted::GENERATOR.rows)(&settings).expect("rows");
                written.push((task, made.test.len(), made.ceiling.is_some()));
            }
            assert!(written.iter().all(|(_, rows, known)| *rows == 1000 && *known), "{written:?}");
            assert!(mechanism.control.shuffled != (mechanism.setting.companion != mechanism.control.companion));
            assert!(!mechanism.claim.is_empty() && !mechanism.refuted.is_empty() && names.insert(mechanism.name));
        }
        assert_eq!(names.len(), 5);
    }

    #[test]
    fn mechanisms_are_asked_for_by_name() {
        let names = |asked: &[&str]| {
            let asked: Vec<String> = asked.iter().map(|name| name.to_string()).collect();
            chosen(&asked).map(|found| found.iter().map(|found| found.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&["overfitting", "attributes"]).expect("known"), ["attributes", "overfitting"]);
        assert_eq!(names(&[]).expect("all").len(), 5);
        let error = names(&["eavesdroping"]).expect_err("unknown").to_string();
        assert!(error.contains("did you mean `eavesdropping`?"), "{error}");
    }
}
