//! What was measured, judged, and as a page.

use std::fmt::Write;

use anyhow::{Context as _, Result};
use mtl_eval::comparison::words::{counted, ends, listed, p_is, signed};
use mtl_eval::stats::{Interval, holm};

use super::mechanism::{Measure, Mechanism, Seeds, TUNING};

/// Level of the intervals and of the verdicts.
const LEVEL: f64 = 0.05;

/// An arm: what it comes to on the main task, seed by seed.
pub(super) struct Arm {
    pub(super) seeds: Vec<u64>,
    pub(super) values: Vec<f64>,
    /// The multiple of the usual rates that it chose; none where the usual ones were given.
    pub(super) rate: Option<String>,
    pub(super) ceiling: Option<f64>,
    /// Final runs that diverged; they count as the trivial baseline.
    pub(super) diverged: usize,
}

impl Arm {
    fn mean(&self) -> f64 {
        self.values.iter().sum::<f64>() / self.values.len().max(1) as f64
    }
}

/// Single-task training, and hard sharing in the setting and in the control.
pub(super) struct Measured {
    pub(super) alone: Arm,
    pub(super) shared: [Arm; 2],
}

impl Measured {
    /// What sharing gains in setting and control, seed by seed; positive is better.
    fn gains(&self, measure: Measure) -> [Vec<f64>; 2] {
        let sign = if measure == Measure::Decline { -1. } else { 1. };
        let [setting, control] = &self.shared;
        [setting, control].map(|side| {
            self.alone.values.iter().zip(&side.values).map(|(alone, shared)| sign * (shared - alone)).collect()
        })
    }

    /// What is left to be gained by who trains alone.
    fn room(&self, measure: Measure) -> Option<f64> {
        match measure {
            Measure::Score => Some(self.alone.ceiling? - self.alone.mean()),
            Measure::Decline => Some(self.alone.mean()),
        }
    }
}

/// What is said of a mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Sharing gains in the setting, and more than in the control.
    Seen,
    /// It does not, or not more.
    NotSeen,
    /// There is less to gain than the seeds could have shown.
    Uninformative,
}

impl Verdict {
    /// `gain` of the setting and `difference` from the control's, with p of the difference after correction; `room` is
    /// what there is to gain.
    pub(super) fn of(gain: &Interval, difference: &Interval, corrected_p: f64, room: Option<f64>) -> Self {
        if gain.low > 0. && difference.estimate > 0. && corrected_p <= LEVEL {
            Self::Seen
        } else if room.is_some_and(|room| room < difference.detectable(LEVEL)) {
            Self::Uninformative
        } else {
            Self::NotSeen
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Seen => "seen",
            Self::NotSeen => "not seen",
            Self::Uninformative => "uninformative",
        }
    }
}

/// A mechanism with what was found of it.
pub(super) struct Found {
    mechanism: Mechanism,
    measured: Measured,
    /// In the setting, and in the control.
    gains: [Interval; 2],
    difference: Interval,
    corrected_p: f64,
    verdict: Verdict,
}

/// What was measured of each mechanism says; p is corrected for their number (Holm).
pub(super) fn judged(measured: Vec<(Mechanism, Measured)>) -> Result<Vec<Found>> {
    let interval = |values: &[f64]| Interval::of_mean(values, 1. - LEVEL).context("too few seeds");
    let mut intervals = Vec::new();
    for (mechanism, measured) in &measured {
        let [setting, control] = measured.gains(mechanism.measure);
        let differences: Vec<f64> = setting.iter().zip(&control).map(|(setting, control)| setting - control).collect();
        intervals.push(([interval(&setting)?, interval(&control)?], interval(&differences)?));
    }
    let corrected = holm(&intervals.iter().map(|(_, difference)| difference.p).collect::<Vec<_>>())?;
    let found = measured.into_iter().zip(intervals).zip(corrected);
    let of = |(((mechanism, measured), (gains, difference)), corrected_p): (((Mechanism, Measured), _), f64)| {
        let (gains, difference): ([Interval; 2], Interval) = (gains, difference);
        let [setting, _] = &gains;
        let verdict = Verdict::of(setting, &difference, corrected_p, measured.room(mechanism.measure));
        Found { mechanism, measured, gains, difference, corrected_p, verdict }
    };
    Ok(found.map(of).collect())
}

fn with_interval(interval: &Interval) -> String {
    format!("{} {}", signed(interval.estimate, 4), ends(interval, 4))
}

impl Found {
    /// In a line.
    pub(super) fn line(&self) -> String {
        format!(
            "{}: gain {}, control {}, difference {} ({}): {}",
            self.mechanism.name,
            with_interval(&self.gains[0]),
            with_interval(&self.gains[1]),
            with_interval(&self.difference),
            p_is(self.corrected_p),
            self.verdict.name()
        )
    }
}

/// The page: a table of verdicts, then each mechanism.
pub(super) fn page(all: &[Found], seeds: Seeds) -> String {
    let last = seeds.first + seeds.count - 1;
    let mut text = format!(
        "# Caruana's mechanisms\n\n\
         `cargo xtask caruana` wrote this page.\n\
         *Multitask Learning* (Caruana, Machine Learning 28, 1997) names mechanisms by which tasks that are learnt \
         together help each other.\n\
         Each is tried on generated text ([planted suites](../../planted.md)) in a setting where it is said to work, and in \
         a control that takes it away and leaves all else as it is; the same main task, the same training examples, seed \
         by seed.\n\
         The gain is that of hard sharing over single-task training on the main task; the verdict rests on the difference \
         between the setting's gain and the control's.\n\n\
         Seeds {} to {last}, each with training examples of its own; arms tuned by {} from {TUNING} on. Intervals \
         are Student's over paired seeds at 95 %, for one set of test texts; p is corrected for the number of mechanisms \
         (Holm).\n\
         *Seen*: sharing gains in the setting, and more than in the control. *Not seen*: one of the two does not hold. \
         *Uninformative*: not seen, and single-task training leaves less to gain than the seeds could have shown.\n\n\
         | mechanism | gain in the setting | gain in the control | difference | p | verdict |\n\
         | --- | --: | --: | --: | --: | --- |\n",
        seeds.first,
        counted(seeds.tuning as usize, "seed", "seeds"),
    );
    for found in all {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | **{}** |",
            found.mechanism.title,
            with_interval(&found.gains[0]),
            with_interval(&found.gains[1]),
            with_interval(&found.difference),
            p_is(found.corrected_p).trim_start_matches("p ").trim_start_matches("= "),
            found.verdict.name()
        );
    }
    all.iter().for_each(|found| text += &found.chapter());
    text
}

impl Found {
    fn chapter(&self) -> String {
        let Mechanism { title, claim, refuted, measure, .. } = &self.mechanism;
        let unit = match measure {
            Measure::Score => "accuracy on test",
            Measure::Decline => "fall of dev accuracy from the best step to the last, less being better",
        };
        let Measured { alone, shared } = &self.measured;
        let rate = |arm: &Arm| arm.rate.clone().unwrap_or("1, not tuned".into());
        let mut text = format!(
            "\n## {title}\n\n**Claim.** {claim}\n\n**What would speak against it**, written down before the final runs: \
             {refuted}\n\n| main task | companion | mean | rate, times the usual one |\n| --- | --- | --: | --- |\n\
             | alone | | {:.4} | {} |\n",
            alone.mean(),
            rate(alone)
        );
        for ((which, side), arm) in self.mechanism.sides().into_iter().zip(shared) {
            let _ = writeln!(text, "| shared, {which} | {} | {:.4} | {} |", side.about, arm.mean(), rate(arm));
        }
        let _ = writeln!(text, "\nMeasured: {unit}; {} examples of the main task.", self.mechanism.size);
        if let (Measure::Score, Some(ceiling)) = (measure, alone.ceiling) {
            let _ = writeln!(text, "The ceiling is {ceiling:.4}.");
        }
        let outermost = self.mechanism.ends();
        let at_end = |arm: &&Arm| {
            arm.rate.as_ref().and_then(|rate| rate.parse().ok()).is_some_and(|rate| outermost.contains(&rate))
        };
        let arms = [alone].into_iter().chain(shared);
        if arms.clone().any(|arm| at_end(&arm)) {
            let rates = self.mechanism.rates.iter().map(f64::to_string).collect::<Vec<_>>();
            let count = arms.filter(at_end).count();
            let _ = writeln!(text, "Of the rates {}, {count} of the 3 arms took one at an end.", listed(&rates));
        }
        let diverged = alone.diverged + shared.iter().map(|arm| arm.diverged).sum::<usize>();
        if diverged > 0 {
            let _ = writeln!(text, "{} diverged and count as the trivial baseline.", counted(diverged, "run", "runs"));
        }
        text
    }
}

/// Every seed of every mechanism, as CSV.
pub(super) fn rows(all: &[Found]) -> String {
    let mut text = "mechanism,measure,seed,single,setting,control\n".to_string();
    for found in all {
        let measure = match found.mechanism.measure {
            Measure::Score => "score",
            Measure::Decline => "decline",
        };
        let Measured { alone, shared: [setting, control] } = &found.measured;
        let shared = setting.values.iter().zip(&control.values);
        for ((seed, alone), (setting, control)) in alone.seeds.iter().zip(&alone.values).zip(shared) {
            let _ = writeln!(text, "{},{measure},{seed},{alone},{setting},{control}", found.mechanism.name);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::mechanism::all;
    use super::*;

    const ALONE: [f64; 4] = [0.5, 0.6, 0.7, 0.6];

    fn of(measure: Measure, alone: [f64; 4], setting: [f64; 4], control: [f64; 4]) -> Found {
        let arm = |values: [f64; 4]| {
            let (seeds, values, rate) = (vec![1, 2, 3, 4], values.to_vec(), Some("0.3".into()));
            Arm { seeds, values, rate, ceiling: Some(1.), diverged: 0 }
        };
        let mechanism = all().expect("shipped").into_iter().find(|found| found.measure == measure).expect("one");
        let measured = Measured { alone: arm(alone), shared: [arm(setting), arm(control)] };
        judged(vec![(mechanism, measured)]).expect("four seeds").pop().expect("one")
    }

    #[test]
    fn a_gain_beside_a_control_without_one_is_seen() {
        let mut found = of(Measure::Score, ALONE, [0.7, 0.81, 0.89, 0.8], [0.5, 0.61, 0.69, 0.6]);
        // Gains 0.2, 0.21, 0.19, 0.2 and 0, 0.01, −0.01, 0: their differences are all 0.2.
        assert!((found.difference.estimate - 0.2).abs() < 1e-12 && found.verdict == Verdict::Seen);
        assert!(found.line().contains("gain +0.2000") && found.line().ends_with(": seen"), "{}", found.line());
        assert!(!found.chapter().contains("at an end"), "0.3 lies inside the grid");
        found.mechanism.rates = vec![0.3, 1., 3.];
        assert!(found.chapter().contains("Of the rates 0.3, 1 and 3, 3 of the 3 arms"), "{}", found.chapter());
        let rows = rows(&[found]);
        assert!(rows.lines().count() == 5 && rows.contains(",score,1,0.5,0.7,0.5\n"), "{rows}");
    }

    #[test]
    fn a_gain_that_the_control_has_too_is_not_seen() {
        let gained = of(Measure::Score, ALONE, [0.7, 0.81, 0.89, 0.8], [0.71, 0.8, 0.89, 0.8]);
        assert_eq!(gained.verdict, Verdict::NotSeen);
        // What sharing loses in the setting and loses more of in the control is no gain.
        let lost = of(Measure::Score, ALONE, [0.4, 0.49, 0.61, 0.5], [0.2, 0.29, 0.41, 0.3]);
        assert!(lost.difference.low > 0. && lost.verdict == Verdict::NotSeen);
    }

    #[test]
    fn nothing_is_learnt_where_there_is_nothing_to_gain() {
        let full = of(Measure::Score, [1., 0.99, 1., 0.99], [0.99, 1., 1., 0.98], [0.9, 1., 0.95, 0.98]);
        assert_eq!(full.verdict, Verdict::Uninformative);
    }

    #[test]
    fn of_a_decline_less_is_better() {
        let found = of(Measure::Decline, [0.1, 0.12, 0.11, 0.1], [0.01, 0.03, 0.02, 0.], [0.1, 0.11, 0.12, 0.1]);
        assert!((found.gains[0].estimate - 0.0925).abs() < 1e-12 && found.verdict == Verdict::Seen, "{}", found.line());
        let page = page(&[found], Seeds { first: 1, count: 4, tuning: 2 });
        assert!(page.contains("| **seen** |") && page.contains("Seeds 1 to 4"), "{page}");
        assert!(!page.contains("at an end"), "0.3 is no rate of an experiment that is not tuned: {page}");
    }
}
