//! Every sharing strategy of the registry at work in the loop.

use std::collections::BTreeMap;

use candle_core::Device;
use mtl_sharing::STRATEGIES;
use mtl_train::{Assembled, Observer, Recipe, Trained, headline, judged_truths};

use crate::tiny::{assembled, hash, new, recipe, run, run_with_a_break, states};

/// What a strategy needs to fit into an encoder that is smaller than any real one.
const FITTED: &[(&str, &str)] = &[("single-small", "sharing.tolerance=0.5")];

pub(crate) fn tiny(strategy: &str, more: &[&str]) -> Recipe {
    let name = format!("sharing.strategy={strategy}");
    let fitted = FITTED.iter().filter(|(name, _)| *name == strategy).map(|(_, setting)| *setting);
    let settings: Vec<&str> = [name.as_str()].into_iter().chain(fitted).chain(more.iter().copied()).collect();
    recipe(&settings)
}

#[test]
fn every_strategy_trains_goes_on_bit_for_bit_and_opens_as_it_was() {
    for strategy in STRATEGIES {
        let name = strategy.name;
        let recipe = tiny(name, &["optimizer.rate=1e-2", "evaluation.keep=last"]);
        let folder = tempfile::tempdir().expect("a folder");
        let (whole, broken) = (folder.path().join("whole"), folder.path().join("broken"));
        let report = run(&recipe, &whole);
        assert_eq!(report.strategy, name);
        let page = std::fs::read_to_string(whole.join("report.md")).expect("a report");
        let found = !report.findings.is_null() || !report.warnings.is_empty();
        assert_eq!(page.contains(&format!("## What {name} sharing found")), found, "{name}");
        let resumed = run_with_a_break(&recipe, &broken, 2);
        for file in ["model.safetensors", "optimizer.safetensors", "sharing.safetensors"] {
            assert_eq!(hash(&broken, file), hash(&whole, file), "{name}: {file}");
        }
        assert_eq!((states(&broken), &resumed.tasks), (states(&whole), &report.tasks), "{name}");

        // Out of its folder alone the model answers dev as it did.
        let trained = Trained::open(&Default::default(), &whole, &Device::Cpu)
            .unwrap_or_else(|error| panic!("{name}: {error:#}"));
        let scores: BTreeMap<String, f64> = (assembled(&recipe).datasets.iter())
            .map(|dataset| {
                let (id, task) = trained.task(&dataset.name).expect("a task");
                let answers = trained.answer_examples(id, &dataset.dev.examples).expect("answers");
                let truths = judged_truths(&dataset.dev.examples);
                (dataset.name.clone(), headline(&Default::default(), task, &answers, &truths).expect("a score"))
            })
            .collect();
        let dev: BTreeMap<String, f64> = report.tasks.iter().map(|(task, report)| (task.clone(), report.dev)).collect();
        assert_eq!(scores, dev, "{name}");
    }
}

/// Notes how much is kept for later gradients, before every step and after the last.
#[derive(Default)]
struct Kept(Vec<usize>);

impl Observer for Kept {
    fn measure(&mut self, _step: usize, _of: usize, assembled: &Assembled) -> anyhow::Result<()> {
        self.0.push(assembled.trainer.pooled_values());
        Ok(())
    }
}

#[test]
fn no_strategy_makes_the_pool_of_gradient_buffers_grow() {
    for strategy in STRATEGIES {
        let (folder, mut kept) = (tempfile::tempdir().expect("a folder"), Kept::default());
        let recipe = tiny(strategy.name, &["train.steps=12", "evaluation.test=sealed"]);
        new(&recipe, folder.path(), false).expect("a run").execute(&mut kept).expect("trained");
        // Fewer are kept while fewer tasks train.
        let most = |values: &[usize]| values.iter().copied().max();
        let grows = most(&kept.0[5..]) > most(&kept.0[..5]);
        assert!(!grows, "{}: values kept, step by step: {:?}", strategy.name, kept.0);
    }
}

#[test]
fn no_strategys_result_depends_on_the_number_of_threads() {
    for strategy in STRATEGIES {
        let recipe = tiny(strategy.name, &["train.steps=2"]);
        let by = |threads: usize| {
            let folder = tempfile::tempdir().expect("a folder");
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            pool.install(|| run(&recipe, folder.path()));
            hash(folder.path(), "model.safetensors")
        };
        assert_eq!(by(1), by(3), "{}", strategy.name);
    }
}
