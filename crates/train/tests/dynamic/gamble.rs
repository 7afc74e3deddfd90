//! A strategy that races, written against the public interface alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Result, Tensor};
use mtl_backbone::{Encoder, Family, Params, Part, Pass};
use mtl_sharing::{
    Arm, Budget, BuildContext, Change, DevScores, EncoderWeights, Race, Racing, Ruling, Sharing, Standings, Strategy,
    StrategySettings, TaskSet, Topology,
};
use mtl_task::{Packed, TaskId};
use serde::{Deserialize, Serialize};

/// One encoder that races against an arm that loses and one that changes nothing, every `every` steps of the budget.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Gamble {
    every: usize,
}

pub(crate) const GAMBLE: Strategy =
    Strategy::of::<Gamble>("gamble", "one encoder, and races that nobody wins", "-", "P", true);

impl StrategySettings for Gamble {
    fn build(self, context: &mut BuildContext) -> anyhow::Result<Box<dyn Sharing>> {
        let everyone = context.shared();
        let weights = EncoderWeights::insert(context, &everyone)?;
        Ok(Box::new(Gambling { encoder: context.encoder.clone(), weights, every: self.every, races: 0 }))
    }
}

struct Gambling {
    encoder: Arc<Family>,
    weights: EncoderWeights,
    every: usize,
    races: usize,
}

impl Sharing for Gambling {
    fn represent(&self, _task: TaskId, tokens: &Packed, pass: &mut Pass) -> Result<Tensor> {
        let depth = self.encoder.layers();
        Ok(self.weights.states(&self.encoder, tokens, depth, pass)?.swap_remove(depth))
    }

    fn racing(&mut self) -> Option<&mut dyn Racing> {
        Some(self)
    }

    fn restructure(&mut self, _topology: &Topology, params: &Params) -> Result<()> {
        self.weights = EncoderWeights::find(params, "shared", self.encoder.layers())?;
        Ok(())
    }

    fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        Ok(BTreeMap::from([("races".into(), Tensor::new(self.races as f64, &candle_core::Device::Cpu)?)]))
    }

    fn restore(&mut self, state: &BTreeMap<String, Tensor>, _phase: usize) -> Result<()> {
        self.races = state["races"].to_scalar::<f64>()? as usize;
        Ok(())
    }
}

impl Racing for Gambling {
    fn due(&self, budget: &Budget) -> Result<Option<Race>> {
        let arm = |name: &str| Arm { name: name.into(), change: name.into() };
        let race = Race { arms: ["stay", "ruin", "copy"].map(arm).into(), looks: vec![1, 2], held_out: 4 };
        Ok((budget.spent() >= (self.races + 1) * self.every && budget.left() > 10).then_some(race))
    }

    fn set_off(&mut self, race: &Race, arm: usize, change: &mut Change, _dev: &mut dyn DevScores) -> Result<usize> {
        match race.arms[arm].name.as_str() {
            "ruin" => {
                let words = self.weights.part(Part::Words);
                words.var().set(&(words.tensor().detach() * 50.)?)?;
            }
            "copy" => {
                let words = self.weights.part(Part::Words).clone();
                let tasks = TaskSet::all(change.topology().tasks());
                // A name in the same place: rules with a state for each value know them by their order.
                let copy = change.fork(&words, "words/words", tasks)?;
                change.remove(&words);
                self.weights = self.weights.clone().with(Part::Words, copy);
            }
            _ => {}
        }
        Ok(0)
    }

    fn judge(&self, _race: &Race, standings: &Standings) -> Result<Ruling> {
        assert!(standings.losses.values().flatten().all(|losses| losses.len() == 4));
        if let (Some(stay), Some(copy)) = (standings.losses.get(&0), standings.losses.get(&2)) {
            assert_eq!(stay, copy, "another name is no other model");
        }
        let keep = if standings.steps == 1 { vec![0, 1] } else { vec![0] };
        Ok(Ruling { keep, record: serde_json::Value::Null })
    }

    fn conclude(
        &mut self,
        _race: &Race,
        rulings: &[Ruling],
        charged: usize,
        budget: &Budget,
    ) -> Result<serde_json::Value> {
        assert_eq!(rulings.len(), 2);
        self.races += 1;
        Ok(serde_json::json!({ "charged": charged, "spent": budget.spent() }))
    }
}
