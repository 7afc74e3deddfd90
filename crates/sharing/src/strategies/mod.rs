//! The strategies, one file or folder each. A new strategy is one file and one line here.

use anyhow::Result;
use mtl_task::Member;

use crate::Strategy;

/// Declares each strategy's module and lists its entry.
macro_rules! strategies {
    ($($module:ident),* $(,)?) => {
        $(pub mod $module;)*

        /// Every built-in strategy, sorted by name.
        pub const STRATEGIES: &[Strategy] = &[$($module::STRATEGY),*];
    };
}

strategies! {
    adapter,
    adaptive,
    bitfit,
    cross_stitch,
    dselect_k,
    groups,
    hard,
    hierarchical,
    lora,
    mmoe,
    mtan,
    mtl_lora,
    pal,
    ple,
    prefix,
    recon,
    single,
    single_small,
    sluice,
    soft,
    sparse,
    task_norm,
    tensor,
}

impl Member for Strategy {
    const KIND: &'static str = "strategy";

    fn built_in() -> Vec<Self> {
        STRATEGIES.to_vec()
    }

    fn name(&self) -> &str {
        self.name
    }
}

/// The built-in strategy called `name`.
///
/// # Errors
/// If there is none; names the nearest.
pub fn find(name: &str) -> Result<&'static Strategy> {
    mtl_task::member("strategy", name, STRATEGIES, |entry| entry.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strategies_are_sorted_and_every_member_has_its_file() {
        assert!(STRATEGIES.windows(2).all(|pair| pair[0].name < pair[1].name));
        let error = find("hrad").err().expect("no such strategy").to_string();
        assert!(error.contains("did you mean `hard`?"), "{error}");
    }

    #[test]
    fn what_the_entry_says_of_sharing_holds_for_the_default_section() -> Result<()> {
        for entry in STRATEGIES {
            assert_eq!((entry.shares_with)(&(entry.defaults)())?, entry.shares, "{}", entry.name);
            assert!((entry.shares_with)(&serde_json::json!({ "no such key": 1 })).is_err(), "{}", entry.name);
        }
        Ok(())
    }
}
