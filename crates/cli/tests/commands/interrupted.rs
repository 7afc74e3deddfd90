//! Runs that are stopped on the way, politely or not, end with the bits of one that was not.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::tool::{SMALL, command, good, refused, run, weights};

/// What a polite interruption exits with: try again.
const RESUMABLE: i32 = 75;

fn train<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let long = ["--set", "train.steps=60", "--set", "train.save_every=4", "--set", "evaluation.every=20"];
    [&["train", "embedded", "--out", out], SMALL, &long, more].concat()
}

/// Waits until the run in `out` has a checkpoint.
fn begun(child: &mut Child, out: &Path) {
    let (checkpoint, since) = (out.join("checkpoints/last/manifest.json"), Instant::now());
    while !checkpoint.exists() {
        assert!(child.try_wait().expect("waited").is_none(), "it ended before its first checkpoint");
        assert!(since.elapsed() < Duration::from_secs(120), "no checkpoint in two minutes");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Starts a run and waits until it has a checkpoint.
fn started(folder: &Path, out: &str, more: &[&str]) -> Child {
    let mut child = command(folder, &train(out, more)).spawn().expect("started");
    begun(&mut child, &folder.join(out));
    child
}

pub(crate) fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([name, &child.id().to_string()]).status().expect("kill runs");
    assert!(sent.success());
}

/// The exit code of a child that ends, and what it said.
fn ended(child: Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().expect("ended");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Whether this process was started to survive its terminal, and so its children are.
fn is_hang_up_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

#[test]
fn stopped_runs_end_with_the_bits_of_one_that_was_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    good(here, &train("whole", &[]));
    let expected = weights(&here.join("whole"));
    let report = |out: &str| {
        let text = std::fs::read_to_string(here.join(out).join("report.json")).expect("a report");
        crate::tool::json(&text)["tasks"].take()
    };

    for name in ["-INT", "-TERM", "-HUP", "-QUIT", "-USR1"] {
        if name == "-HUP" && is_hang_up_ignored() {
            continue;
        }
        let out = name.trim_start_matches('-');
        let child = started(here, out, &[]);
        signal(&child, name);
        let (code, error) = ended(child);
        assert_eq!(code, Some(RESUMABLE), "{name}: {error}");
        let again = format!("mtl train embedded --out {out} --set train.steps=12");
        for part in ["interrupted after step", &again, "--set train.steps=60", "evaluation.every=20 --resume"] {
            assert!(error.contains(part), "`{part}` is missing in: {error}");
        }
        assert!(!here.join(out).join("report.json").exists());
        // By --resume, or the same command again.
        good(here, &train(out, if name == "-INT" { &["--resume"] } else { &[] }));
        assert_eq!(weights(&here.join(out)), expected, "after {name}");
        assert_eq!(report(out), report("whole"));
    }

    // A second signal ends at once: both wait for a process that is stopped.
    let child = started(here, "twice", &[]);
    ["-STOP", "-INT", "-TERM", "-CONT"].iter().for_each(|name| signal(&child, name));
    let (code, error) = ended(child);
    assert!([130, 143].map(Some).contains(&code), "{code:?}: {error}");
    good(here, &train("twice", &[]));
    assert_eq!(weights(&here.join("twice")), expected);

    // Killed without a word, in the middle of whatever it was doing, more than once.
    let mut child = started(here, "killed", &[]);
    refused(here, &train("killed", &["--resume"]), &["killed", &child.id().to_string(), "is training in it", "--out"]);
    child.kill().expect("killed");
    child.wait().expect("ended");
    for wait in [700, 1300] {
        let mut child = command(here, &train("killed", &["--resume"])).spawn().expect("started");
        std::thread::sleep(Duration::from_millis(wait));
        child.kill().expect("killed");
        child.wait().expect("ended");
    }
    good(here, &train("killed", &["--resume"]));
    assert_eq!(weights(&here.join("killed")), expected);
    assert_eq!(report("killed"), report("whole"));
    let steps = std::fs::read_to_string(here.join("killed/metrics.jsonl")).expect("metrics");
    let steps: Vec<u64> = steps.lines().filter_map(|line| crate::tool::json(line)["step"].as_u64()).collect();
    assert_eq!(steps, (0..60).collect::<Vec<_>>(), "one line a step, whatever was lost on the way");

    // What is finished is shown, and its test split stays closed.
    let bytes = |file: &str| std::fs::read(here.join("whole").join(file)).expect(file);
    let before = bytes("report.json");
    let used = run(here, &train("whole", &[]));
    assert_eq!(used.code, Some(0), "{}", used.error);
    assert!(used.error.contains("this run is finished") && used.error.contains("--fresh"), "{}", used.error);
    assert_eq!(used.out, String::from_utf8(bytes("report.md")).expect("UTF-8") + "\n");
    assert_eq!(bytes("report.json"), before);
    let other = ["a finished run of another recipe", "train.seed: 0 then, 3 now", "recipe.toml", "--out", "--fresh"];
    refused(here, &train("whole", &["--resume", "--set", "train.seed=3"]), &other);
    refused(here, &train("whole", &["--set", "train.seed=3"]), &other);
    refused(here, &train("new", &["--resume"]), &["no checkpoint to resume from"]);
    assert_eq!(weights(&here.join("whole")), expected, "nothing of that touched the run");
}

#[test]
fn the_same_command_goes_on_wherever_it_was_killed() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    good(here, &train("whole", &[]));
    let expected = weights(&here.join("whole"));

    // Killed before its first checkpoint.
    let mut child = command(here, &train("early", &[])).spawn().expect("started");
    while !here.join("early/fingerprints.json").exists() {
        assert!(child.try_wait().expect("waited").is_none(), "it ended before it began");
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().expect("killed");
    child.wait().expect("ended");
    let _ = std::fs::remove_dir_all(here.join("early/checkpoints"));
    let again = run(here, &train("early", &[]));
    assert!(again.code == Some(0) && again.error.contains("begins again at step 0"), "{}", again.error);
    assert_eq!(weights(&here.join("early")), expected);

    // A file asks for a checkpoint where none is due; threads and saves are no part of the recipe.
    let seldom = ["--set", "train.save_every=1000", "--set", "evaluation.every=20"];
    std::fs::create_dir(here.join("asked")).expect("made");
    std::fs::write(here.join("asked/save-now"), "").expect("written");
    let mut child = started(here, "asked", &seldom);
    child.kill().expect("killed");
    let (_, error) = ended(child);
    let asked = error.contains("as save-now asked") || here.join("asked/save-now").exists();
    assert!(asked, "killed before it could tell, or told: {error}");
    refused(
        here,
        &train("asked", &["--set", "train.steps=61"]),
        &["an unfinished run (after step", "train.steps: 60 then, 61 now (the schedule", "--fresh"],
    );
    let again = run(here, &train("asked", &["--set", "train.threads=1"]));
    for part in ["training goes on after step", "train.threads: 0 then, 1 now (changes no result)", "train.save_every"]
    {
        assert!(again.error.contains(part), "`{part}` is missing in: {}", again.error);
    }
    assert_eq!(weights(&here.join("asked")), expected);

    // Anew: the run goes, and what is not its own stays.
    std::fs::write(here.join("asked/notes.txt"), "mine").expect("written");
    let mut child = command(here, &train("asked", &["--fresh", "--set", "train.seed=3"])).spawn().expect("started");
    let recipe = || std::fs::read_to_string(here.join("asked/recipe.toml")).unwrap_or_default();
    while !recipe().contains("seed = 3") {
        assert!(child.try_wait().expect("waited").is_none(), "it ended before it began");
        std::thread::sleep(Duration::from_millis(5));
    }
    begun(&mut child, &here.join("asked"));
    signal(&child, "-TERM");
    let (code, error) = ended(child);
    assert_eq!(code, Some(RESUMABLE), "{error}");
    assert!(error.contains("continue with: ") && !error.contains("--fresh"), "going on is not beginning anew: {error}");
    assert!(here.join("asked/notes.txt").exists() && !here.join("asked/report.json").exists());
    assert!(!here.join("asked/checkpoints/best").exists(), "the best of the run before is gone");
}

#[test]
fn without_a_folder_the_latest_unfinished_run_of_the_recipe_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let train = |more: &[&str]| {
        let ended = run(here, &[&["train", "embedded"], SMALL, more].concat());
        assert_eq!(ended.code, Some(0), "{}", ended.error);
        ended.error
    };
    assert!(train(&[]).contains("run folder: runs/embedded\n"));
    // A second one, stopped before its first checkpoint, and one of another recipe behind it.
    for number in [2, 3] {
        let folder = here.join(format!("runs/embedded-{number}"));
        std::fs::create_dir(&folder).expect("made");
        std::fs::write(folder.join(".lock"), "").expect("written");
    }
    let recipe = std::fs::read_to_string(here.join("runs/embedded/recipe.toml")).expect("a recipe");
    std::fs::write(here.join("runs/embedded-2/recipe.toml"), &recipe).expect("written");
    let other = recipe.replace("seed = 0", "seed = 1");
    std::fs::write(here.join("runs/embedded-3/recipe.toml"), other).expect("written");
    let told = train(&["--set", "train.threads=1"]);
    assert!(told.contains("runs/embedded-2: the run had no checkpoint yet"), "{told}");
    assert_eq!(weights(&here.join("runs/embedded-2")), weights(&here.join("runs/embedded")));
    // None is unfinished any more: the next number, and to resume the latest.
    assert!(train(&["--fresh"]).contains("run folder: runs/embedded-4\n"));
    let told = train(&["--resume"]);
    assert!(told.contains("runs/embedded-4: this run is finished"), "{told}");
}

/// `nohup` keeps a run alive when its terminal closes.
#[cfg(target_os = "linux")]
#[test]
fn a_hang_up_that_is_ignored_stays_ignored() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let direct = command(here, &train("out", &[]));
    let mut child = Command::new("sh");
    child.args(["-c", "trap '' HUP; exec \"$0\" \"$@\""]).arg(direct.get_program()).args(direct.get_args());
    child.envs(direct.get_envs().filter_map(|(key, value)| Some((key, value?)))).current_dir(here);
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
    begun(&mut child, &here.join("out"));
    // Had it counted, the next one would be the second.
    signal(&child, "-HUP");
    signal(&child, "-TERM");
    let (code, error) = ended(child);
    assert_eq!(code, Some(RESUMABLE), "{error}");
}
