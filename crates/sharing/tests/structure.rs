//! A structure that changed in training comes back from a file, and the account of a model follows its owners.

mod support;

use std::sync::Arc;

use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use mtl_backbone::{Encoder, Family, Param, Params, Part, Pass, Ports};
use mtl_sharing::{
    BuildContext, Change, EncoderWeights, HeadSettings, Model, Sharing, StepView, Strategy, StrategySettings,
    Structure, TaskSet, Topology, walk,
};
use mtl_task::rng::Key;
use mtl_task::{Packed, Progress, TaskId};
use serde::{Deserialize, Serialize};
use serde_json::json;
use support::{HIDDEN, LAYERS, answers, build, keep, step, tasks, tiny};

/// After a step the last task leaves the top layer for a copy of it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Leave {}

const LEAVE: Strategy = Strategy::of::<Leave>("leave", "the last task leaves the top layer", "-", "P", true);
const OWN: &str = "task.c/layer.2";

struct Leaving {
    encoder: Arc<Family>,
    shared: EncoderWeights,
    own: Option<Param>,
}

impl StrategySettings for Leave {
    fn build(self, context: &mut BuildContext) -> Result<Box<dyn Sharing>> {
        let everyone = context.shared();
        let shared = EncoderWeights::insert(context, &everyone)?;
        Ok(Box::new(Leaving { encoder: context.encoder.clone(), shared, own: None }))
    }
}

impl Sharing for Leaving {
    fn represent(&self, task: TaskId, tokens: &Packed, pass: &mut Pass) -> candle_core::Result<Tensor> {
        let (depth, top) = (self.encoder.layers(), Part::Layer(LAYERS - 1));
        let view = |part: Part, pass: &mut Pass| match &self.own {
            Some(own) if part == top && task == TaskId(2) => pass.view(own),
            _ => pass.view(self.shared.part(part)),
        };
        Ok(walk(&self.encoder, tokens, depth, pass, view, |_| Ports::default())?.swap_remove(depth))
    }

    fn adapt(&mut self, change: &mut Change, _step: &mut StepView) -> candle_core::Result<()> {
        if self.own.is_none() {
            let top = self.shared.part(Part::Layer(LAYERS - 1));
            self.own = Some(change.fork(top, OWN, TaskSet::one(TaskId(2)))?);
            change.assign(top, [TaskId(0), TaskId(1)].into_iter().collect())?;
        }
        Ok(())
    }

    fn restructure(&mut self, _topology: &Topology, params: &Params) -> candle_core::Result<()> {
        self.own = params.get(OWN).cloned();
        Ok(())
    }
}

fn model(strategy: &Strategy, count: usize) -> Result<Model> {
    let head = HeadSettings { dropout: 0., ..HeadSettings::default() };
    let (key, pretrained) = (Key::new(1), tiny(5));
    Model::build(strategy, &json!({}), &head, &pretrained, tasks(count), key, &Device::Cpu, DType::F64)
}

#[test]
fn a_changed_structure_comes_back_from_a_file() -> Result<()> {
    let all = [TaskId(0), TaskId(1), TaskId(2)];
    let mut trained = model(&LEAVE, 3)?;
    for at in 0..3 {
        step(&mut trained, &all, Progress { step: at, of: 3 }, 0.05)?;
    }
    let (own, shared) = (support::values(&trained, OWN)?, support::values(&trained, "shared/layer.2")?);
    assert_ne!(own, shared, "the two copies have parted");
    let file = serde_json::to_string(&trained.structure())?;
    let saved: Structure = serde_json::from_str(&file)?;
    assert_eq!(saved, trained.structure());

    let mut fresh = model(&LEAVE, 3)?;
    fresh.restructure(&saved)?;
    fresh.params.assign(&keep(&trained)?.0)?;
    assert_eq!(answers(&fresh)?, answers(&trained)?);
    assert_eq!(fresh.topology, trained.topology);
    assert_eq!(fresh.structure(), saved, "it can be saved again");

    let error = build("hard", &json!({}), &tiny(5), 3, DType::F64)?.restructure(&saved).err().context("hard")?;
    assert!(error.to_string().contains("does not change in training"), "{error}");
    let error = build("hard", &json!({}), &tiny(5), 2, DType::F64)?.restructure(&saved).err().context("two tasks")?;
    assert!(error.to_string().contains("a structure of 3 tasks"), "{error}");
    Ok(())
}

/// Tensors of 5, 7, 11 and 13 elements with owners chosen by hand.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Owners {}

const OWNERS: Strategy = Strategy::of::<Owners>("owners", "owners chosen by hand", "-", "36", true);

struct Nothing;

impl StrategySettings for Owners {
    fn build(self, context: &mut BuildContext) -> Result<Box<dyn Sharing>> {
        let (everyone, frozen) = (context.shared(), context.frozen());
        let pair = everyone.reached_by([TaskId(0), TaskId(1)].into_iter().collect());
        let scopes = [(pair, 5), (everyone, 7), (context.own(TaskId(2)), 11), (frozen, 13)];
        for (scope, length) in scopes {
            let zeros = Tensor::zeros(length, context.dtype(), &context.device())?;
            context.insert_tensor(&scope, &format!("x{length}"), &zeros, true)?;
        }
        Ok(Box::new(Nothing))
    }
}

impl Sharing for Nothing {
    fn represent(&self, _task: TaskId, _tokens: &Packed, _pass: &mut Pass) -> candle_core::Result<Tensor> {
        candle_core::bail!("nothing is represented here")
    }

    fn extra_bytes(&self) -> i64 {
        3
    }
}

#[test]
fn the_account_follows_the_owners() -> Result<()> {
    let model = model(&OWNERS, 3)?;
    let head = |task: usize| (2 + task) * (HIDDEN + 1);
    let heads = head(0) + head(1) + head(2);
    let account = model.accounting(100);
    assert_eq!(account.total, 5 + 7 + 11 + 13 + heads);
    assert_eq!(account.trainable, 5 + 7 + 11 + heads);
    assert_eq!(account.per_task, [5 + 7 + 13 + head(0), 5 + 7 + 13 + head(1), 7 + 11 + 13 + head(2)]);
    assert_eq!(account.shared_fraction, (5 + 7) as f64 / account.trainable as f64);
    assert_eq!(account.stored_bytes, 4 * account.total as u64 + 3);
    assert_eq!(account.single_task_total, 300 + heads);
    Ok(())
}
