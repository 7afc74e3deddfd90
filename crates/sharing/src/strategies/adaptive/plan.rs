//! What the budget buys: when structures are raced and for how long, on how many examples, and what that leaves.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use super::settings::Adaptive;
use crate::{Budget, Race};

/// Points of the line between two groups that a join looks at.
pub(super) const LINE: [f64; 5] = [0., 0.25, 0.5, 0.75, 1.];

/// Steps before a change in which the gradients' shares are watched.
const WINDOW: usize = 10;

/// A training's events, in steps of the budget.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Plan {
    /// Steps of evidence.
    pub(super) warmup: usize,
    /// When races are due.
    pub(super) races: Vec<usize>,
    /// After how many steps of a race its arms are compared.
    pub(super) looks: Vec<usize>,
    /// Most dev examples of each task that are scored.
    pub(super) held_out: usize,
    /// When tasks part for the blend.
    pub(super) blend: Option<usize>,
    /// When training ends.
    pub(super) of: usize,
    /// Whether something was asked for that the budget is too small to choose by.
    pub(super) poor: bool,
}

/// Fewest dev examples of a task that anything is chosen by.
const FEWEST: usize = 2;

impl Plan {
    /// Of a training of `tasks` tasks; without anything to score on there is nothing to plan.
    pub(super) fn new(settings: &Adaptive, budget: &Budget, tasks: usize) -> Self {
        let quiet = Self { of: budget.of, ..Self::default() };
        if tasks < 2 || !budget.can_score() {
            return quiet;
        }
        let at = |share: f64| (share * budget.of as f64).round() as usize;
        let smallest = budget.epochs.iter().copied().fold(f64::INFINITY, f64::min);
        let wanted = if smallest.is_finite() { (settings.race_epochs * smallest).ceil() as usize } else { 0 };
        let steps = ((settings.race * budget.of as f64).floor() as usize).min(settings.race_steps.max(wanted)).max(1);
        let looks = if settings.arms > 2 && steps > 1 { vec![steps / 2, steps] } else { vec![steps] };
        let races: Vec<usize> = settings.races.iter().map(|share| at(*share)).collect();
        let blend = settings.blends().then(|| at(1. - settings.interpolation));
        let mut plan = Self { looks, blend, ..quiet };
        plan.warmup = if races.is_empty() && !settings.adopts() { 0 } else { at(settings.warmup) };
        plan.races = races;
        // An example costs a third of its share of a step for each time that it is scored.
        let times = plan.races.len() * (plan.scored(settings.arms) + LINE.len()) + plan.mixes(settings);
        let examples = settings.held_out * 3. * budget.of as f64 * budget.per_step;
        plan.held_out = (examples / (times.max(1) * tasks) as f64) as usize;
        if plan.acts() && plan.held_out < FEWEST { Self { poor: true, of: budget.of, ..Self::default() } } else { plan }
    }

    /// Whether anything is to happen.
    pub(super) fn acts(&self) -> bool {
        !self.races.is_empty() || self.blend.is_some() || self.warmup > 0
    }

    /// Whether the step after `spent` ones gives evidence, `done` races being over.
    pub(super) fn watches(&self, spent: usize, done: usize) -> bool {
        let soon = |at: &usize| (spent..spent + WINDOW).contains(at);
        spent < self.warmup || self.races.iter().skip(done).any(soon) || self.blend.as_ref().is_some_and(soon)
    }

    /// Steps of an arm that is not dropped.
    pub(super) fn steps(&self) -> usize {
        self.looks.last().copied().unwrap_or(0)
    }

    /// The most that a race of `arms` costs beside the steps of its winner.
    pub(super) fn price(&self, arms: usize, budget: &Budget) -> usize {
        let dropped = if self.looks.len() > 1 && arms > 2 { self.steps() - self.looks[0] } else { 0 };
        let scored = budget.sample(self.held_out) * (self.scored(arms) + LINE.len());
        (arms - 1) * self.steps() - dropped + budget.forward(scored)
    }

    /// What the blend costs beside its steps.
    pub(super) fn blend_price(&self, settings: &Adaptive, budget: &Budget) -> usize {
        budget.forward(budget.sample(self.held_out) * self.mixes(settings))
    }

    fn mixes(&self, settings: &Adaptive) -> usize {
        if self.blend.is_some() { settings.mixes.len() } else { 0 }
    }

    /// How often an example is scored to compare `arms`.
    fn scored(&self, arms: usize) -> usize {
        if self.looks.len() > 1 && arms > 2 { 2 * arms - 1 } else { arms * self.looks.len() }
    }

    /// Whether a race of `arms` leaves time for what comes after it.
    pub(super) fn affords(&self, arms: usize, budget: &Budget) -> bool {
        let end = self.blend.unwrap_or(self.of);
        budget.spent() + self.steps() + self.price(arms, budget) <= end
    }

    /// The race of `arms` arms that it provides for.
    pub(super) fn race(&self, arms: Vec<crate::Arm>) -> Race {
        // Two arms have nobody to drop on the way.
        let looks = if arms.len() > 2 { self.looks.clone() } else { vec![self.steps()] };
        Race { arms, looks, held_out: self.held_out }
    }

    /// In words that it buys neither races nor interpolation.
    pub(super) fn buys_nothing(&self, settings: &Adaptive) -> String {
        format!(
            "sharing.held_out = {} of {} steps pays for fewer than {FEWEST} dev examples of each task, too few to choose by: the \
             structure stays as it begins; raise train.steps or sharing.held_out, or ask for fewer races",
            settings.held_out, self.of
        )
    }

    /// In words what `budget` buys.
    ///
    /// # Errors
    /// If that leaves too little for the model that is kept, or there is nothing to score on.
    pub(super) fn foreseen(&self, settings: &Adaptive, budget: &Budget, tasks: usize) -> Result<Vec<String>> {
        let asks = tasks > 1 && settings.changes();
        if !asks {
            return Ok(Vec::new());
        }
        ensure!(
            budget.can_score(),
            "sharing: races and the interpolation score on dev, but not every task has dev examples ({:?}); give them some \
             (evaluation.dev_limit), or set sharing.races = [] and sharing.interpolation = 0",
            budget.held_out
        );
        if self.poor {
            return Ok(vec![self.buys_nothing(settings)]);
        }
        let races = self.races.len() * self.price(settings.arms, budget);
        let blend = if self.blend.is_some() { self.blend_price(settings, budget) } else { 0 };
        let main = budget.of.saturating_sub(races + blend);
        ensure!(
            2 * main >= budget.of,
            "sharing: {} races of {} arms over {} steps may cost {races} steps and the interpolation {blend}, which leaves {main} of \
             {} for the model that is kept, less than half; ask for fewer or shorter races (sharing.races, sharing.race, \
             sharing.arms), less scoring (sharing.held_out), or raise train.steps",
            self.races.len(),
            settings.arms,
            self.steps(),
            budget.of
        );
        let mut told = Vec::new();
        if !self.races.is_empty() {
            told.push(format!(
                "{} steps buy {} of evidence and {} race{} of up to {} arms over {} steps, judged on up to {} dev examples of \
                 each task",
                budget.of,
                self.warmup,
                self.races.len(),
                if self.races.len() == 1 { "" } else { "s" },
                settings.arms,
                self.steps(),
                self.held_out
            ));
        }
        if self.races.is_empty() && self.warmup > 0 {
            told.push(format!("{} of {} steps are of evidence, by which groups may part", self.warmup, budget.of));
        }
        if let Some(at) = self.blend {
            told.push(format!("from step {at} of the budget on each task trains on its own from its group's vector"));
        }
        told.push(format!(
            "at most {} steps pay for what is dropped and for scoring; at least {main} train the model that is kept",
            races + blend
        ));
        Ok(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(of: usize) -> Budget {
        Budget { of, per_step: 48., epochs: vec![60., 1.25, 1.25], held_out: vec![200, 20, 20], ..Budget::default() }
    }

    #[test]
    fn the_defaults_leave_more_than_half() {
        for of in [100, 200, 300, 1000] {
            let (settings, budget) = (Adaptive::default(), budget(of));
            let plan = Plan::new(&settings, &budget, 3);
            let told = plan.foreseen(&settings, &budget, 3).expect("it can be done");
            assert_eq!(told.len(), 3, "{told:?}");
            assert!(plan.steps() <= of * 8 / 100 && plan.warmup == of / 10, "{plan:?}");
        }
        let plan = Plan::new(&Adaptive::default(), &budget(300), 3);
        // 15 steps, and four epochs of 1.25 steps are fewer; 0.1 · 3 · 300 · 48 / (3 · 10 + 5) / 3 examples.
        assert_eq!((plan.looks.as_slice(), plan.held_out, plan.blend), (&[7, 15][..], 41, Some(255)));
        assert!(plan.watches(0, 0) && plan.watches(100, 1) && !plan.watches(60, 1) && plan.watches(250, 3));
    }

    #[test]
    fn what_cannot_be_is_refused_beforehand() {
        let refused = |settings: Adaptive, budget: Budget| {
            let plan = Plan::new(&settings, &budget, 3);
            plan.foreseen(&settings, &budget, 3).expect_err("it was taken").to_string()
        };
        let long = Adaptive { race: 0.2, race_steps: 60, ..Adaptive::default() };
        let long = refused(long, budget(300));
        assert!(long.contains("less than half") && long.contains("3 races of 3 arms over 60 steps"), "{long}");
        let blind = refused(Adaptive::default(), Budget { held_out: vec![3, 0, 1], ..budget(300) });
        assert!(blind.contains("not every task has dev examples"), "{blind}");
        // A budget that is too small for anything buys nothing, and says so.
        let few = Adaptive { held_out: 0.001, ..Adaptive::default() };
        let plan = Plan::new(&few, &budget(300), 3);
        let told = plan.foreseen(&few, &budget(300), 3).expect("a run");
        assert!(!plan.acts() && told.len() == 1 && told[0].contains("too few to choose by"), "{told:?}");
        // Without races and blend anything goes.
        let quiet = Adaptive { races: Vec::new(), interpolation: 0., adopt: false, ..Adaptive::default() };
        let plan = Plan::new(&quiet, &Budget::of(3), 3);
        assert!(!plan.acts() && plan.foreseen(&quiet, &Budget::of(3), 3).expect("nothing to do").is_empty());
    }
}
