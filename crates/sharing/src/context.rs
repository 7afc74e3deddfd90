//! Where a strategy is built: every parameter is put in with the tasks that own it and the role that it has.

use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor};
use mtl_backbone::{Encoder, Family, Flat, Layout, Param, Params, Part, Pretrained};
use mtl_task::TaskId;
use mtl_task::rng::Key;

use crate::{Head, Owner, Role, TaskSet, TaskShape, Topology};

/// Where a strategy is built.
pub struct BuildContext<'a> {
    /// The encoder and the weights that training starts from.
    pub pretrained: &'a Pretrained,
    /// The encoder, shared with the model.
    pub encoder: Arc<Family>,
    /// The tasks, in the recipe's order.
    pub tasks: &'a [TaskShape],
    /// The tasks' heads, in their order, for strategies that read what other tasks predict.
    pub heads: &'a [Head],
    /// Names the random numbers of the initial values.
    pub key: Key,
    params: &'a mut Params,
    topology: &'a mut Topology,
}

/// What the names of some parameters begin with, who owns them, and what kind of parameters they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    prefix: String,
    owner: Owner,
    role: Role,
}

impl Scope {
    /// The same names, owned by `tasks` instead: what one task has for itself may be read by others too.
    #[must_use]
    pub fn reached_by(&self, tasks: TaskSet) -> Self {
        Self { owner: Owner::Tasks(tasks), ..self.clone() }
    }

    /// The same names and owner for parameters of another kind than an encoder's, which decides their learning rate.
    #[must_use]
    pub fn with_role(&self, role: Role) -> Self {
        Self { role, ..self.clone() }
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.prefix)
    }
}

/// What the names of parameters of `tasks` begin with, of a model of the tasks called `names`.
pub(crate) fn together(tasks: &TaskSet, names: &[&str]) -> String {
    let members: Vec<&str> = tasks.iter().map(|task| names[task.0]).collect();
    match members[..] {
        _ if members.len() == names.len() => "shared".into(),
        [alone] => format!("task.{alone}"),
        _ => format!("group.{}", members.join("+")),
    }
}

impl<'a> BuildContext<'a> {
    /// A context that puts parameters into `params` and their owners into `topology`.
    pub fn new(
        pretrained: &'a Pretrained,
        encoder: Arc<Family>,
        (tasks, heads): (&'a [TaskShape], &'a [Head]),
        params: &'a mut Params,
        topology: &'a mut Topology,
        key: Key,
    ) -> Self {
        Self { pretrained, encoder, tasks, heads, key, params, topology }
    }

    /// Owned by all tasks: `shared/…`.
    pub fn shared(&self) -> Scope {
        Scope { prefix: "shared".into(), owner: Owner::Tasks(TaskSet::all(self.tasks.len())), role: Role::Encoder }
    }

    /// Not trained: `frozen/…`.
    pub fn frozen(&self) -> Scope {
        Scope { prefix: "frozen".into(), owner: Owner::Frozen, role: Role::Encoder }
    }

    /// Owned by `task` alone: `task.<name>/…`.
    ///
    /// # Panics
    /// If there is no such task.
    pub fn own(&self, task: TaskId) -> Scope {
        Scope {
            prefix: format!("task.{}", self.tasks[task.0].name),
            owner: Owner::Tasks(TaskSet::one(task)),
            role: Role::Encoder,
        }
    }

    /// Owned by `tasks`: `shared/…` for all of them, `task.<name>/…` for one, else `group.<name>+<name>/…`.
    ///
    /// # Panics
    /// If there is no such task.
    pub fn together(&self, tasks: &TaskSet) -> Scope {
        let names: Vec<&str> = self.tasks.iter().map(|task| task.name.as_str()).collect();
        Scope { prefix: together(tasks, &names), owner: Owner::Tasks(tasks.clone()), role: Role::Encoder }
    }

    /// The scope of each task, see [`BuildContext::own`].
    pub fn each(&self) -> Vec<Scope> {
        (0..self.tasks.len()).map(|task| self.own(TaskId(task))).collect()
    }

    /// Type of the parameters.
    pub fn dtype(&self) -> DType {
        self.params.dtype()
    }

    /// Where the parameters live.
    pub fn device(&self) -> Device {
        self.params.device().clone()
    }

    /// Adds the flat parameter `scope/name`, laid out as `layout`.
    ///
    /// # Errors
    /// If the name is taken or the length is not the layout's.
    pub fn insert(&mut self, scope: &Scope, name: &str, layout: &Arc<Layout>, values: &Flat) -> Result<Param> {
        let name = format!("{scope}/{name}");
        let param = self.params.insert(&name, layout, values, scope.owner != Owner::Frozen)?;
        self.own_as(&name, scope);
        Ok(param)
    }

    /// Adds the tensor `scope/name` as a parameter that keeps its shape. `decay` says whether weight decay applies.
    ///
    /// # Errors
    /// If the name is taken.
    pub fn insert_tensor(&mut self, scope: &Scope, name: &str, values: &Tensor, decay: bool) -> Result<Param> {
        let name = format!("{scope}/{name}");
        let param = self.params.insert_tensor(&name, values, decay, scope.owner != Owner::Frozen)?;
        self.own_as(&name, scope);
        Ok(param)
    }

    /// Adds one part of the pretrained weights.
    ///
    /// # Errors
    /// If the name is taken.
    pub fn insert_part(&mut self, scope: &Scope, part: Part) -> Result<Param> {
        let layout = self.pretrained.encoder.layout(part).clone();
        let values = self.pretrained.weights(part, self.dtype());
        self.insert(scope, &part.to_string(), &layout, &values)
    }

    fn own_as(&mut self, name: &str, scope: &Scope) {
        self.topology.set(name, scope.owner.clone());
        self.topology.set_role(name, scope.role);
    }

    /// Lets `tasks` train `param` beside those who own it already.
    pub fn extend(&mut self, param: &str, tasks: &TaskSet) {
        self.topology.extend(param, tasks);
    }
}
