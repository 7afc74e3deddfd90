//! The methods, a file each: formula, paper, and where published code deviates from the paper. A new method is one file
//! and one line here.

use mtl_task::Member;

use crate::Method;

/// Declares each method's module and lists its entry.
macro_rules! methods {
    ($($module:ident),* $(,)?) => {
        $(pub mod $module;)*

        const BUILT_IN: &[Method] = &[$($module::METHOD),*];
    };
}

methods! {
    average,
    breadcrumbs,
    consensus,
    dare,
    emr,
    fisher,
    iso_c,
    iso_cts,
    model_stock,
    regmean,
    slerp,
    svd_deltas,
    tall_masks,
    task_arithmetic,
    ties,
    tsv_merge,
}

impl Member for Method {
    const KIND: &'static str = "merging method";

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
