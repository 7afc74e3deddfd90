//! From an experiment's tables to its arms: the product of the grid, the single-task baseline, the controls' switches.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Result, bail};
use mtl_eval::comparison::{ArmSpec, Role};
use mtl_train::{Keep, Recipe, Registries};

use super::{ArmTable, Control, Experiment, Keys, flattened};
use crate::paths::{anchored_overrides, task_name};

/// An arm that can run.
#[derive(Clone, Debug)]
pub struct Arm {
    /// What it is; nothing tuned yet.
    pub spec: ArmSpec,
    /// Changes of the experiment's base recipe.
    pub overrides: Vec<String>,
    /// Steps of a final run.
    pub steps: usize,
    /// Whether its tasks are trained side by side and never meet: each may then have a rate and a best step of its own,
    /// as it would have in a run of its own.
    pub apart: bool,
    /// Whether its final runs have as many steps as the baseline's processor seconds buy.
    pub equal_compute: bool,
    /// Trainings of a seed, of which each task takes the one that is best on dev; 0 of a portfolio, which is not trained.
    pub restarts: usize,
    /// Of a portfolio: the arms among which each task takes the one that is best on dev.
    pub of: Vec<String>,
    /// The arms that it learns from, by their runs of the same seed.
    pub teachers: Vec<String>,
    /// What is tuned of it beside what is tuned of all.
    pub(crate) own: BTreeMap<String, Keys>,
    /// What its learning rates are before anything is tuned.
    pub(crate) recipe: Recipe,
}

/// An arm that cannot run, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its name.
    pub arm: String,
    /// Why.
    pub reason: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "arm `{}`: {}", self.arm, self.reason)
    }
}

impl Experiment {
    /// The arms that can run, and those that cannot.
    ///
    /// # Errors
    /// If two arms have one name, or the baseline is missing or cannot run.
    pub fn arms(&self) -> Result<(Vec<Arm>, Vec<Refused>)> {
        let base = self.recipe()?;
        let mut tables: Vec<ArmTable> = self.table.arm.clone();
        tables.extend(self.product());
        let alone = |arm: &ArmTable| {
            arm.strategy.as_deref() == Some("single") && arm.control.is_none() && arm.restarts.unwrap_or(1) == 1
        };
        if !tables.iter().any(alone) {
            tables.insert(0, ArmTable { strategy: Some("single".into()), ..ArmTable::default() });
        }
        let (mut arms, mut refused): (Vec<Arm>, Vec<Refused>) = Default::default();
        let mut portfolios: Vec<(String, ArmTable)> = Vec::new();
        let mut names: Vec<String> = Vec::new();
        for table in &tables {
            let table = completed(table, &base);
            let name = table.name.clone().unwrap_or_default();
            if names.contains(&name) {
                bail!("two arms are called `{name}`; give one of them a `name`");
            }
            names.push(name.clone());
            if table.is_portfolio() {
                portfolios.push((name, table));
                continue;
            }
            match self.arm(&table, &base) {
                Ok(arm) => arms.push(arm),
                Err(error) => refused.push(Refused { arm: name, reason: format!("{error:#}") }),
            }
        }
        refused.extend(untaught(&mut arms, &names)?);
        // Last, for they are of others.
        let trained = arms.len();
        for (name, table) in portfolios {
            let known: Vec<&str> = arms.iter().take(trained).map(|arm| arm.spec.name.as_str()).collect();
            let unknown = table.of.iter().find(|of| !known.contains(&of.as_str()));
            match unknown {
                Some(of) if !names.contains(of) => bail!(
                    "arm `{name}`: of: `{of}` is none of the arms that are trained{}; there are {}",
                    mtl_task::nearest(of, known.iter().copied()),
                    known.join(", ")
                ),
                Some(of) => {
                    let reason = format!("it chooses among arms of which `{of}` is not trained");
                    refused.push(Refused { arm: name, reason });
                }
                None => arms.push(portfolio(name, &table, &base)),
            }
        }
        let baseline = &self.table.baseline;
        if let Some(refused) = refused.iter().find(|refused| refused.arm == *baseline) {
            bail!("the baseline cannot run: {refused}");
        }
        if !names.contains(baseline) {
            bail!("the baseline `{baseline}` is none of the arms {}", names.join(", "));
        }
        let asked = self.contrasts()?;
        let unknown = asked.iter().flat_map(|(arm, against)| [arm, against]).find(|arm| !names.contains(*arm));
        if let Some(arm) = unknown {
            let nearest = mtl_task::nearest(arm, names.iter().map(String::as_str));
            bail!("claims: `{arm}` is none of the arms {}{nearest}", names.join(", "));
        }
        Ok((arms, refused))
    }

    fn arm(&self, table: &ArmTable, base: &Recipe) -> Result<Arm> {
        let mut overrides = Vec::new();
        let members = [
            ("checkpoint", &table.checkpoint),
            ("sharing.strategy", &table.strategy),
            ("weighting.rule", &table.rule),
            ("sampler.name", &table.sampler),
        ];
        for (key, value) in members {
            overrides.extend(value.iter().map(|value| format!("{key}={}", toml::Value::from(value.as_str()))));
        }
        let others: Vec<toml::Value> = (base.tasks.iter().map(|task| task_name(task)))
            .filter(|task| *task != self.main_task(base))
            .map(toml::Value::from)
            .collect();
        let others = toml::Value::Array(others);
        match table.control {
            Some(Control::Shuffled) => overrides.push(format!("control.shuffle={others}")),
            Some(Control::Noise) => overrides.push(format!("control.noise={others}")),
            Some(Control::Augmented) => overrides.push("control.augment=0.1".into()),
            // Thrice the usual dropout, ten times the usual decay.
            Some(Control::Regularised) => overrides
                .extend(["train.dropout=0.3", "head.dropout=0.3", "optimizer.weight_decay=0.1"].map(String::from)),
            Some(Control::Capacity) | None => {}
        }
        let with_set = |mut overrides: Vec<String>| {
            overrides.extend(flattened(&table.set));
            anchored_overrides(&overrides, &self.folder)
        };
        let plain = self.resolved(&with_set(overrides.clone()))?;
        // Tasks that reach no common trained parameter are as many models: each has its own best step and rate.
        let apart = !(self.registries.strategies.find(&plain.sharing.name)?.shares_with)(&plain.sharing.settings)?;
        if apart && base.evaluation.keep == Keep::Best {
            overrides.push("evaluation.keep=\"each\"".into());
        }
        let overrides = with_set(overrides);
        let recipe = self.resolved(&overrides)?;
        Ok(Arm {
            spec: ArmSpec {
                name: table.name.clone().unwrap_or_default(),
                strategy: recipe.sharing.name.clone(),
                rule: recipe.weighting.name.clone(),
                checkpoint: task_name(&recipe.checkpoint),
                sampler: recipe.sampler.name.clone(),
                tuned: Default::default(),
                control: table.control.map(|control| control.about().to_string()),
                role: table.role.unwrap_or_default(),
                ..ArmSpec::default()
            },
            overrides,
            steps: recipe.train.steps,
            apart,
            equal_compute: table.equal_compute,
            restarts: table.restarts.unwrap_or(1),
            of: Vec::new(),
            teachers: teachers(&recipe),
            own: table.tune.clone(),
            recipe,
        })
    }

    /// The arms of the grid.
    fn product(&self) -> Vec<ArmTable> {
        let grid = &self.table.grid;
        let options = |list: &[String]| -> Vec<Option<String>> {
            if list.is_empty() { vec![None] } else { list.iter().cloned().map(Some).collect() }
        };
        if [&grid.strategies, &grid.rules, &grid.samplers, &grid.checkpoints].iter().all(|list| list.is_empty()) {
            return Vec::new();
        }
        let mut arms = Vec::new();
        for checkpoint in options(&grid.checkpoints) {
            for strategy in options(&grid.strategies) {
                for sampler in options(&grid.samplers) {
                    for rule in options(&grid.rules) {
                        let (strategy, sampler) = (strategy.clone(), sampler.clone());
                        let checkpoint = checkpoint.clone();
                        arms.push(ArmTable { strategy, rule, sampler, checkpoint, ..ArmTable::default() });
                    }
                }
            }
        }
        arms
    }
}

/// The arms that `recipe` has as teachers.
fn teachers(recipe: &Recipe) -> Vec<String> {
    let teachers = recipe.distill.as_ref().map(|distill| distill.teachers.arms());
    teachers.unwrap_or_default().into_iter().map(String::from).collect()
}

/// Takes out of `arms` those whose teacher is none that is trained.
///
/// # Errors
/// If a teacher is none of the arms `names`, or one that cannot be one.
fn untaught(arms: &mut Vec<Arm>, names: &[String]) -> Result<Vec<Refused>> {
    let mut refused = Vec::new();
    for arm in arms.iter().filter(|arm| !arm.teachers.is_empty()) {
        let name = &arm.spec.name;
        for teacher in &arm.teachers {
            match arms.iter().find(|known| known.spec.name == *teacher) {
                Some(found) if !found.teachers.is_empty() => {
                    bail!("arm `{name}`: its teacher `{teacher}` has a teacher itself; name an arm without one")
                }
                Some(found) if found.restarts > 1 => {
                    bail!(
                        "arm `{name}`: its teacher `{teacher}` is trained {} times a seed; name an arm that is trained \
                           once",
                        found.restarts
                    )
                }
                Some(_) => {}
                None if names.contains(teacher) => {
                    let reason = format!("its teacher `{teacher}` is not trained");
                    refused.push(Refused { arm: name.clone(), reason });
                }
                None => bail!(
                    "arm `{name}`: its teacher `{teacher}` is none of the arms that are trained{}; there are {}",
                    mtl_task::nearest(teacher, names.iter().map(String::as_str)),
                    names.join(", ")
                ),
            }
        }
    }
    arms.retain(|arm| !refused.iter().any(|refused: &Refused| refused.arm == arm.spec.name));
    Ok(refused)
}

/// An arm of other arms' runs.
fn portfolio(name: String, table: &ArmTable, base: &Recipe) -> Arm {
    Arm {
        spec: ArmSpec {
            name,
            strategy: "portfolio".into(),
            rule: format!("dev picks among {}", table.of.join(", ")),
            checkpoint: task_name(&base.checkpoint),
            sampler: base.sampler.name.clone(),
            role: Role::Portfolio,
            ..ArmSpec::default()
        },
        overrides: Vec::new(),
        steps: 0,
        apart: false,
        equal_compute: false,
        restarts: 0,
        of: table.of.clone(),
        teachers: Vec::new(),
        own: BTreeMap::new(),
        recipe: base.clone(),
    }
}

/// Whether tasks reach no common trained parameter under a strategy's default section.
fn apart(strategy: &str, registries: &Registries) -> bool {
    registries.strategies.find(strategy).is_ok_and(|entry| !entry.shares)
}

/// `table` with strategy, rule and name filled in. Arms whose tasks share nothing weigh them equally unless told
/// otherwise: no gradients meet.
fn completed(table: &ArmTable, base: &Recipe) -> ArmTable {
    let mut arm = table.clone();
    if arm.is_portfolio() {
        arm.name.get_or_insert_with(|| "portfolio".into());
        return arm;
    }
    match arm.control {
        Some(Control::Capacity) => arm.strategy = Some("single-small".into()),
        Some(Control::Augmented | Control::Regularised) => {
            arm.strategy.get_or_insert_with(|| "single".into());
        }
        _ => {}
    }
    let strategy = arm.strategy.get_or_insert_with(|| base.sharing.name.clone()).clone();
    let apart = apart(&strategy, &base.registries);
    let usual = if apart { "equal".to_string() } else { base.weighting.name.clone() };
    let rule = arm.rule.get_or_insert(usual).clone();
    let mut name = if apart && rule == "equal" { strategy } else { format!("{strategy}+{rule}") };
    for varied in [&arm.sampler, &arm.checkpoint].into_iter().flatten() {
        name += &format!("+{}", task_name(varied));
    }
    if arm.equal_compute {
        name += " (equal compute)";
    }
    if let Some(restarts) = arm.restarts.filter(|restarts| *restarts > 1) {
        name += &format!(" (best of {restarts})");
    }
    if let Some(control) = arm.control {
        name += &format!(" ({})", control.about());
    }
    arm.name.get_or_insert(name);
    arm
}
