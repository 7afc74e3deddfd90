//! Recon: parts in conflict split and others do not, no function changes by it, and what was split can be loaded.

mod support;

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use candle_core::DType;
use mtl_backbone::Part;
use mtl_nash::Gram;
use mtl_sharing::{Budget, Change, Model, Moments, NoDevScores, StepView};
use mtl_task::{Progress, TaskId};
use serde_json::{Value, json};
use support::{LAYERS, answers, build, step, texts, tiny};

/// Writes down what moments are scaled by.
#[derive(Default)]
struct Scaled(BTreeMap<String, [f64; 2]>, Vec<String>);

impl Moments for Scaled {
    fn fork(&mut self, _from: &str, to: &str) {
        self.0.insert(to.into(), [1., 1.]);
    }

    fn scale(&mut self, name: &str, first: f64, second: f64) {
        self.0.insert(name.into(), [first, second]);
    }

    fn merge(&mut self, _into: &str, _parts: &[(&str, f64)]) {}

    fn drop(&mut self, name: &str) {
        self.1.push(name.into());
    }
}

fn model(section: &Value) -> Result<Model> {
    build("recon", section, &tiny(5), 3, DType::F32)
}

/// The Gram matrix of three tasks of norm 1, 1 and 2, of which the first two have this cosine and the third is apart.
fn gram(cosine: f64) -> Gram {
    Gram::new(3, vec![1., cosine, 0., cosine, 1., 0., 0., 0., 4.])
}

/// Steps `steps` of 8, in which the gradients of the parts have these cosines.
fn observe(model: &mut Model, steps: std::ops::Range<usize>, cosines: &[(Part, f64)]) -> Result<(Scaled, Vec<Value>)> {
    let (mut scaled, mut told) = (Scaled::default(), Vec::new());
    let all = |part: Part| cosines.iter().find(|(known, _)| *known == part).map_or(0.5, |(_, cosine)| *cosine);
    let grams = Part::all(LAYERS).map(|part| (format!("shared/{part}"), gram(all(part)))).collect();
    for at in steps {
        let Model { params, topology, sharing, .. } = model;
        let tasks = [TaskId(0), TaskId(1), TaskId(2)];
        let (mut budget, mut events) = (Budget { steps: at + 1, ..Budget::of(8) }, Vec::new());
        let mut view = StepView {
            tasks: &tasks,
            grams: &grams,
            tables: &[],
            progress: Progress { step: at, of: 8 },
            learning_rate: 0.1,
            budget: &mut budget,
            events: &mut events,
            held_out: &mut NoDevScores,
        };
        assert_eq!(sharing.reads_grams(), at < 4, "step {at}");
        sharing.adapt(&mut Change::new(params, topology, &mut scaled), &mut view)?;
        told.extend(events);
    }
    Ok((scaled, told))
}

fn split(model: &Model) -> Result<Value> {
    Ok(model.sharing.findings()?["split"].clone())
}

const SEARCH: &str = "search";

#[test]
fn the_parts_with_most_conflict_split_and_no_function_changes() -> Result<()> {
    let mut model = model(&json!({ SEARCH: 0.5, "parts": 1 }))?;
    for at in 0..2 {
        step(&mut model, &[TaskId(0), TaskId(1), TaskId(2)], Progress { step: at, of: 1000 }, 0.02)?;
    }
    let before = answers(&model)?;
    // Both conflict, one of them in every second step.
    let often = (Part::Layer(1), -0.5);
    observe(&mut model, 0..2, &[often, (Part::Layer(0), -0.5)])?;
    let (scaled, told) = observe(&mut model, 2..4, &[often])?;
    assert_eq!(split(&model)?, json!(["layer.1"]));
    assert_eq!(told, [json!({ "split": ["layer.1"], "restart": false })]);
    assert_eq!(answers(&model)?, before, "copies are copies");
    assert!(model.params.get("shared/layer.1").is_none() && model.params.get("shared/layer.0").is_some());
    assert_eq!(scaled.1, ["shared/layer.1"]);
    // |g₁ + g₂ + g₃|² = 1 + 1 + 4 − 1; the third has more than its part of the others' sum.
    let shares = ["a", "b", "c"].map(|task| scaled.0[&format!("task.{task}/layer.1")]);
    for (found, share) in shares.iter().zip([0.2, 0.2, 0.8]) {
        assert!((found[1] - share).abs() < 1e-9 && (found[0] - share).abs() < 1e-9, "{shares:?}");
    }
    let findings = model.sharing.findings()?;
    // One pair of three conflicts where the part does at all.
    let rate = |part: &str| findings["conflicts"][part].as_f64().expect("a rate");
    assert!((rate("layer.1") - 1. / 3.).abs() < 1e-9 && (rate("layer.0") - 1. / 6.).abs() < 1e-9, "{findings}");
    assert_eq!((rate("words"), rate("layer.2")), (0., 0.));
    // Each goes its own way from here, and the search is over.
    let (nothing, told) = observe(&mut model, 4..8, &[(Part::Layer(0), -1.)])?;
    assert!(nothing.0.is_empty() && told.is_empty() && split(&model)? == json!(["layer.1"]));
    assert!(model.sharing.partitions().iter().any(|(part, groups)| part == "layer.1" && groups.len() == 3));
    Ok(())
}

#[test]
fn nothing_splits_without_conflict_nor_beyond_what_is_allowed() -> Result<()> {
    let after = |section: Value, cosines: &[(Part, f64)]| -> Result<(Model, Value)> {
        let mut model = model(&section)?;
        observe(&mut model, 0..4, cosines)?;
        let found = split(&model)?;
        Ok((model, found))
    };
    let (model, found) = after(json!({ SEARCH: 0.5 }), &[(Part::Layer(2), -0.01)])?;
    assert_eq!((found, model.topology.version()), (json!([]), self::model(&json!({}))?.topology.version()));
    let everywhere: Vec<(Part, f64)> = Part::all(LAYERS).map(|part| (part, -0.5)).collect();
    // Of equals the lowest.
    assert_eq!(after(json!({ SEARCH: 0.5 }), &everywhere)?.1, json!(["words", "embeddings"]));
    // A quarter of the pairs and steps is what conflicts at most have to exceed here, and a third do.
    assert_eq!(after(json!({ SEARCH: 0.5, "parts": 9, "least": 0.34 }), &everywhere)?.1, json!([]));
    assert_eq!(
        after(json!({ SEARCH: 0.5, "parts": 9, "least": 0.33 }), &everywhere)?.1.as_array().map(Vec::len),
        Some(5)
    );
    assert_eq!(after(json!({ SEARCH: 0.5, "threshold": -0.6, "parts": 9 }), &everywhere)?.1, json!([]));
    // No layer is as small as the embeddings.
    let (model, found) = after(json!({ SEARCH: 0.5, "parts": 9, "most_parameters": 0.3 }), &everywhere)?;
    let length = |name: &Value| tiny(5).encoder_length(name.as_str().unwrap_or_default());
    let taken: usize = found.as_array().context("parts")?.iter().map(length).sum();
    assert!(taken > 0 && taken as f64 <= 0.3 * tiny(5).count() as f64, "{found}: {taken}");
    assert!(model.params.get("shared/layer.2").is_some(), "{found}");
    Ok(())
}

trait Lengths {
    fn encoder_length(&self, part: &str) -> usize;
}

impl Lengths for mtl_backbone::Pretrained {
    fn encoder_length(&self, part: &str) -> usize {
        use mtl_backbone::Encoder;
        Part::all(LAYERS).find(|known| known.to_string() == part).map_or(0, |part| self.encoder.layout(part).len())
    }
}

#[test]
fn a_split_model_is_saved_and_loaded() -> Result<()> {
    let section = json!({ SEARCH: 0.5, "parts": 2 });
    let mut split = model(&section)?;
    observe(&mut split, 0..4, &[(Part::Words, -0.5), (Part::Layer(2), -0.2)])?;
    step(&mut split, &[TaskId(0), TaskId(1), TaskId(2)], Progress { step: 5, of: 8 }, 0.05)?;
    let mut loaded = model(&section)?;
    loaded.restructure(&split.structure())?;
    loaded.params.assign(&split.params.tensors()?.into_iter().collect())?;
    loaded.sharing.restore(&split.sharing.state()?, 0)?;
    assert_eq!(answers(&loaded)?, answers(&split)?);
    assert_eq!(loaded.sharing.findings()?, split.sharing.findings()?);
    // Words are everybody's own, and so are all states above them.
    let asked = [TaskId(2), TaskId(0)];
    let together = split.logits_each(&asked, &texts(TaskId(0)), &mut mtl_backbone::Pass::evaluation())?;
    for (task, together) in asked.iter().zip(together) {
        let alone = split.logits(*task, &texts(TaskId(0)), &mut mtl_backbone::Pass::evaluation())?;
        assert_eq!(together.to_vec2::<f32>()?, alone.to_vec2::<f32>()?);
    }
    let other = build("recon", &section, &tiny(5), 2, DType::F32)?.sharing.restore(&observed()?, 0);
    assert!(other.is_err_and(|error| error.to_string().contains("not of this strategy and 2 tasks")));
    Ok(())
}

/// The state in the middle of a search.
fn observed() -> Result<BTreeMap<String, candle_core::Tensor>> {
    let mut model = model(&json!({ SEARCH: 0.5 }))?;
    observe(&mut model, 0..2, &[])?;
    Ok(model.sharing.state()?)
}

#[test]
fn a_restart_begins_where_training_began() -> Result<()> {
    let section = json!({ SEARCH: 0.5, "restart": true, "parts": 1 });
    let (mut model, begun) = (model(&section)?, answers(&model(&section)?)?);
    let phases = model.sharing.phases(8);
    let told: Vec<(&str, usize, bool)> =
        phases.iter().map(|phase| (phase.name.as_str(), phase.steps, phase.reset_optimizer)).collect();
    assert_eq!(told, [("search", 4, false), ("train", 4, true)]);
    step(&mut model, &[TaskId(0), TaskId(1), TaskId(2)], Progress { step: 0, of: 8 }, 0.1)?;
    assert_ne!(answers(&model)?, begun);
    observe(&mut model, 1..4, &[(Part::Layer(0), -1.)])?;
    assert_eq!((answers(&model)?, split(&model)?), (begun, json!(["layer.0"])));
    assert_eq!(build("recon", &section, &tiny(5), 1, DType::F32)?.sharing.phases(8).len(), 1);
    Ok(())
}

#[test]
fn settings_out_of_range_are_refused() -> Result<()> {
    for (section, because) in [
        (json!({ "search": 0.0 }), "between 0 and 1"),
        (json!({ "threshold": 0.1 }), "no conflict"),
        (json!({ "parts": 0 }), "strategy `hard`"),
        (json!({ "most_parameters": 1.5 }), "(0, 1]"),
        (json!({ "least": 1.0 }), "[0, 1)"),
    ] {
        let refusal = model(&section).err().context("it was taken")?;
        assert!(format!("{refusal:#}").contains(because), "{section}: {refusal:#}");
    }
    Ok(())
}
