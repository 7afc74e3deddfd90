//! What a training may cost, and what was spent of it: on the steps of the model that is kept, and beside them.
//!
//! The unit is a step: a pass (forward and backward of one task's batch) for each of its tasks. Forward passes alone
//! count a third, and what is less than a step is charged as one, so that what is spent is a whole number of steps and ends
//! at what was given.

/// A training's budget, in steps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Budget {
    /// Steps that the training may cost.
    pub of: usize,
    /// Steps that the model has taken.
    pub steps: usize,
    /// Steps that were paid for what is not part of its path: models that were tried and dropped, and scoring.
    pub charged: usize,
    /// Examples that a step learns from, of all tasks together.
    pub per_step: f64,
    /// Steps in which each task sees as many examples as it has.
    pub epochs: Vec<f64>,
    /// Examples of each task's dev split; none where nothing can be scored.
    pub held_out: Vec<usize>,
}

impl Budget {
    /// A budget of `steps` steps of which nothing is known but their number.
    pub fn of(steps: usize) -> Self {
        Self { of: steps, ..Self::default() }
    }

    /// Steps paid so far.
    pub fn spent(&self) -> usize {
        self.steps + self.charged
    }

    /// Steps that are still to be spent.
    pub fn left(&self) -> usize {
        self.of.saturating_sub(self.spent())
    }

    /// Pays `steps` steps.
    pub fn charge(&mut self, steps: usize) {
        self.charged += steps;
    }

    /// Steps that a forward pass of `examples` examples costs.
    pub fn forward(&self, examples: usize) -> usize {
        if self.per_step > 0. { (examples as f64 / (3. * self.per_step)).ceil() as usize } else { 0 }
    }

    /// Whether every task has examples to be scored on.
    pub fn can_score(&self) -> bool {
        !self.held_out.is_empty() && self.held_out.iter().all(|count| *count > 0)
    }

    /// How many examples are scored if at most `most` of each task are.
    pub fn sample(&self, most: usize) -> usize {
        self.held_out.iter().map(|count| *count.min(&most)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spent_is_whole_steps_and_ends_at_what_was_given() {
        let mut budget =
            Budget { of: 10, per_step: 8., held_out: vec![30, 10], epochs: vec![4., 2.], ..Budget::default() };
        assert_eq!((budget.sample(20), budget.sample(100)), (30, 40));
        // 30 examples are 30/24 of a step.
        assert_eq!((budget.forward(30), budget.forward(24), budget.forward(0)), (2, 1, 0));
        budget.steps = 3;
        budget.charge(budget.forward(30));
        assert_eq!((budget.spent(), budget.left()), (5, 5));
        budget.charge(7);
        assert_eq!(budget.left(), 0);
        assert!(budget.can_score() && !Budget::of(3).can_score());
        assert_eq!(Budget::of(3).forward(5), 0);
    }
}
