//! A number of steps that a rule's recipe may leave to the length of the run.

use serde::{Deserialize, Deserializer, Serialize};

/// How long something lasts: below 1 a share of the run's steps, from 1 on a whole number of steps.
///
/// Published settings count epochs of their own experiments; as a share of the run they mean the same in any other.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Horizon(f64);

impl Horizon {
    /// A share of the run, in [0, 1).
    pub(crate) const fn share(share: f64) -> Self {
        Self(share)
    }

    /// The steps of a run of `of` steps: at least one, unless the horizon is 0.
    pub fn steps(self, of: usize) -> usize {
        match self.0 {
            0.0 => 0,
            share if share < 1.0 => ((share * of as f64).round() as usize).max(1),
            steps => steps as usize,
        }
    }
}

impl<'de> Deserialize<'de> for Horizon {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let value = f64::deserialize(source)?;
        let right = (0.0..1.0).contains(&value) || ((1.0..=1e15).contains(&value) && value.fract() == 0.0);
        right.then_some(Self(value)).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "{value} is neither a share of the run below 1 nor a whole number of steps"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_follows_the_run_and_a_number_of_steps_does_not() {
        let read = |text: &str| serde_json::from_str::<Horizon>(text).map_err(|error| error.to_string());
        assert_eq!([300, 3000, 10].map(|of| read("0.02").expect("a share").steps(of)), [6, 60, 1]);
        assert_eq!([300, 3].map(|of| read("100").expect("steps").steps(of)), [100, 100]);
        assert_eq!(read("0").expect("none").steps(300), 0);
        for wrong in ["-1", "2.5", "1e16"] {
            assert!(read(wrong).expect_err("refused").contains("whole number of steps"), "{wrong}");
        }
    }
}
