//! Claims: what an experiment, or several together, shall show, written down before their test splits are opened.
//!
//! A [`Claims`] file says which arm's lower bounds against which other arms have to lie above what, on which suites.
//! [`Claims::judge`] says of each whether committed rows meet it.

mod judged;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail, ensure};
use serde::Deserialize;

pub(crate) use judged::effect;
pub use judged::{Compared, JudgedClaim, Outcome, Stated};

/// A file of claims.
///
/// ```toml
/// level = 0.05                 # bounds are the lower ends of intervals of coverage 1 − level
/// detectable = 0.01            # where the smallest detectable effect is larger, a bound that is missed says nothing
///
/// [suites]                     # what the claims call an experiment, and its name in the rows
/// mixed = "dynamic-mixed"
///
/// [[claim]]
/// name = "primary"
/// arm = "adaptive"
/// above = 0.0                  # the bound that lower ends have to lie above
/// beside = ["portfolio"]       # differences that are shown and decide nothing
/// part = [{ suites = { mixed = ["single", "hard+equal"] } }]
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// What the claims are about.
    #[serde(default)]
    pub about: String,
    /// Level of every test, in (0, 1).
    pub level: f64,
    /// The smallest detectable effect (power 0.8) that a comparison may have at most if missing its bound shall count
    /// against the claim, in headline score.
    pub detectable: f64,
    /// The experiments, by what the claims call them.
    pub suites: BTreeMap<String, String>,
    /// The claims.
    #[serde(rename = "claim")]
    pub claims: Vec<Claim>,
}

/// One claim: all its parts have to hold.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Its name.
    pub name: String,
    /// What it says, in words.
    #[serde(default)]
    pub about: String,
    /// The arm that the others are subtracted from.
    pub arm: String,
    /// What the lower ends have to lie above, in headline score.
    #[serde(default)]
    pub above: f64,
    /// In place of [`Claims::detectable`].
    #[serde(default)]
    pub detectable: Option<f64>,
    /// Its parts.
    #[serde(rename = "part")]
    pub parts: Vec<Part>,
    /// Arms whose difference is shown on every suite of the claim and decides nothing.
    #[serde(default)]
    pub beside: Vec<String>,
}

/// A part of a claim.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// On how many of the suites it has to hold.
    #[serde(default)]
    pub need: Need,
    /// By suite: the arms that the claim's arm has to be compared with. A suite holds if every comparison does
    /// (intersection–union, Berger 1982), so that its p is the largest of theirs.
    pub suites: BTreeMap<String, Vec<String>>,
}

/// On how many suites a part has to hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Need {
    /// On all: none is corrected for the others.
    #[default]
    All,
    /// On one at least: the suites' p are corrected after Holm.
    One,
}

impl Claims {
    /// Refuses what no rows could meet.
    ///
    /// # Errors
    /// Names the claim and what is wrong.
    pub fn check(&self) -> Result<()> {
        ensure!(self.level > 0. && self.level < 1., "level: must lie between 0 and 1, found {}", self.level);
        ensure!(!self.claims.is_empty(), "no [[claim]]: there is nothing to judge");
        let mut names = BTreeSet::new();
        let positive = |what: &str, value: f64| -> Result<()> {
            ensure!(value > 0. && value.is_finite(), "{what}: must be above 0, found {value}");
            Ok(())
        };
        positive("detectable", self.detectable)?;
        for claim in &self.claims {
            let name = &claim.name;
            ensure!(names.insert(name), "two claims are called `{name}`");
            ensure!(claim.above.is_finite(), "claim `{name}`: above: found {}, expected a number", claim.above);
            claim.detectable.map_or(Ok(()), |value| positive(&format!("claim `{name}`: detectable"), value))?;
            ensure!(!claim.parts.is_empty(), "claim `{name}`: no part; write part = [{{ suites = {{ … }} }}]");
            let others = claim.parts.iter().flat_map(|part| part.suites.values().flatten()).chain(&claim.beside);
            if let Some(own) = others.into_iter().find(|other| **other == claim.arm) {
                bail!("claim `{name}`: `{own}` is compared with itself");
            }
            for part in &claim.parts {
                ensure!(!part.suites.is_empty(), "claim `{name}`: a part names no suite");
                for (suite, against) in &part.suites {
                    let known: Vec<&str> = self.suites.keys().map(String::as_str).collect();
                    ensure!(
                        self.suites.contains_key(suite),
                        "claim `{name}`: `{suite}` is none of the suites {}",
                        known.join(", ")
                    );
                    ensure!(!against.is_empty(), "claim `{name}`: suite `{suite}` names no arm to compare with");
                }
            }
        }
        Ok(())
    }

    /// The differences that are asked for of `experiment`: an arm and the arm that is subtracted, each pair once.
    pub fn pairs(&self, experiment: &str) -> Vec<(String, String)> {
        let mut found = BTreeSet::new();
        for claim in &self.claims {
            for (suite, against) in claim.parts.iter().flat_map(|part| &part.suites) {
                if self.suites.get(suite).is_some_and(|name| name == experiment) {
                    let others = against.iter().chain(&claim.beside);
                    found.extend(others.map(|other| (claim.arm.clone(), other.clone())));
                }
            }
        }
        found.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn claims() -> Claims {
        let part = |need, suites: &[(&str, &[&str])]| Part {
            need,
            suites: suites
                .iter()
                .map(|(suite, arms)| (suite.to_string(), arms.iter().map(|arm| arm.to_string()).collect()))
                .collect(),
        };
        Claims {
            about: "a trial".into(),
            level: 0.05,
            detectable: 0.01,
            suites: ["mixed", "a", "b"].map(|name| (name.to_string(), format!("trial-{name}"))).into(),
            claims: vec![Claim {
                name: "primary".into(),
                about: String::new(),
                arm: "new".into(),
                above: 0.,
                detectable: None,
                parts: vec![
                    part(Need::All, &[("mixed", &["single", "hard"])]),
                    part(Need::One, &[("a", &["single"]), ("b", &["single"])]),
                ],
                beside: vec!["portfolio".into()],
            }],
        }
    }

    #[test]
    fn what_is_asked_of_an_experiment_is_listed_once() {
        let pair = |against: &str| ("new".to_string(), against.to_string());
        let claims = claims();
        claims.check().expect("sound");
        assert_eq!(claims.pairs("trial-mixed"), ["hard", "portfolio", "single"].map(pair));
        assert_eq!(claims.pairs("trial-b"), ["portfolio", "single"].map(pair));
        assert!(claims.pairs("mixed").is_empty());
    }

    #[test]
    fn claims_that_cannot_be_judged_are_refused() {
        let error = |change: &dyn Fn(&mut Claims)| {
            let mut odd = claims();
            change(&mut odd);
            odd.check().expect_err("refused").to_string()
        };
        assert!(error(&|odd| odd.level = 1.).contains("between 0 and 1, found 1"));
        assert!(error(&|odd| odd.detectable = 0.).contains("above 0, found 0"));
        assert!(error(&|odd| odd.claims.clear()).contains("nothing to judge"));
        assert!(error(&|odd| odd.claims.push(odd.claims[0].clone())).contains("two claims are called `primary`"));
        assert!(error(&|odd| odd.claims[0].beside = vec!["new".into()]).contains("compared with itself"));
        assert!(error(&|odd| odd.claims[0].parts.clear()).contains("no part"));
        let unknown = error(&|odd| {
            odd.suites.remove("b");
        });
        assert!(unknown.contains("`b` is none of the suites a, mixed"), "{unknown}");
    }
}
