//! Whether rows meet a claim.
//!
//! A comparison holds if the two-sided p of its difference being the bound, lying above it, does not exceed the level:
//! just where the lower end of the interval of coverage 1 − level lies above the bound. One that does not hold counts
//! against the claim if its rows could have shown it, that is if the smallest effect that they detect with power 0.8 is
//! no larger than allowed, or if its whole interval lies at the bound or below; else it is uninformative.

use std::collections::BTreeMap;

use anyhow::Result;
use mtl_eval::stats::{Interval, holm};

use super::{Claim, Claims, Need, Part};
use crate::numbers::{ends, p_is, signed};
use crate::paper::Rows;

/// What rows say of a claim, or of a comparison of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It holds.
    Met,
    /// It does not, and the rows could have shown it.
    NotMet,
    /// The rows could not have shown it.
    Uninformative,
}

impl Outcome {
    /// In words: `met`, `not met` or `uninformative`.
    pub fn words(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::NotMet => "not met",
            Self::Uninformative => "uninformative",
        }
    }

    /// That of what needs both: nothing makes up for what is not met.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::NotMet, _) | (_, Self::NotMet) => Self::NotMet,
            (Self::Uninformative, _) | (_, Self::Uninformative) => Self::Uninformative,
            (Self::Met, Self::Met) => Self::Met,
        }
    }

    /// That of what needs one of the two.
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Met, _) | (_, Self::Met) => Self::Met,
            (Self::Uninformative, _) | (_, Self::Uninformative) => Self::Uninformative,
            (Self::NotMet, Self::NotMet) => Self::NotMet,
        }
    }
}

/// Whether a claim was there before the test splits were opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stated {
    /// The plan of every suite holds this file's hash.
    Before,
    /// The plans of these suites hold no claims, or another file of them.
    NotInPlan(Vec<String>),
}

/// One difference of a claim.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    /// The suite.
    pub suite: String,
    /// The arm that is subtracted.
    pub against: String,
    /// Its interval at the claims' level; none where the rows have none.
    pub interval: Option<Interval>,
    /// The p that decides, after Holm's correction where the part needs one suite of several; none beside the claim.
    pub p: Option<f64>,
    /// The smallest effect that the rows detect with power 0.8.
    pub detectable: Option<f64>,
    /// What it says; none of what decides nothing.
    pub outcome: Option<Outcome>,
    /// Why it is uninformative, if it is.
    pub why: Option<String>,
}

/// A claim and what the rows say of it.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgedClaim {
    /// The claim.
    pub claim: Claim,
    /// What the rows say.
    pub outcome: Outcome,
    /// Its differences, those beside it last.
    pub compared: Vec<Compared>,
    /// Whether it was stated beforehand.
    pub stated: Stated,
}

impl Claims {
    /// What `rows`, those of one experiment each, say of the claims of a file with the hex SHA-256 `digits`.
    ///
    /// # Errors
    /// If the claims are not sound, see [`Claims::check`], or two of `rows` are of one experiment.
    pub fn judge(&self, rows: &[Rows], digits: &str) -> Result<Vec<JudgedClaim>> {
        self.check()?;
        let mut by_name: BTreeMap<&str, &Rows> = BTreeMap::new();
        for one in rows {
            if by_name.insert(&one.experiment, one).is_some() {
                anyhow::bail!("two folders hold rows of the experiment `{}`; name one of them", one.experiment);
            }
        }
        self.claims.iter().map(|claim| self.judged(claim, &by_name, digits)).collect()
    }

    fn judged(&self, claim: &Claim, rows: &BTreeMap<&str, &Rows>, digits: &str) -> Result<JudgedClaim> {
        let mut outcome = Outcome::Met;
        let mut compared = Vec::new();
        for part in &claim.parts {
            let (of_part, own) = self.part(claim, part, rows)?;
            outcome = outcome.and(of_part);
            compared.extend(own);
        }
        let mut suites: Vec<&String> = claim.parts.iter().flat_map(|part| part.suites.keys()).collect();
        suites.sort();
        suites.dedup();
        for (suite, against) in suites.iter().flat_map(|suite| claim.beside.iter().map(move |arm| (suite, arm))) {
            let interval = self.of(suite, rows).ok().and_then(|rows| rows.difference(&claim.arm, against));
            compared.push(Compared {
                suite: suite.to_string(),
                against: against.clone(),
                interval: interval.map(|found| found.with_confidence(1. - self.level)),
                p: None,
                detectable: None,
                outcome: None,
                why: None,
            });
        }
        let planned = |suite: &str| {
            let claims = self.known(suite, rows).and_then(|rows| rows.claims.as_ref());
            claims.is_some_and(|known| known.ends_with(digits) && !digits.is_empty())
        };
        let without: Vec<String> =
            suites.iter().filter(|suite| !planned(suite)).map(|suite| suite.to_string()).collect();
        let stated = if without.is_empty() { Stated::Before } else { Stated::NotInPlan(without) };
        Ok(JudgedClaim { claim: claim.clone(), outcome, compared, stated })
    }

    fn part(&self, claim: &Claim, part: &Part, rows: &BTreeMap<&str, &Rows>) -> Result<(Outcome, Vec<Compared>)> {
        let allowed = claim.detectable.unwrap_or(self.detectable);
        let mut of_suites: Vec<Vec<Compared>> = Vec::new();
        for (suite, against) in &part.suites {
            of_suites.push(against.iter().map(|other| self.compared(claim, suite, other, rows)).collect());
        }
        // The p of a suite is the largest of its comparisons': all have to hold.
        let largest = |compared: &[Compared]| compared.iter().filter_map(|one| one.p).fold(0., f64::max);
        let raw: Vec<f64> = of_suites.iter().map(|compared| largest(compared)).collect();
        let corrected = if part.need == Need::One { holm(&raw)? } else { raw.clone() };
        let mut outcomes = Vec::new();
        for ((compared, p), raw) in of_suites.iter_mut().zip(&corrected).zip(&raw) {
            for one in compared.iter_mut() {
                // What Holm multiplies the suite's p by, its comparisons' are multiplied by.
                let factor = if *raw > 0. { p / raw } else { 1. };
                one.p = one.p.map(|p| (p * factor).min(1.));
                one.decide(claim.above, self.level, allowed);
            }
            let all = compared.iter().filter_map(|one| one.outcome).fold(Outcome::Met, Outcome::and);
            outcomes.push(all);
        }
        let outcome = match part.need {
            Need::All => outcomes.into_iter().fold(Outcome::Met, Outcome::and),
            Need::One => outcomes.into_iter().reduce(Outcome::or).unwrap_or(Outcome::Uninformative),
        };
        Ok((outcome, of_suites.into_iter().flatten().collect()))
    }

    /// The rows of a suite, whatever they can say.
    fn known<'a>(&self, suite: &str, rows: &BTreeMap<&str, &'a Rows>) -> Option<&'a Rows> {
        rows.get(self.suites.get(suite)?.as_str()).copied()
    }

    /// The rows of a suite, or why they can say nothing.
    fn of<'a>(&self, suite: &str, rows: &BTreeMap<&str, &'a Rows>) -> Result<&'a Rows, String> {
        let experiment = self.suites.get(suite).map(String::as_str).unwrap_or_default();
        let found = self.known(suite, rows).ok_or_else(|| format!("there are no rows of `{experiment}`"))?;
        if found.pilot { Err(format!("`{experiment}` is a pilot")) } else { Ok(found) }
    }

    /// A comparison with its p as it is, not decided yet.
    fn compared(&self, claim: &Claim, suite: &str, against: &str, rows: &BTreeMap<&str, &Rows>) -> Compared {
        let found = self.of(suite, rows).and_then(|rows| {
            let interval = rows.difference(&claim.arm, against);
            interval.ok_or_else(|| format!("the rows have no interval of `{}` − `{against}`", claim.arm))
        });
        let interval = found.as_ref().ok().map(|found| found.with_confidence(1. - self.level));
        Compared {
            suite: suite.to_string(),
            against: against.to_string(),
            // What is not known is not shown to hold.
            p: Some(interval.as_ref().map_or(1., |interval| interval.p_above(claim.above))),
            detectable: interval.as_ref().map(|interval| interval.detectable(self.level)),
            interval,
            outcome: None,
            why: found.err(),
        }
    }
}

impl Compared {
    fn decide(&mut self, above: f64, level: f64, allowed: f64) {
        let outcome = match (&self.interval, self.p, self.detectable) {
            (Some(_), Some(p), _) if p <= level => Outcome::Met,
            (Some(interval), _, _) if interval.high <= above => Outcome::NotMet,
            (Some(_), _, Some(found)) if found <= allowed => Outcome::NotMet,
            (Some(_), _, Some(found)) => {
                self.why = Some(format!("its rows detect {} and no less, {allowed} is allowed", effect(found)));
                Outcome::Uninformative
            }
            _ => Outcome::Uninformative,
        };
        self.outcome = Some(outcome);
    }
}

impl JudgedClaim {
    /// In lines for a terminal: `claim: met (primary)`, then a line a difference.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("claim: {} ({})", self.outcome.words(), self.claim.name)];
        for one in &self.compared {
            let mut line = format!("  {}: {} − {}", one.suite, self.claim.arm, one.against);
            match &one.interval {
                Some(found) => line += &format!(" {} {}", signed(found.estimate, 4), ends(found, 4)),
                None => line += " is not known",
            }
            if let (Some(p), Some(detectable), Some(outcome)) = (one.p, one.detectable, one.outcome) {
                let (bound, p) = (signed(self.claim.above, 3), p_is(p));
                line += &format!(", above {bound}: {p}, detects {}: {}", effect(detectable), outcome.words());
            }
            if one.outcome.is_none() {
                line += ", decides nothing";
            }
            if let Some(why) = &one.why {
                line += &format!(" ({why})");
            }
            lines.push(line);
        }
        lines.push(format!("  {}", self.stated.words()));
        lines
    }
}

impl Stated {
    /// In a sentence.
    pub fn words(&self) -> String {
        match self {
            Self::Before => "the plans of its suites hold this file's hash".into(),
            Self::NotInPlan(suites) => {
                format!("not stated beforehand: the plan does not hold this file's hash on {}", suites.join(", "))
            }
        }
    }
}

/// A detectable effect in words: no score differs by more than 1.
pub(crate) fn effect(found: f64) -> String {
    if found <= 1. { format!("{found:.4}") } else { "more than 1".into() }
}

#[cfg(test)]
mod tests {
    use super::super::tests::claims;
    use super::*;

    /// Rows of an experiment with `new` − each arm: estimate and standard error.
    fn rows(experiment: &str, differences: &[(&str, f64, f64)]) -> Rows {
        let mut text = "experiment,level,arm,role,of,task,estimate,low,high,confidence,standard_error,degrees,p,\
                        corrected_p,examples,seeds,against,claims\n"
            .to_string();
        for (against, estimate, error) in differences {
            text += &format!(
                "{experiment},0.05,new,candidate,contrast,,{estimate},0,0,0.95,{error},40,0.5,,100,40,{against},\
                 \"c.toml, sha256 abc\"\n"
            );
        }
        Rows::parse("folder", &[("intervals.csv", text)]).expect("rows")
    }

    fn sound() -> Vec<Rows> {
        vec![
            rows("trial-mixed", &[("single", 0.02, 0.002), ("hard", 0.01, 0.002), ("portfolio", -0.01, 0.002)]),
            rows("trial-a", &[("single", 0.02, 0.002)]),
            rows("trial-b", &[("single", 0., 0.002)]),
        ]
    }

    fn outcome(rows: &[Rows]) -> Outcome {
        claims().judge(rows, "abc").expect("judged")[0].outcome
    }

    #[test]
    fn every_comparison_of_a_part_has_to_hold_and_one_suite_of_several() {
        let judged = claims().judge(&sound(), "abc").expect("judged");
        assert_eq!((judged[0].outcome, &judged[0].stated), (Outcome::Met, &Stated::Before));
        let lines = judged[0].lines().join("\n");
        assert!(lines.starts_with("claim: met (primary)\n"), "{lines}");
        assert!(lines.contains("mixed: new − hard +0.0100 [+0.0060, +0.0140], above 0.000: p < 0.0001"), "{lines}");
        assert!(lines.contains("mixed: new − portfolio -0.0100") && lines.contains("decides nothing"), "{lines}");
        assert!(lines.contains("b: new − single 0.0000") && lines.contains("p = 1.000"), "{lines}");
        // One of the two on the mixed suite is missed: the standard error of 0.002 would have shown 0.0057.
        let mut missed = sound();
        missed[0] = rows("trial-mixed", &[("single", 0.02, 0.002), ("hard", 0.001, 0.002)]);
        assert_eq!(outcome(&missed), Outcome::NotMet);
        // By rows that could not have shown an effect of 0.01 nothing is refuted.
        missed[0] = rows("trial-mixed", &[("single", 0.02, 0.002), ("hard", 0.001, 0.02)]);
        assert_eq!(outcome(&missed), Outcome::Uninformative);
        // Nor shown by rows that are not there.
        assert_eq!(outcome(&sound()[..2]), Outcome::Met, "one real suite is enough");
        assert_eq!(outcome(&sound()[1..]), Outcome::Uninformative);
        // An interval that lies below the bound as a whole refutes, however wide it is.
        missed[0] = rows("trial-mixed", &[("single", 0.02, 0.002), ("hard", -0.2, 0.02)]);
        assert_eq!(outcome(&missed), Outcome::NotMet);
    }

    /// z of 2.1 has p ≈ 0.042 with 40 degrees: enough alone, and not as the best of two.
    #[test]
    fn the_best_of_several_suites_is_corrected() {
        let near = |b: f64| {
            vec![
                sound().remove(0),
                rows("trial-a", &[("single", 0.0042, 0.002)]),
                rows("trial-b", &[("single", b, 0.002)]),
            ]
        };
        assert_eq!(outcome(&near(0.)), Outcome::NotMet);
        // Where the other one holds, the second is not multiplied any more.
        let judged = claims().judge(&near(0.02), "abc").expect("judged");
        let p = |suite: &str| judged[0].compared.iter().find(|one| one.suite == suite).and_then(|one| one.p);
        assert!(judged[0].outcome == Outcome::Met && p("a").is_some_and(|p| p > 0.04 && p < 0.045), "{judged:?}");
    }

    #[test]
    fn claims_that_no_plan_holds_say_so() {
        let judged = claims().judge(&sound(), "other").expect("judged");
        let Stated::NotInPlan(suites) = &judged[0].stated else { panic!("{judged:?}") };
        assert_eq!(suites.join(" "), "a b mixed");
        let twice = [sound(), sound()].concat();
        assert!(claims().judge(&twice, "abc").expect_err("twice").to_string().contains("two folders"));
    }
}
