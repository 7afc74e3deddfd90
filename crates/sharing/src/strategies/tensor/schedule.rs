//! Where the factors come from: nothing to do for random ones; for `svd`, a phase of training for each task alone,
//! then one decomposition a matrix.

use std::collections::BTreeMap;

use candle_core::{Device, Result, Tensor};
use mtl_backbone::{Flat, Part};
use mtl_task::TaskId;
use mtl_task::rng::Key;
use serde_json::{Map, Value, json};

use super::{Init, Layer, TensorFactorisation, factors};
use crate::blocks::values::copied;
use crate::{EncoderWeights, Phase};

/// What is trained now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing yet.
    Before,
    /// The layers' matrices, for one task alone.
    Deltas(usize),
    /// The factors.
    Factors,
}

/// The phases, and what is remembered between them.
pub(super) struct FactorSchedule {
    settings: TensorFactorisation,
    tasks: Vec<String>,
    key: Key,
    stage: Stage,
    /// The layers as they were; only while deltas are trained.
    origin: Vec<Tensor>,
    /// Each finished task's deltas, layer by layer, until they are factorised.
    deltas: Vec<Vec<Tensor>>,
    /// Relative error and ranks of each matrix, once factorised.
    fit: Vec<[f64; 4]>,
}

impl FactorSchedule {
    pub(super) fn new(settings: &TensorFactorisation, tasks: Vec<String>, key: Key) -> Self {
        let (origin, deltas, fit) = (Vec::new(), Vec::new(), Vec::new());
        Self { settings: settings.clone(), tasks, key, stage: Stage::Before, origin, deltas, fit }
    }

    pub(super) fn stage(&self) -> Stage {
        self.stage
    }

    /// What the `phase`-th phase trains.
    fn stage_of(&self, phase: usize) -> Stage {
        match self.settings.init {
            Init::Svd if phase < self.tasks.len() => Stage::Deltas(phase),
            _ => Stage::Factors,
        }
    }

    /// How `budget` steps are spent.
    pub(super) fn phases(&self, budget: usize) -> Vec<Phase> {
        if self.settings.init == Init::Random {
            return vec![Phase::main(budget)];
        }
        let count = self.tasks.len();
        let alone = ((self.settings.search * budget as f64) as usize / count.max(1)).max(1);
        let phase = |name: String, steps, tasks| Phase { name, steps, tasks, reset_optimizer: true };
        let deltas = self.tasks.iter().enumerate();
        let deltas = deltas.map(|(task, name)| phase(format!("delta {name}"), alone, Some(vec![TaskId(task)])));
        let rest = budget.saturating_sub(count * alone).max(1);
        deltas.chain([phase("train".into(), rest, None)]).collect()
    }

    /// Begins the `phase`-th phase: takes the last task's delta and rewinds, and factorises after the last one.
    pub(super) fn enter(&mut self, phase: usize, base: &EncoderWeights, layers: &[Layer]) -> Result<()> {
        let parts = || (0..layers.len()).map(|index| base.part(Part::Layer(index)));
        if let Stage::Deltas(_) = self.stage {
            let delta = |(index, origin): (usize, &Tensor)| {
                (base.part(Part::Layer(index)).tensor().detach() - origin)?.to_device(&Device::Cpu)
            };
            self.deltas.push(self.origin.iter().enumerate().map(delta).collect::<Result<_>>()?);
            parts().zip(&self.origin).try_for_each(|(param, origin)| param.var().set(origin))?;
        }
        self.stage = self.stage_of(phase);
        match self.stage {
            Stage::Deltas(_) if self.origin.is_empty() => {
                self.origin = parts().map(|param| copied(param.tensor())).collect::<Result<_>>()?;
            }
            Stage::Factors if !self.deltas.is_empty() => {
                self.origin.clear();
                let deltas = std::mem::take(&mut self.deltas);
                for (index, layer) in layers.iter().enumerate() {
                    let deltas: Vec<Flat> = deltas.iter().map(|task| Flat::of(&task[index])).collect::<Result<_>>()?;
                    self.factorise(layer, &deltas, self.key.with(index as u64))?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Sets the factors of `layer` to those of the tasks' `deltas`, flat as the layer is.
    fn factorise(&mut self, layer: &Layer, deltas: &[Flat], key: Key) -> Result<()> {
        let mut mixes: Vec<Vec<Tensor>> = vec![Vec::new(); deltas.len()];
        for (at, matrix) in layer.matrices.iter().enumerate() {
            let dims = matrix.factors.dims;
            let deltas: Vec<Tensor> =
                deltas.iter().map(|delta| factors::matrix(delta, &matrix.range, dims)).collect::<Result<_>>()?;
            let found = matrix.factors.decompose(&deltas, self.settings.error, key.with(at as u64))?;
            let [left, right, mix] = found.ranks.map(|rank| rank as f64);
            self.fit.push([matrix.factors.error(&found, &deltas)?, left, right, mix]);
            for (param, values) in matrix.shared.iter().zip(&found.shared) {
                let values = values.to_dtype(param.tensor().dtype())?.to_device(param.tensor().device())?;
                param.var().set(&values)?;
            }
            for (task, mixes) in mixes.iter_mut().enumerate() {
                mixes.push(found.mixes.narrow(0, task, 1)?);
            }
        }
        for (param, mixes) in layer.mixes.iter().zip(&mixes) {
            let values = Tensor::cat(mixes, 0)?.to_dtype(param.tensor().dtype())?;
            param.var().set(&values.to_device(param.tensor().device())?)?;
        }
        Ok(())
    }

    /// The tasks' names.
    pub(super) fn tasks(&self) -> &[String] {
        &self.tasks
    }

    /// How well the factors picture the single-task deltas, if these were.
    pub(super) fn findings(&self) -> Map<String, Value> {
        let mut found = Map::new();
        if self.fit.is_empty() {
            return found;
        }
        let count = self.fit.len() as f64;
        let mean = |column: usize| self.fit.iter().map(|fit| fit[column]).sum::<f64>() / count;
        let worst = self.fit.iter().map(|fit| fit[0]).fold(0., f64::max);
        found.insert("relative_error".into(), json!({ "mean": mean(0), "worst": worst }));
        found.insert("mean_ranks".into(), json!({ "rows": mean(1), "columns": mean(2), "tasks": mean(3) }));
        found
    }

    /// The rewound layers, the deltas so far, and how well they were factorised.
    pub(super) fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        let mut state = BTreeMap::new();
        let deltas =
            self.deltas.iter().enumerate().map(|(task, layers)| (format!("delta.{}", self.tasks[task]), layers));
        for (scope, layers) in deltas.chain([("origin".into(), &self.origin)]) {
            for (index, tensor) in layers.iter().enumerate() {
                state.insert(format!("{scope}/layer.{index}"), tensor.to_device(&Device::Cpu)?);
            }
        }
        if !self.fit.is_empty() {
            state.insert("fit".into(), Tensor::from_vec(self.fit.concat(), (self.fit.len(), 4), &Device::Cpu)?);
        }
        Ok(state)
    }

    /// Continues from `state` inside the `phase`-th phase, over the encoder `base`.
    pub(super) fn restore(
        &mut self,
        state: &BTreeMap<String, Tensor>,
        phase: usize,
        base: &EncoderWeights,
    ) -> Result<()> {
        let layers = base.layers();
        let saved = |scope: &str| -> Vec<Tensor> {
            (0..layers).map_while(|index| state.get(&format!("{scope}/layer.{index}")).cloned()).collect()
        };
        self.stage = self.stage_of(phase);
        let (wanted, origin) = match self.stage {
            Stage::Deltas(task) => (task, layers),
            _ => (0, 0),
        };
        self.deltas = self.tasks[..wanted].iter().map(|task| saved(&format!("delta.{task}"))).collect();
        // A state lies on the host; what the parameters are set to lies where they do.
        let there =
            |(index, origin): (usize, Tensor)| origin.to_device(base.part(Part::Layer(index)).tensor().device());
        self.origin = saved("origin").into_iter().enumerate().map(there).collect::<Result<_>>()?;
        if self.origin.len() != origin || self.deltas.iter().any(|delta| delta.len() != layers) {
            candle_core::bail!(
                "not a state of tensor factorisation in phase {phase}: {} rewound layers, expected {origin}, and {wanted} \
                 tasks' deltas",
                self.origin.len()
            );
        }
        let fit = state.get("fit").map(Tensor::to_vec2::<f64>).transpose()?.unwrap_or_default();
        self.fit = fit.iter().map(|row| [row[0], row[1], row[2], row[3]]).collect();
        Ok(())
    }
}
