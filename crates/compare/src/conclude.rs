//! From the records of a finished plan to the comparison, and to the files that show it.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use mtl_eval::comparison::{ArmSpec, Comparison, Contrast, Question};
use mtl_task::rng::Key;
use mtl_train::write_atomically;

use super::paths::task_name;
use super::{Arm, Experiment, Leak, Options, Plan, Planned, Purpose, Refused, derive, header, leak, tune};

/// Compares what ran, and writes it down.
pub(super) fn conclude(
    experiment: &Experiment,
    arms: &[Arm],
    refused: &[Refused],
    plan: &Plan,
    options: &Options,
    notes: Vec<String>,
) -> Result<Comparison> {
    let table = &experiment.table;
    let lines = |purpose: Purpose| plan.lines().iter().filter(move |line| line.purpose == purpose);
    let records = derive::finals(arms, plan)?;
    let mut specs: Vec<ArmSpec> = Vec::new();
    for arm in arms {
        let tuned = tune::chosen(table.tune.as_ref(), arm, plan)?.unwrap_or_default();
        specs.push(ArmSpec { tuned, batches: batches(experiment, arm)?, ..arm.spec.clone() });
    }
    let question = Question {
        name: experiment.title.clone(),
        about: table.about.clone(),
        arms: specs,
        baseline: table.baseline.clone(),
        tasks: experiment.recipe()?.tasks.iter().map(|task| task_name(task)).collect(),
        seeds: experiment.seeds(),
        level: table.level,
        resamples: table.resamples,
        key: Key::new(0).named("compare").named(&experiment.title),
        sampled: experiment.sampled(),
    };
    let mut comparison = Comparison::of(&experiment.registries.metrics, &question, &records)
        .with_context(|| broken_baseline(lines(Purpose::Final), plan, &table.baseline))?;
    for arm in &mut comparison.arms {
        // A portfolio is charged with what its members cost, an arm with what taught it, and both lack what broke of these.
        let known = arms.iter().find(|known| known.spec.name == arm.arm.name);
        let members: Vec<&String> = known.iter().flat_map(|arm| arm.of.iter().chain(&arm.teachers)).collect();
        let own = |line: &&Planned| line.arm == arm.arm.name || members.contains(&&line.arm);
        let reasons = plan.lines().iter().filter(own).filter_map(|line| {
            let purpose = if line.purpose == Purpose::Tune { "tuning " } else { "" };
            Some(format!("{purpose}seed {} ({}): {}", line.seed, line.id, plan.broken(line)?))
        });
        arm.broken = reasons.collect();
        for line in lines(Purpose::Tune).filter(own) {
            arm.tuning_cpu_seconds += plan.record(line)?.map_or(0., |record| record.cpu_seconds);
        }
    }
    for (arm, against) in experiment.contrasts()? {
        // Differences from the baseline are the gains.
        if against != table.baseline {
            let metrics = &experiment.registries.metrics;
            comparison.contrasts.extend(Contrast::of(metrics, &question, &records, (&arm, &against))?);
        }
    }
    // What broke has its place in the verdicts.
    comparison.conclude();
    let said = refused.iter().map(|refused| format!("not run: {refused}"));
    comparison.warnings.extend(said.chain(notes));
    let leaks = leak::leaks(arms, plan)?;
    if !leaks.is_empty() {
        comparison.warnings.extend(leaks.iter().map(leaked));
        write_atomically(&options.out.join("leak.json"), &serde_json::to_vec_pretty(&leaks)?)?;
    }
    comparison.provenance = [
        ("commit", options.commit.clone().unwrap_or_else(|| "unknown".into())),
        ("command", options.told_command(experiment)),
        ("device", devices(plan, options)),
        ("version", env!("CARGO_PKG_VERSION").into()),
        ("system", format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)),
        ("runs", plan.lines().len().to_string()),
    ]
    .map(|(key, value)| (key.to_string(), value))
    .into();
    // As the plan holds it: what was changed after test was opened is no claim of this comparison.
    let claims = plan.header.as_ref().and_then(|header| header.settings.get(header::CLAIMS));
    comparison.provenance.extend(claims.map(|claims| ("claims".to_string(), claims.clone())));
    publish(&comparison, &options.out)?;
    Ok(comparison)
}

/// Why an arm's steps do not see the baseline's batches, if they do not: what its rule declares.
fn batches(experiment: &Experiment, arm: &Arm) -> Result<Option<String>> {
    let recipe = experiment.resolved(&arm.overrides)?;
    let rule = experiment.registries.rules.find(&recipe.weighting.name)?;
    let built = (rule.build)(recipe.tasks.len(), &recipe.weighting.settings);
    let needs = built.map_err(|reason| anyhow!("arm `{}`: rule `{}`: {reason}", arm.spec.name, rule.name))?.needs();
    let mut reasons = Vec::new();
    if needs.mini_batches > 1 {
        reasons.push(format!("draws {} batches a task for every step", needs.mini_batches));
    }
    if needs.validation_batch {
        reasons.push("holds out a part of the training examples".to_string());
    }
    Ok((!reasons.is_empty()).then(|| reasons.join(" and ")))
}

/// The devices that the runs say they computed on.
fn devices(plan: &Plan, options: &Options) -> String {
    let said = |line: &Planned| {
        let text = std::fs::read(plan.folder(line).join("report.json")).ok()?;
        let report: serde_json::Value = serde_json::from_slice(&text).ok()?;
        Some(report["device"].as_str()?.to_string())
    };
    let found: BTreeSet<String> = plan.lines().iter().filter_map(said).collect();
    match found.is_empty() {
        true => options.device.to_string(),
        false => found.into_iter().collect::<Vec<_>>().join(" and "),
    }
}

/// What a reader has to see of a leak.
fn leaked(leak: &Leak) -> String {
    let Leak { arm, runs, evaluations, by_dev, by_test, claimed, kept } = leak;
    format!(
        "had test picked among the {evaluations} evaluations of `{arm}`, its mean test score over {runs} runs would read {by_test:.4} \
         instead of {by_dev:.4}; picked on one half of test it reads {claimed:.4} there and {kept:.4} on the other half, \
         which is inflation by {:.4}",
        claimed - kept
    )
}

/// What a comparison writes beside its plan and its runs.
pub(super) const FILES: [&str; 8] = [
    "comparison.json",
    "report.html",
    "report.md",
    "report.csv",
    "metrics.csv",
    "intervals.csv",
    "report.tex",
    "leak.json",
];

/// The one place where a comparison becomes files.
fn publish(comparison: &Comparison, out: &Path) -> Result<()> {
    let texts = [
        serde_json::to_string_pretty(comparison)?,
        mtl_report::html(comparison)?,
        mtl_report::markdown(comparison)?,
        mtl_report::csv(comparison)?,
        mtl_report::metrics_csv(comparison)?,
        mtl_report::intervals_csv(comparison)?,
        mtl_report::latex_document(comparison)?,
    ];
    FILES.iter().zip(&texts).try_for_each(|(name, text)| write_atomically(&out.join(name), text.as_bytes()))
}

/// What to say if there is nothing to compare with.
fn broken_baseline<'a>(lines: impl Iterator<Item = &'a Planned>, plan: &Plan, baseline: &str) -> String {
    let reasons: Vec<String> = lines.filter(|line| line.arm == baseline).filter_map(|line| plan.broken(line)).collect();
    match reasons.first() {
        Some(reason) => format!("no comparison can be made; a run of the baseline broke: {reason}"),
        None => "no comparison can be made".into(),
    }
}
