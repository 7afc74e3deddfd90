//! Recon in training: it splits where gradients conflict, and a break at any time changes nothing.

use serde_json::json;

use crate::tiny::{Break, hash, metrics, new, recipe};

/// `topic` and `clash` want opposite things of the same words.
const PLANTED: [&str; 8] = [
    "tasks=[\"topic\", \"clash\"]",
    "sharing.strategy=recon",
    "sharing.parts=1",
    "sharing.search=0.5",
    "optimizer.rate=2e-3",
    "train.batch=16",
    "train.steps=12",
    "evaluation.every=4",
];

#[test]
fn conflicting_tasks_split_their_parts_and_a_break_at_any_time_changes_nothing() {
    for more in [&["weighting.rule=equal"][..], &["weighting.rule=nash"], &["sharing.restart=true"]] {
        let place = tempfile::tempdir().expect("a folder");
        let recipe = recipe(&[&PLANTED[..], more].concat());
        let whole = place.path().join("whole");
        let ended = new(&recipe, &whole, false).expect("a run").execute(&mut mtl_train::Silent).expect("trained");
        let mtl_train::Ended::Finished(report) = ended else { panic!("interrupted") };
        let lines = metrics(&whole);
        let told: Vec<&serde_json::Value> = lines.iter().filter(|line| !line["events"].is_null()).collect();
        assert_eq!((told.len(), told[0]["step"].as_u64()), (1, Some(5)), "{more:?}: {told:?}");
        assert_eq!(told[0]["events"][0]["split"].as_array().map(Vec::len), Some(1), "{told:?}");
        for step in [3, 5, 6, 9] {
            let broken = place.path().join(format!("broken-{step}"));
            let ended = new(&recipe, &broken, false).expect("a run").execute(&mut Break { at: step, now: 0 });
            assert!(matches!(ended.expect("trained"), mtl_train::Ended::Interrupted(at) if at == step));
            let ended = new(&recipe, &broken, true).expect("resumed").execute(&mut mtl_train::Silent).expect("trained");
            let mtl_train::Ended::Finished(again) = ended else { panic!("interrupted") };
            assert_eq!(again.findings, report.findings, "{more:?}, {step}");
            for file in ["model.safetensors", "optimizer.safetensors", "sharing.safetensors", "structure.json"] {
                assert_eq!(hash(&broken, file), hash(&whole, file), "{more:?}: {file} after a break after step {step}");
            }
        }
        mtl_train::Trained::open(&Default::default(), &whole, &candle_core::Device::Cpu).expect("it opens");
    }
}

#[test]
fn steps_of_one_task_show_no_conflict_and_say_so() {
    let place = tempfile::tempdir().expect("a folder");
    let recipe = recipe(&[&PLANTED[..], &["train.step=\"one\""]].concat());
    let out = place.path().join("one");
    let ended = new(&recipe, &out, false).expect("a run").execute(&mut mtl_train::Silent).expect("trained");
    let mtl_train::Ended::Finished(report) = ended else { panic!("interrupted") };
    assert_eq!(report.findings["split"], json!([]), "{}", report.findings);
    assert!(report.warnings.iter().any(|said| said.contains("recon needs train.step")), "{:?}", report.warnings);
}
