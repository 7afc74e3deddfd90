//! The rules, a file each: equation, paper, and where published code deviates from the paper. A new rule is one file and
//! one line here.

use mtl_task::Member;

use crate::Rule;

/// Declares each rule's module and lists its entry.
macro_rules! rules {
    ($($module:ident),* $(,)?) => {
        $(pub mod $module;)*

        const BUILT_IN: &[Rule] = &[$($module::RULE),*];
    };
}

rules! {
    aligned_mtl,
    auto_lambda,
    cagrad,
    config,
    db_mtl,
    dualproj,
    dwa,
    equal,
    excess_mtl,
    fairgrad,
    famo,
    fixed,
    gls,
    graddrop,
    gradnorm,
    gradvac,
    imtl_g,
    imtl_l,
    krum,
    mean,
    mgda,
    moco,
    modo,
    nash,
    pcgrad,
    random,
    scale_invariant,
    sdmgrad,
    single_task,
    stch,
    trimmed_mean,
    uncertainty,
    upgrad,
}

impl Member for Rule {
    const KIND: &'static str = "weighting rule";

    fn built_in() -> Vec<Self> {
        BUILT_IN.to_vec()
    }

    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[&str] {
        self.aliases
    }
}
