//! Splits that must stay what they are: those of a task whose texts no other task has.

use std::fmt::Write;
use std::path::Path;

use mtl_data::manifest::DatasetManifest;
use mtl_data::{DataRegistries, Dataset, LoadOptions, TestKey, Tokenizer, load};
use mtl_task::Registry;
use mtl_task::rng::Key;
use sha2::{Digest, Sha256};

/// The first digits of the SHA-256 of the texts of train, dev and test, in their order.
fn digits(dataset: &Dataset) -> [String; 3] {
    let key = TestKey::final_evaluation();
    [&dataset.train, &dataset.dev, dataset.test.open(&key)].map(|split| {
        let digest = Sha256::digest(format!("{:?}", split.texts));
        digest.iter().take(4).fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    })
}

fn manifest(kind: &str, rest: &str) -> DatasetManifest {
    let text = format!("about = \"\"\nlicence = \"\"\n[task]\nkind = \"{kind}\"\n{rest}");
    toml::from_str(&text).expect("a manifest")
}

/// The suite of the embedded recipe.
#[test]
fn the_generated_tasks_keep_their_splits() {
    for (task, kind, wanted) in [
        ("topic", "classification", ["ce704f57", "90d02e48", "317fa4c4"]),
        ("genre", "classification", ["d2d38c7e", "853e1492", "12fb9edf"]),
        ("mood", "regression", ["dd30dd80", "40f9ce99", "c36be08c"]),
        ("clash", "classification", ["b33433ee", "143624bd", "f3d4e026"]),
        ("tags", "tagging", ["8b1a3421", "b73ea62e", "bb8d9737"]),
    ] {
        let manifest = manifest(kind, &format!("[generator]\nname = \"planted\"\ntask = \"{task}\"\n"));
        let tokenizer =
            Tokenizer::generated(&Registry::default(), manifest.generator.as_ref(), false).expect("a tokenizer");
        let loaded =
            load(&DataRegistries::default(), task, &manifest, Path::new("."), &tokenizer, &LoadOptions::default())
                .expect("loaded");
        assert_eq!(digits(&loaded), wanted, "{task}");
    }
}

/// A written table with repeated texts, by three seeds and shares.
#[test]
fn written_tables_keep_their_splits() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("vocab.txt"), "[PAD]\n[UNK]\n[CLS]\n[SEP]\n").expect("written");
    let tokenizer = Tokenizer::read(folder.path()).expect("a tokenizer");
    let mut stream = Key::new(7).named("kept").stream();
    let mut text = String::from("text,label\n");
    for _ in 0..500 {
        let which = stream.below(220);
        let _ = writeln!(text, "text number {which},{}", ["a", "a", "a", "b", "b", "c"][which % 6]);
    }
    std::fs::write(folder.path().join("rows.csv"), text).expect("written");
    for (splits, wanted) in [
        ("", ["9bbb2cd8", "295095de", "e0de4a85"]),
        ("seed = 3\n", ["93ce7456", "c6e84ce7", "deaef954"]),
        ("seed = 4\ndev_share = 0.3\ntest_share = 0.05\n", ["d212164e", "9f71fd96", "851a7339"]),
    ] {
        let manifest = manifest("classification", &format!("[splits]\nall = [\"rows.csv\"]\n{splits}"));
        let loaded =
            load(&DataRegistries::default(), "rows", &manifest, folder.path(), &tokenizer, &LoadOptions::default())
                .expect("loaded");
        assert_eq!(digits(&loaded), wanted, "{splits:?}");
    }
}
