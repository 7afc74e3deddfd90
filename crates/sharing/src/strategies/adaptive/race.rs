//! Races between structures: which are tried, what they begin as, and who wins.
//!
//! d is the mean over dev examples of the loss of what stays as it is minus an arm's, paired, s its standard error, and
//! d̃ = d·τ²/(τ² + s²) its expectation, τ² over arms and tasks ([`mtl_eval::stats::gains`]). An arm may win if
//! Σ d̃/ℓ > 0, ℓ the baseline's loss; the largest Σ d̃/ℓ − penalty·ΔP/P does, if that is above 0.

use candle_core::{Error, Result};
use mtl_eval::stats::{Differences, Gain, gains};
use mtl_task::TaskId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::bands::Bands;
use super::moves::{Allowed, Move, proposals};
use super::plan::{LINE, Plan};
use super::weights::Joined;
use super::{Adapted, mean};
use crate::{Arm, Budget, Change, DevScores, Race, Racing, Ruling, Standings};

/// What an arm is.
#[derive(Serialize, Deserialize)]
struct Tried {
    change: Move,
    after: Bands,
}

impl Tried {
    fn of(race: &Race, arm: usize) -> Result<Self> {
        let Some(arm) = race.arms.get(arm) else {
            candle_core::bail!("a race of {} arms has no arm {arm}", race.arms.len())
        };
        serde_json::from_value(arm.change.clone()).map_err(Error::wrap)
    }
}

/// An arm's figures.
struct Figures {
    arm: usize,
    gains: Vec<Gain>,
    /// Σ d̃/ℓ, and what its parameters cost.
    gain: f64,
    penalty: f64,
}

impl Figures {
    fn net(&self) -> f64 {
        self.gain - self.penalty
    }
}

impl Adapted {
    /// The arms of a race now, the first being what is.
    fn arms(&self) -> Result<Vec<Arm>> {
        let (settings, memory) = (&self.settings, &self.memory);
        let allowed = Allowed { order: settings.proposals, joins: settings.joins, ties: settings.tie > 0. };
        let shares = self.weights.shares();
        let fits =
            |after: &Bands| settings.most_encoders == 0. || after.encoders(&shares) <= settings.most_encoders + 1e-9;
        let key = self.key.with(memory.done as u64);
        let found = proposals(&memory.bands, &memory.clues, allowed, (&memory.tried, key), settings.arms - 1, fits);
        let arm = |change: Move, after: Bands| {
            let name = change.described(self.weights.names());
            Ok(Arm { name, change: serde_json::to_value(Tried { change, after }).map_err(Error::wrap)? })
        };
        let stay = arm(Move::Stay, memory.bands.clone());
        std::iter::once(stay).chain(found.into_iter().map(|found| arm(found.change, found.after))).collect()
    }

    /// Puts what two groups came to share where on their line the held-out losses of their tasks are least; returns the
    /// number of examples scored.
    fn meet(&mut self, joined: &[Joined], most: usize, held_out: &mut dyn DevScores) -> Result<usize> {
        let moved: Vec<usize> = (0..self.weights.names().len())
            .filter(|task| {
                let seen = self.weights.of(TaskId(*task));
                seen.iter().any(|param| joined.iter().any(|joined| joined.param.name() == param.name()))
            })
            .collect();
        let (mut best, mut scored) = ((f64::INFINITY, LINE[0]), 0);
        for mix in LINE {
            joined.iter().try_for_each(|joined| joined.mix(mix))?;
            let mut sum = 0.;
            for &task in &moved {
                let losses = held_out.sampled_losses(&*self, TaskId(task), most)?;
                scored += losses.len();
                sum += mean(&losses) / self.memory.scale(task);
            }
            if sum < best.0 {
                best = (sum, mix);
            }
        }
        joined.iter().try_for_each(|joined| joined.mix(best.1))?;
        self.memory.joined_at = Some(best.1);
        Ok(scored)
    }

    /// The figures of every arm but the `reference`, which are shrunken together.
    fn figures(&self, race: &Race, standings: &Standings, reference: usize) -> Result<Vec<Figures>> {
        let Some(base) = standings.losses.get(&reference) else { return Ok(Vec::new()) };
        let others: Vec<usize> = standings.losses.keys().copied().filter(|arm| *arm != reference).collect();
        let mut all = Vec::new();
        for losses in others.iter().filter_map(|arm| standings.losses.get(arm)) {
            all.extend(base.iter().zip(losses).map(|(base, losses)| Differences::of(base, losses)));
        }
        let (found, shares) = (gains(&all), self.weights.shares());
        let before = Tried::of(race, reference)?.after.encoders(&shares);
        let figures = |(&arm, gains): (&usize, &[Gain])| {
            let of = |gain: &Gain| if self.settings.shrink { gain.expected } else { gain.mean };
            let gain = gains.iter().enumerate().map(|(task, gain)| of(gain) / self.memory.scale(task)).sum();
            let more = Tried::of(race, arm)?.after.encoders(&shares) - before;
            Ok(Figures { arm, gains: gains.to_vec(), gain, penalty: self.settings.parameter_penalty * more })
        };
        others.iter().zip(found.chunks(base.len().max(1))).map(figures).collect()
    }

    fn recorded(
        &self,
        race: &Race,
        (steps, reference): (usize, usize),
        all: &[Figures],
        keep: &[usize],
        last: bool,
    ) -> Value {
        let names = self.weights.names();
        let of = |figures: &Figures| {
            let task = |(name, gain): (&String, &Gain)| (name.clone(), json!(gain));
            let decision = match (keep.contains(&figures.arm), last) {
                (true, true) => "taken",
                (true, false) => "runs on",
                (false, _) => "dropped",
            };
            json!({
                "arm": race.arms.get(figures.arm).map(|arm| &arm.name),
                "decision": decision,
                "gain": figures.gain,
                "penalty": figures.penalty,
                "tasks": names.iter().zip(&figures.gains).map(task).collect::<Map<_, _>>(),
            })
        };
        let absent: Vec<&str> = race
            .arms
            .iter()
            .enumerate()
            .filter(|(arm, _)| *arm != reference && !all.iter().any(|figures| figures.arm == *arm))
            .map(|(_, arm)| arm.name.as_str())
            .collect();
        json!({ "after": steps, "arms": all.iter().map(of).collect::<Vec<_>>(), "not compared": absent })
    }
}

impl Racing for Adapted {
    fn due(&self, budget: &Budget) -> Result<Option<Race>> {
        let plan = Plan::new(&self.settings, budget, self.weights.names().len());
        let at = plan.races.get(self.memory.done).copied();
        if self.memory.racing || !self.memory.own.is_empty() || at.is_none_or(|at| budget.spent() < at) {
            return Ok(None);
        }
        let arms = self.arms()?;
        Ok((arms.len() > 1 && plan.affords(arms.len(), budget)).then(|| plan.race(arms)))
    }

    fn set_off(&mut self, race: &Race, arm: usize, change: &mut Change, held_out: &mut dyn DevScores) -> Result<usize> {
        self.memory.racing = true;
        self.memory.joined_at = None;
        self.measure(held_out)?;
        let tried = Tried::of(race, arm)?;
        if tried.change == Move::Stay {
            return Ok(0);
        }
        let joined = self.weights.change((&self.memory.bands, &tried.after), &self.memory.clues, change)?;
        self.memory.bands = tried.after;
        if joined.is_empty() { Ok(0) } else { self.meet(&joined, race.held_out, held_out) }
    }

    fn judge(&self, race: &Race, standings: &Standings) -> Result<Ruling> {
        // What stays as it is, unless its training diverged.
        let Some(reference) = standings.losses.keys().next().copied() else {
            candle_core::bail!("a race of which no arm is left")
        };
        let all = self.figures(race, standings, reference)?;
        let best = all.iter().reduce(|best, found| if found.net() > best.net() { found } else { best });
        let last = standings.steps >= race.steps();
        let keep = match best {
            None => vec![reference],
            Some(best) if !last => vec![reference, best.arm],
            Some(_) => {
                let eligible = all.iter().filter(|found| found.gain > 0. && found.net() > 0.);
                let winner = eligible.reduce(|best, found| if found.net() > best.net() { found } else { best });
                vec![winner.map_or(reference, |winner| winner.arm)]
            }
        };
        let record = self.recorded(race, (standings.steps, reference), &all, &keep, last);
        Ok(Ruling { keep, record })
    }

    fn conclude(&mut self, race: &Race, rulings: &[Ruling], charged: usize, budget: &Budget) -> Result<Value> {
        let winner = rulings.last().and_then(|ruling| ruling.keep.first()).copied().unwrap_or(0);
        let memory = &mut self.memory;
        (memory.racing, memory.steps, memory.charged) = (false, budget.steps, budget.charged);
        memory.done += 1;
        for arm in (1..race.arms.len()).filter(|arm| *arm != winner) {
            let after = Tried::of(race, arm)?.after;
            if !memory.tried.contains(&after) {
                memory.tried.push(after);
            }
        }
        let drawn = memory.bands.drawn(self.weights.names());
        if winner != 0 {
            memory.timeline.push((memory.spent(), drawn.clone()));
        }
        let mut told = json!({
            "race": memory.done,
            "spent": memory.spent(),
            "steps": race.steps(),
            "charged": charged,
            "comparisons": rulings.iter().map(|ruling| ruling.record.clone()).collect::<Vec<_>>(),
            "winner": race.arms.get(winner).map(|arm| &arm.name),
            "structure": drawn,
        });
        if let Some(at) = memory.joined_at.filter(|_| winner != 0) {
            told["joined at"] = json!(at);
        }
        memory.history.push(told.clone());
        Ok(told)
    }
}
