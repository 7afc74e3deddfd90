//! A rule at work on a group of tasks: steps may leave tasks out, and the group may come to be of other tasks.

use mtl_task::{Progress, TaskId};
use serde_json::Value;

use crate::state::scatter;
use crate::{CachedWeights, Needs, Rule, State, StepInputs, Weighting};

/// A rule over a group of tasks, with a state for each of them.
///
/// A step in which all take part is the rule's own. A step in which some take part is decided by the same rule over
/// these alone, from their state, which it hands back; the state of the others stays as it is.
///
/// ```
/// use mtl_task::{Registry, TaskId};
/// use mtl_weighting::{GroupRule, Rule};
///
/// let rules = Registry::<Rule>::default();
/// let tasks = [TaskId(0), TaskId(1), TaskId(2)];
/// let mut rule = GroupRule::new(rules.find("mean").expect("a rule"), &serde_json::json!({}), &tasks, 3)?;
/// let seen = mtl_weighting::StepInputs {
///     losses: &[0.5, 0.7],
///     likelihood: &[],
///     progress: mtl_task::Progress { step: 0, of: 1 },
///     key: mtl_task::rng::Key::new(0),
/// };
/// // Task 1 takes no part.
/// let outcome = rule.step(&[TaskId(0), TaskId(2)], |rule| match rule {
///     mtl_weighting::Weighting::Losses(rule) => rule.weights(&seen),
///     _ => unreachable!("mean looks at losses"),
/// })?;
/// assert_eq!(outcome.weights, [0.5, 0.5]);
/// # Ok::<(), String>(())
/// ```
pub struct GroupRule {
    rule: Rule,
    settings: Value,
    /// The tasks that the settings are written for.
    of: usize,
    tasks: Vec<TaskId>,
    whole: Weighting,
}

impl GroupRule {
    /// `rule` over `tasks`, in ascending order, out of the recipe's `of` tasks, which its settings are written for.
    ///
    /// # Errors
    /// If the settings do not fit, or `tasks` is empty, not ascending or beyond the recipe's.
    pub fn new(rule: &Rule, settings: &Value, tasks: &[TaskId], of: usize) -> Result<Self, String> {
        let ascending = tasks.windows(2).all(|pair| pair[0] < pair[1]);
        if !ascending || tasks.last().is_none_or(|last| last.0 >= of) {
            return Err(format!("a rule needs tasks in ascending order, each below {of}, found {:?}", numbers(tasks)));
        }
        let whole = rule.over(settings, tasks, of)?;
        Ok(Self { rule: *rule, settings: settings.clone(), of, tasks: tasks.to_vec(), whole })
    }

    /// The group.
    pub fn tasks(&self) -> &[TaskId] {
        &self.tasks
    }

    /// The rule over the whole group.
    pub fn whole(&self) -> &Weighting {
        &self.whole
    }

    /// What the rule asks of a step.
    pub fn needs(&self) -> Needs {
        self.whole.needs()
    }

    /// The weights of the tasks `present` that still hold at `progress`, if the rule needs no new gradients there.
    ///
    /// # Errors
    /// If `present` are not tasks of the group in ascending order.
    pub fn cached(&self, present: &[TaskId], progress: Progress) -> Result<Option<CachedWeights>, String> {
        if present == self.tasks {
            return Ok(self.whole.cached(progress));
        }
        Ok(self.part(present)?.cached(progress))
    }

    /// The rule over `present` alone, from their state.
    fn part(&self, present: &[TaskId]) -> Result<Weighting, String> {
        self.positions(present)?;
        let mut part = self.rule.over(&self.settings, present, self.of)?;
        part.restore(&part.remap(&self.whole.state(), &self.tasks, present)?)?;
        Ok(part)
    }

    /// Lets the rule decide among the tasks `present`: `decide` is given the rule over these, and must show it the losses
    /// and gradients of these alone, in their order. The same goes for the losses after the step.
    ///
    /// # Errors
    /// If `present` are not tasks of the group in ascending order.
    pub fn step<T>(&mut self, present: &[TaskId], decide: impl FnOnce(&mut Weighting) -> T) -> Result<T, String> {
        if present == self.tasks {
            return Ok(decide(&mut self.whole));
        }
        let positions = self.positions(present)?;
        let mut part = self.rule.over(&self.settings, present, self.of)?;
        // They are as wide as the gradients: moved, not copied, and out of the way of `state`.
        let mut vectors = self.whole.vectors().map(std::mem::take);
        let mut state = self.whole.state();
        let started = part.remap(&state, &self.tasks, present).and_then(|state| part.restore(&state));
        let decided = started.map(|()| {
            if let (Some(all), Some(own)) = (&mut vectors, part.vectors()) {
                *own = all.take(&positions);
            }
            let decided = decide(&mut part);
            if let (Some(all), Some(own)) = (&mut vectors, part.vectors()) {
                all.put(&positions, std::mem::take(own), self.tasks.len());
            }
            scatter(part.shapes(), &mut state, &part.state(), &positions, self.tasks.len());
            decided
        });
        let restored = self.whole.restore(&state);
        if let (Some(all), Some(own)) = (vectors, self.whole.vectors()) {
            *own = all;
        }
        restored.and(decided)
    }

    /// The weights that [`GroupRule::step`] over the tasks `present` would give at `seen` whatever the losses are, for rules
    /// that know them before; its state stays as it is. None for other rules.
    ///
    /// # Errors
    /// If `present` are not tasks of the group in ascending order.
    pub fn foreseen(&mut self, present: &[TaskId], seen: &StepInputs) -> Result<Option<Vec<f64>>, String> {
        if present != self.tasks {
            let mut part = self.part(present)?;
            return Ok(match &mut part {
                Weighting::Losses(rule) if rule.weights_precede_losses() => Some(rule.weights(seen).weights),
                _ => None,
            });
        }
        let before = self.whole.state();
        match &mut self.whole {
            Weighting::Losses(rule) if rule.weights_precede_losses() => {
                let weights = rule.weights(seen).weights;
                self.whole.restore(&before)?;
                Ok(Some(weights))
            }
            _ => Ok(None),
        }
    }

    /// Makes it the rule of the group `tasks`: tasks that stay keep their state, new ones start afresh.
    ///
    /// # Errors
    /// As of [`GroupRule::new`].
    pub fn regroup(&mut self, tasks: &[TaskId]) -> Result<(), String> {
        let mut next = Self::new(&self.rule, &self.settings, tasks, self.of)?;
        let state = next.whole.remap(&self.whole.state(), &self.tasks, tasks)?;
        next.whole.restore(&state)?;
        *self = next;
        Ok(())
    }

    /// Goes on from the state of `other`, the same rule over another group: tasks of both keep theirs.
    ///
    /// # Errors
    /// If it is another rule.
    pub fn adopt(&mut self, other: &Self) -> Result<(), String> {
        let state = self.whole.remap(&other.whole.state(), &other.tasks, &self.tasks)?;
        self.whole.restore(&state)
    }

    /// All that the next step depends on.
    pub fn state(&self) -> State {
        self.whole.state()
    }

    /// Continues from a saved state.
    ///
    /// # Errors
    /// If the state is not one of this rule over as many tasks.
    pub fn restore(&mut self, state: &State) -> Result<(), String> {
        self.whole.restore(state)
    }

    /// Where each of `present` is in the group.
    fn positions(&self, present: &[TaskId]) -> Result<Vec<usize>, String> {
        let ascending = present.windows(2).all(|pair| pair[0] < pair[1]);
        let found: Option<Vec<usize>> =
            present.iter().map(|task| self.tasks.iter().position(|known| known == task)).collect();
        found.filter(|found| ascending && !found.is_empty()).ok_or_else(|| {
            format!(
                "a step needs tasks of the group {:?} in ascending order, found {:?}",
                numbers(&self.tasks),
                numbers(present)
            )
        })
    }
}

fn numbers(tasks: &[TaskId]) -> Vec<usize> {
    tasks.iter().map(|task| task.0).collect()
}
