//! The parameters of a whole model, by name and in a fixed order.
//!
//! A name is a prefix, then which part it is: `shared/layer.0`, `task.sst2/head.weight`, `frozen/words`. In files each
//! tensor keeps the hub's name behind the prefix. Prefixes are for people: who trains what is the topology's to say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor, Var};

use crate::{Flat, Layout};

/// One parameter vector.
#[derive(Clone, Debug)]
pub struct Param {
    name: String,
    var: Var,
    layout: Arc<Layout>,
    trainable: bool,
}

impl Param {
    /// Its name, `owner/part`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its name begins with, and its tensors' names in files.
    pub fn prefix(&self) -> &str {
        self.name.split('/').next().unwrap_or_default()
    }

    /// Its values.
    pub fn var(&self) -> &Var {
        &self.var
    }

    /// Its values, as a tensor that candle tracks.
    pub fn tensor(&self) -> &Tensor {
        self.var.as_tensor()
    }

    /// A copy of its values as they are now, on their device, which later steps do not change.
    ///
    /// # Errors
    /// Those of candle.
    pub fn snapshot(&self) -> Result<Tensor> {
        // Not `Tensor::copy`, which on Metal is another name for the same memory.
        Ok(Var::from_tensor(&self.tensor().detach())?.into_inner().detach())
    }

    /// The tensors in it.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// Whether the optimizer may change it.
    pub fn trainable(&self) -> bool {
        self.trainable
    }
}

/// All parameters of a model, sorted by name.
#[derive(Clone, Debug)]
pub struct Params {
    entries: BTreeMap<String, Param>,
    device: Device,
    dtype: DType,
}

impl Params {
    /// No parameters yet.
    pub fn new(device: &Device, dtype: DType) -> Self {
        Self { entries: BTreeMap::new(), device: device.clone(), dtype }
    }

    /// Where they live.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// F32, or F64 in tests.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Adds a flat parameter laid out as `layout`. `trainable` says whether the optimizer may change it.
    ///
    /// # Errors
    /// If the name is taken or the length is not the layout's.
    pub fn insert(&mut self, name: &str, layout: &Arc<Layout>, values: &Flat, trainable: bool) -> Result<Param> {
        if values.len() != layout.len() {
            candle_core::bail!("parameter `{name}`: {} values for a layout of {}", values.len(), layout.len());
        }
        // Cast where the values are: Metal casts nothing from f64.
        let tensor = values.tensor(&Device::Cpu)?.to_dtype(self.dtype)?.to_device(&self.device)?;
        self.insert_var(name, layout, Var::from_tensor(&tensor)?, trainable)
    }

    /// Adds one tensor as a parameter that keeps its shape. `decay` says whether weight decay applies, `trainable`
    /// whether the optimizer may change it.
    ///
    /// # Errors
    /// If the name is taken.
    pub fn insert_tensor(&mut self, name: &str, values: &Tensor, decay: bool, trainable: bool) -> Result<Param> {
        let tensor_name = name.split_once('/').map_or(name, |(_, rest)| rest).to_string();
        let layout = Layout::new([(tensor_name, values.dims().to_vec(), decay)]);
        let tensor = values.to_dtype(self.dtype)?.to_device(&self.device)?;
        self.insert_var(name, &layout, Var::from_tensor(&tensor.detach())?, trainable)
    }

    /// Adds `var`, whose elements are laid out as `layout`.
    ///
    /// # Errors
    /// If the name is taken or the length is not the layout's.
    pub fn insert_var(&mut self, name: &str, layout: &Arc<Layout>, var: Var, trainable: bool) -> Result<Param> {
        if var.elem_count() != layout.len() {
            candle_core::bail!("parameter `{name}`: {} values for a layout of {}", var.elem_count(), layout.len());
        }
        if self.entries.contains_key(name) {
            candle_core::bail!("two parameters are called `{name}`");
        }
        let param = Param { name: name.to_string(), var, layout: layout.clone(), trainable };
        self.entries.insert(name.to_string(), param.clone());
        Ok(param)
    }

    /// Takes the parameter called `name` out; whoever holds it keeps its values.
    pub fn remove(&mut self, name: &str) {
        self.entries.remove(name);
    }

    /// The parameter called `name`.
    pub fn get(&self, name: &str) -> Option<&Param> {
        self.entries.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Param> {
        self.entries.values()
    }

    /// Number of values.
    pub fn count(&self) -> usize {
        self.iter().map(|param| param.layout.len()).sum()
    }

    /// The tensors by the names they have in files: `owner/hub name`, each in its own shape, on the host.
    ///
    /// # Errors
    /// Those of candle.
    pub fn tensors(&self) -> Result<Vec<(String, Tensor)>> {
        Self::named(self.iter())
    }

    /// As [`Params::tensors`], of the parameters called `names` alone.
    ///
    /// # Errors
    /// Those of candle.
    pub fn tensors_of(&self, names: &BTreeSet<String>) -> Result<Vec<(String, Tensor)>> {
        Self::named(self.iter().filter(|param| names.contains(param.name())))
    }

    fn named<'a>(params: impl Iterator<Item = &'a Param>) -> Result<Vec<(String, Tensor)>> {
        let mut tensors = Vec::new();
        for param in params {
            // A copy: on the host the tensors would otherwise follow every later step.
            let flat = param.snapshot()?.flatten_all()?.to_device(&Device::Cpu)?;
            for entry in param.layout.entries() {
                let values = flat.narrow(0, entry.range.start, entry.range.len())?;
                tensors.push((format!("{}/{}", param.prefix(), entry.name), values.reshape(entry.shape.as_slice())?));
            }
        }
        Ok(tensors)
    }

    /// Sets every parameter from tensors named as [`Params::tensors`] names them.
    ///
    /// # Errors
    /// If one is missing, has another shape, or belongs to no parameter, naming it; then nothing is changed.
    pub fn assign(&self, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
        self.check(tensors)?;
        for param in self.iter() {
            let mut flat = Vec::with_capacity(param.layout.entries().len());
            for entry in param.layout.entries() {
                let name = format!("{}/{}", param.prefix(), entry.name);
                let Some(tensor) = tensors.get(&name) else { candle_core::bail!("tensor `{name}` is missing") };
                flat.push(tensor.to_dtype(self.dtype)?.to_device(&self.device)?.flatten_all()?);
            }
            param.var.set(&Tensor::cat(&flat, 0)?.reshape(param.var.shape())?)?;
        }
        Ok(())
    }

    /// Whether `tensors` are exactly those of the parameters, by name and shape.
    fn check(&self, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
        let mut shapes: BTreeMap<String, &[usize]> = BTreeMap::new();
        for param in self.iter() {
            let named = |name: &String| format!("{}/{name}", param.prefix());
            shapes.extend(param.layout.entries().iter().map(|entry| (named(&entry.name), entry.shape.as_slice())));
        }
        for (name, shape) in &shapes {
            let Some(tensor) = tensors.get(name) else {
                let others = tensors.keys().filter(|other| !shapes.contains_key(*other));
                let nearest = mtl_task::nearest(name, others.map(String::as_str));
                candle_core::bail!("tensor `{name}` is missing{nearest}")
            };
            if tensor.dims() != *shape {
                candle_core::bail!("tensor `{name}` has shape {:?}, expected {shape:?}", tensor.dims());
            }
        }
        let unknown: Vec<String> = (tensors.keys())
            .filter(|name| !shapes.contains_key(*name))
            .map(|name| format!("`{name}`{}", mtl_task::nearest(name, shapes.keys().map(String::as_str))))
            .collect();
        if !unknown.is_empty() {
            let more = unknown.len().saturating_sub(5);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let shown = unknown[..unknown.len().min(5)].join(", ");
            candle_core::bail!("no parameter takes these tensors: {shown}{more}; they are of another model");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_round_trip_by_hub_name() -> Result<()> {
        let mut params = Params::new(&Device::Cpu, DType::F32);
        let layout = Layout::new([("a".into(), vec![2, 2], true), ("b".into(), vec![1], false)]);
        params.insert("shared/layer.0", &layout, &Flat::F32(vec![1., 2., 3., 4., 5.]), true)?;
        params.insert_tensor("task.x/head.bias", &Tensor::new(&[7f32], &Device::Cpu)?, false, true)?;
        let saved: BTreeMap<String, Tensor> = params.tensors()?.into_iter().collect();
        assert_eq!(saved.keys().collect::<Vec<_>>(), ["shared/a", "shared/b", "task.x/head.bias"]);
        for param in params.iter() {
            param.var().set(&param.tensor().detach().zeros_like()?)?;
        }
        let (first, all) = (params.get("shared/layer.0").expect("inserted"), [1f32, 2., 3., 4., 5.]);
        let kept = first.snapshot()?;
        params.assign(&saved)?;
        assert_eq!((kept.to_vec1::<f32>()?, first.snapshot()?.to_vec1::<f32>()?), (vec![0.; 5], all.to_vec()));
        assert!(!kept.is_variable() && !kept.track_op());
        let restored = params.get("shared/layer.0").expect("inserted").tensor().to_vec1::<f32>()?;
        assert_eq!(restored, [1., 2., 3., 4., 5.]);
        assert!(params.insert_tensor("task.x/head.bias", &Tensor::new(0f32, &Device::Cpu)?, false, true).is_err());

        // What is refused changes nothing, and the tensor that is at fault is named.
        let refused = |change: &dyn Fn(&mut BTreeMap<String, Tensor>) -> Result<()>| {
            let mut tensors: BTreeMap<String, Tensor> =
                saved.iter().map(|(name, tensor)| Ok((name.clone(), tensor.zeros_like()?))).collect::<Result<_>>()?;
            change(&mut tensors)?;
            let error = params.assign(&tensors).err().map(|error| error.to_string()).unwrap_or_default();
            assert_eq!(params.get("shared/layer.0").expect("inserted").tensor().to_vec1::<f32>()?[0], 1., "{error}");
            Result::Ok(error)
        };
        let zero = || Tensor::zeros(1, DType::F32, &Device::Cpu);
        let error = refused(&|tensors| {
            tensors.insert("task.x/head.bia".into(), zero()?);
            Ok(())
        })?;
        assert!(error.contains("no parameter takes") && error.contains("`task.x/head.bias`?"), "{error}");
        let error = refused(&|tensors| {
            let bias = tensors.remove("task.x/head.bias");
            tensors.extend(bias.map(|bias| ("task.y/head.bias".into(), bias)));
            Ok(())
        })?;
        assert!(error.contains("`task.x/head.bias` is missing (did you mean `task.y/head.bias`?)"), "{error}");
        let error = refused(&|tensors| {
            tensors.insert("shared/a".into(), zero()?);
            Ok(())
        })?;
        assert!(error.contains("`shared/a` has shape [1], expected [2, 2]"), "{error}");
        let error = refused(&|tensors| {
            tensors.extend((0..9).map(|i| (format!("x{i}"), saved["shared/b"].clone())));
            Ok(())
        })?;
        assert!(error.contains("and 4 more"), "{error}");
        Ok(())
    }
}
