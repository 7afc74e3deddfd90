//! How the structure of a model changes in training: through one door, which keeps parameters, owners and optimizer
//! moments together.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Result, Var};
use mtl_backbone::{Layout, Param, Params};

use crate::{Owner, TaskSet, Topology};

/// What an optimizer remembers of each parameter, as far as a change of structure touches it. What an optimizer does
/// not remember it need not change.
pub trait Moments {
    /// Gives the parameter called `to` a copy of what is remembered of `from`, the count of its steps included.
    fn fork(&mut self, from: &str, to: &str);

    /// Multiplies what is remembered of the parameter called `name`: running means of gradients by `first`, running
    /// means of their squares by `second`.
    fn scale(&mut self, name: &str, first: f64, second: f64);

    /// Makes what is remembered of `into` the sum of what is remembered of `parts`, each multiplied by its share
    /// (first and second moments alike), with the largest count of steps among them.
    fn merge(&mut self, into: &str, parts: &[(&str, f64)]);

    /// Forgets the parameter called `name`.
    fn drop(&mut self, name: &str);
}

/// Remembers nothing, as an optimizer without moments.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoMoments;

impl Moments for NoMoments {
    fn fork(&mut self, _from: &str, _to: &str) {}

    fn scale(&mut self, _name: &str, _first: f64, _second: f64) {}

    fn merge(&mut self, _into: &str, _parts: &[(&str, f64)]) {}

    fn drop(&mut self, _name: &str) {}
}

/// What a strategy may do to a training that is running, and nothing else.
pub struct Change<'a> {
    params: &'a mut Params,
    topology: &'a mut Topology,
    moments: &'a mut dyn Moments,
}

impl<'a> Change<'a> {
    /// The door to a model's `params` and `topology`, and to the optimizer's `moments`.
    pub fn new(params: &'a mut Params, topology: &'a mut Topology, moments: &'a mut dyn Moments) -> Self {
        Self { params, topology, moments }
    }

    /// Who owns what now.
    pub fn topology(&self) -> &Topology {
        self.topology
    }

    /// The parameters now.
    pub fn params(&self) -> &Params {
        self.params
    }

    /// A copy of `param` under a new `name`, trained by `tasks`: values, role, and moments as they are. No task's function
    /// changes by it.
    ///
    /// # Errors
    /// If the name is taken, or nobody is to train it.
    pub fn fork(&mut self, param: &Param, name: &str, tasks: TaskSet) -> Result<Param> {
        owned(name, &tasks)?;
        let copy = Var::from_tensor(&param.tensor().detach())?;
        let forked = self.params.insert_var(name, param.layout(), copy, true)?;
        self.topology.set(name, Owner::Tasks(tasks));
        self.topology.set_role(name, self.topology.role_of(param.name()));
        self.moments.fork(param.name(), name);
        Ok(forked)
    }

    /// A copy of `param` under a new `name` that nobody trains: what is to be kept as it is while others go on. It has no
    /// moments.
    ///
    /// # Errors
    /// If the name is taken.
    pub fn freeze(&mut self, param: &Param, name: &str) -> Result<Param> {
        let copy = Var::from_tensor(&param.tensor().detach())?;
        let frozen = self.params.insert_var(name, param.layout(), copy, false)?;
        self.topology.set(name, Owner::Frozen);
        self.topology.set_role(name, self.topology.role_of(param.name()));
        Ok(frozen)
    }

    /// Makes `tasks` those who train `param`.
    ///
    /// # Errors
    /// If there is no such trained parameter, or nobody is to train it.
    pub fn assign(&mut self, param: &Param, tasks: TaskSet) -> Result<()> {
        owned(param.name(), &tasks)?;
        if self.topology.trained_by(param.name()).is_none() {
            candle_core::bail!("`{}` is not a parameter that is trained", param.name());
        }
        self.topology.set(param.name(), Owner::Tasks(tasks));
        Ok(())
    }

    /// Takes `param` out of the model, and its moments with it.
    pub fn remove(&mut self, param: &Param) {
        self.params.remove(param.name());
        self.topology.remove(param.name());
        self.moments.drop(param.name());
    }

    /// The optimizer's moments. After a split a copy's gradient is that of fewer tasks: with s its tasks' share of the
    /// gradient's squared norm, known from the Gram matrix, the second moment is to be multiplied by s, or the copy
    /// crawls for about 1/(1 − β₂) steps.
    pub fn moments(&mut self) -> &mut dyn Moments {
        self.moments
    }
}

fn owned(name: &str, tasks: &TaskSet) -> Result<()> {
    if tasks.is_empty() {
        candle_core::bail!("`{name}` needs a task that trains it");
    }
    Ok(())
}

/// A structure as a checkpoint keeps it: the topology, and the layouts of its parameters, so that those which a model
/// lacks (they appeared in training, or have gone since) can be made again before any weight is read.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Structure {
    /// Who owns what.
    pub topology: Topology,
    /// The layouts of the parameters, by their names.
    pub layouts: BTreeMap<String, SavedLayout>,
}

/// No model that is trained here has a larger parameter.
const MOST_VALUES: usize = 2_000_000_000;

/// A [`Layout`] as a file keeps it.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SavedLayout {
    /// Name, shape and whether weight decay applies, of every tensor in order.
    tensors: Vec<(String, Vec<usize>, bool)>,
    /// Whether it is a table whose gradient is kept by rows.
    table: bool,
    /// The parameter's shape.
    shape: Vec<usize>,
}

impl SavedLayout {
    fn of(param: &Param) -> Self {
        let layout = param.layout();
        let tensors = layout.entries().iter().map(|e| (e.name.clone(), e.shape.clone(), e.decay)).collect();
        Self { tensors, table: layout.row_width().is_some(), shape: param.tensor().dims().to_vec() }
    }

    /// How many values it has; none if its tensors do not fill its shape, or no model could hold them.
    fn count(&self) -> Option<usize> {
        let product = |shape: &[usize]| shape.iter().try_fold(1usize, |count, size| count.checked_mul(*size));
        let mut all = 0usize;
        for (_, shape, _) in &self.tensors {
            all = all.checked_add(product(shape)?)?;
        }
        (product(&self.shape)? == all && all <= MOST_VALUES).then_some(all)
    }

    fn layout(&self) -> Arc<Layout> {
        match &self.tensors[..] {
            [(name, shape, _)] if self.table && shape.len() == 2 => Layout::table(name.clone(), shape[0], shape[1]),
            tensors => Layout::new(tensors.iter().cloned()),
        }
    }
}

impl Structure {
    /// The structure of a model.
    pub(crate) fn of(params: &Params, topology: &Topology) -> Self {
        let layouts = params.iter().map(|param| (param.name().to_string(), SavedLayout::of(param))).collect();
        Self { topology: topology.clone(), layouts }
    }

    /// Makes `params` the parameters of this structure: those that are not in it go, those that are missing are zeros
    /// until their weights are read.
    ///
    /// # Errors
    /// If it needs a parameter whose layout is not known, or cannot be true.
    pub(crate) fn rebuild(&self, params: &mut Params) -> Result<()> {
        let gone: Vec<String> = params
            .iter()
            .filter(|param| self.topology.owner_of(param.name()).is_none())
            .map(|param| param.name().to_string())
            .collect();
        gone.iter().for_each(|name| params.remove(name));
        for (name, owner) in self.topology.iter() {
            if params.get(name).is_some() {
                continue;
            }
            let Some(saved) = self.layouts.get(name) else {
                candle_core::bail!("the saved structure has a parameter `{name}` that this model lacks")
            };
            let Some(count) = saved.count() else {
                candle_core::bail!(
                    "the saved layout of `{name}` is damaged: shape {:?}, which its tensors do not fill or no memory does",
                    saved.shape
                )
            };
            let mut zeros: Vec<f32> = Vec::new();
            if zeros.try_reserve_exact(count).is_err() {
                candle_core::bail!("no memory for the {count} values that the saved structure gives `{name}`");
            }
            zeros.resize(count, 0.);
            let zeros = candle_core::Tensor::from_vec(zeros, saved.shape.as_slice(), params.device())?;
            let zeros = zeros.to_dtype(params.dtype())?;
            params.insert_var(name, &saved.layout(), Var::from_tensor(&zeros)?, *owner != Owner::Frozen)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor};
    use mtl_task::TaskId;

    use super::*;
    use crate::Role;

    /// Writes down what is asked of it.
    #[derive(Default)]
    struct Recorded(Vec<String>);

    impl Moments for Recorded {
        fn fork(&mut self, from: &str, to: &str) {
            self.0.push(format!("fork {from} to {to}"));
        }

        fn scale(&mut self, name: &str, first: f64, second: f64) {
            self.0.push(format!("scale {name} by {first} and {second}"));
        }

        fn merge(&mut self, into: &str, parts: &[(&str, f64)]) {
            self.0.push(format!("merge {parts:?} into {into}"));
        }

        fn drop(&mut self, name: &str) {
            self.0.push(format!("drop {name}"));
        }
    }

    fn tasks(tasks: &[usize]) -> TaskSet {
        tasks.to_vec().into()
    }

    /// Two tasks with a shared parameter `x` of values 1 and 2, and a frozen one.
    fn model() -> Result<(Params, Topology, Param)> {
        let (mut params, mut topology) = (Params::new(&Device::Cpu, DType::F64), Topology::new(2));
        let x = params.insert_tensor("shared/x", &Tensor::new(&[1f64, 2.], &Device::Cpu)?, true, true)?;
        params.insert_tensor("frozen/y", &Tensor::new(&[3f64], &Device::Cpu)?, false, false)?;
        topology.set("shared/x", Owner::Tasks(tasks(&[0, 1])));
        topology.set("frozen/y", Owner::Frozen);
        topology.set_role("shared/x", Role::Added);
        Ok((params, topology, x))
    }

    #[test]
    fn a_fork_has_the_values_and_goes_its_own_way() -> Result<()> {
        let ((mut params, mut topology, x), mut moments) = (model()?, Recorded::default());
        let version = topology.version();
        let copy = Change::new(&mut params, &mut topology, &mut moments).fork(&x, "task.b/x", tasks(&[1]))?;
        assert_eq!(copy.tensor().to_vec1::<f64>()?, [1., 2.]);
        assert!(copy.trainable());
        x.var().set(&Tensor::new(&[5f64, 6.], &Device::Cpu)?)?;
        assert_eq!(copy.tensor().to_vec1::<f64>()?, [1., 2.]);
        copy.var().set(&Tensor::new(&[7f64, 8.], &Device::Cpu)?)?;
        assert_eq!(x.tensor().to_vec1::<f64>()?, [5., 6.]);
        assert_eq!(topology.trained_by("task.b/x"), Some(&tasks(&[1])));
        assert_eq!(topology.role_of("task.b/x"), Role::Added);
        assert_eq!(topology.trained_by("shared/x"), Some(&tasks(&[0, 1])), "until it is assigned anew");
        assert!(topology.version() > version && params.get("task.b/x").is_some());
        assert_eq!(moments.0, ["fork shared/x to task.b/x"]);
        let mut change = Change::new(&mut params, &mut topology, &mut moments);
        let kept = change.freeze(&copy, "frozen/b/x")?;
        assert!(!kept.trainable() && change.topology().owner_of("frozen/b/x") == Some(&Owner::Frozen));
        copy.var().set(&Tensor::new(&[9f64, 9.], &Device::Cpu)?)?;
        assert_eq!(kept.tensor().to_vec1::<f64>()?, [7., 8.]);
        assert_eq!(moments.0.len(), 1, "it has no moments");
        Ok(())
    }

    #[test]
    fn assign_and_remove_keep_parameters_owners_and_moments_together() -> Result<()> {
        let ((mut params, mut topology, x), mut moments) = (model()?, Recorded::default());
        let mut change = Change::new(&mut params, &mut topology, &mut moments);
        change.assign(&x, tasks(&[0]))?;
        assert_eq!(change.topology().trained_by("shared/x"), Some(&tasks(&[0])));
        assert!(change.params().get("shared/x").is_some());
        change.remove(&x);
        assert!(params.get("shared/x").is_none() && topology.owner_of("shared/x").is_none());
        assert!(topology.reached_by(TaskId(0)).contains("frozen/y"));
        assert_eq!(moments.0, ["drop shared/x"], "an assignment leaves the moments as they are");
        Ok(())
    }

    #[test]
    fn what_makes_no_sense_is_refused_and_changes_nothing() -> Result<()> {
        let ((mut params, mut topology, x), mut moments) = (model()?, Recorded::default());
        let (before, frozen) = (topology.clone(), params.get("frozen/y").expect("inserted").clone());
        let mut elsewhere = Params::new(&Device::Cpu, DType::F64);
        let unknown = elsewhere.insert_tensor("shared/z", frozen.tensor(), true, true)?;
        let mut change = Change::new(&mut params, &mut topology, &mut moments);
        let refusals = [
            (change.fork(&x, "task.b/x", tasks(&[])).map(|_| ()), "needs a task"),
            (change.assign(&x, tasks(&[])), "needs a task"),
            (change.assign(&unknown, tasks(&[0])), "`shared/z` is not a parameter that is trained"),
            (change.assign(&frozen, tasks(&[0])), "`frozen/y` is not a parameter that is trained"),
            (change.fork(&x, "frozen/y", tasks(&[1])).map(|_| ()), "frozen/y"),
        ];
        for (refusal, reason) in refusals {
            let error = refusal.expect_err(reason).to_string();
            assert!(error.contains(reason), "{error}");
        }
        assert_eq!((topology, params.iter().count(), moments.0.len()), (before, 2, 0));
        Ok(())
    }
}
