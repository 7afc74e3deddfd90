//! What GPUs lack is not asked of them, as far as the sources show it.
//!
//! No card is at hand where these tests run, so they read. They see casts to f64 on a device (Metal has none), uploads
//! whose values nobody vouched for (an empty one ends in an error on CUDA, one of f64 on Metal), copies that are another
//! name for the same memory on Metal, and CUDA devices with a stream a thread.
//! They cannot see where a tensor of the host meets one of the device, what a variable holds, or which operation has no
//! kernel: `every_strategy_goes_by_candles_own_operations` in `crates/train/tests/chain` walks all of that on the device
//! that `MTL_DEVICE` names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The crates that compute with tensors on a device.
const CRATES: [&str; 3] = ["backbone", "task", "train"];

/// Uploads straight to a device, by file: how many, and why none of them is empty or in f64.
const UPLOADS: &[(&str, usize, &str)] = &[
    ("crates/backbone/src/device.rs", 1, "four ones, in f32"),
    ("crates/backbone/src/flat.rs", 1, "a parameter's values, in the type that it has there"),
    ("crates/backbone/src/fused/node.rs", 1, "the kernel's own: the processor's"),
    ("crates/backbone/src/pass.rs", 3, "dropout in f32, and the ids and places of a batch's words, which has some"),
    ("crates/backbone/src/pooling.rs", 3, "weights in f32, first tokens, and anchors where there are any"),
    ("crates/backbone/src/reference.rs", 6, "a batch's positions, segments, places and masks, in u32 and f32"),
    (
        "crates/train/src/run/divergence.rs",
        1,
        "a zero for every answer, of which there are some, as the parameters are",
    ),
    (
        "crates/train/src/distill.rs",
        2,
        "the order of classes, in u32, and what is said of examples that have a loss, in f32",
    ),
    ("crates/task/src/kinds/classification.rs", 1, "a class a text, in u32"),
    ("crates/task/src/kinds/multilabel.rs", 1, "labels a text, in f32"),
    ("crates/task/src/kinds/regression.rs", 1, "a value a text, in f32"),
    ("crates/task/src/kinds/tagging.rs", 1, "a tag a word, in u32; nobody asks where there is no word"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the workspace")
}

/// The code of the crates by file, on one line without spaces: no comments, and no tests at the end.
fn code() -> BTreeMap<String, String> {
    let (mut found, mut waiting) =
        (BTreeMap::new(), CRATES.map(|name| root().join(format!("crates/{name}/src"))).to_vec());
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") && !path.ends_with("tests.rs") {
                let text = std::fs::read_to_string(&path).expect("read");
                let name = path.strip_prefix(root()).expect("below the root").to_string_lossy().replace('\\', "/");
                found.insert(name, dense(&text));
            }
        }
    }
    assert!(found.len() > 50, "{}", found.len());
    found
}

fn dense(text: &str) -> String {
    let text = &text[..text.find("\n#[cfg(test)]\nmod ").unwrap_or(text.len())];
    let lines = text.lines().map(|line| line.find("//").map_or(line, |at| &line[..at]));
    lines.flat_map(str::chars).filter(|letter| !letter.is_whitespace()).collect()
}

/// The expression that ends before `end`: names, calls, fields and question marks, back to where it begins.
fn receiver(code: &str, end: usize) -> &str {
    let (bytes, mut at) = (code.as_bytes(), end);
    while at > 0 {
        match bytes[at - 1] {
            b')' | b']' => at = opening(bytes, at - 1),
            b'.' | b'?' | b':' | b'_' | b'&' => at -= 1,
            letter if letter.is_ascii_alphanumeric() => at -= 1,
            _ => break,
        }
    }
    &code[at..end]
}

/// Where the bracket opens that closes at `at`.
fn opening(code: &[u8], mut at: usize) -> usize {
    let mut depth = 0;
    loop {
        match code[at] {
            b')' | b']' => depth += 1,
            b'(' | b'[' => depth -= 1,
            _ => {}
        }
        if depth == 0 || at == 0 {
            return at;
        }
        at -= 1;
    }
}

/// The arguments of the call whose bracket opens at `open`.
fn arguments(code: &str, open: usize) -> Vec<&str> {
    let (mut depth, mut from, mut found) = (0, open + 1, Vec::new());
    for (at, letter) in code.bytes().enumerate().skip(open) {
        match letter {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 || (depth == 1 && letter == b',') {
            found.push(&code[from..at]);
            from = at + 1;
        }
        if depth == 0 {
            break;
        }
    }
    found.retain(|argument| !argument.is_empty());
    found
}

/// The casts to f64 in `code` whose values nothing says to lie on the host.
fn casts(code: &str) -> Vec<&str> {
    let casts = [".to_dtype(DType::F64)", ".to_dtype(candle_core::DType::F64)"];
    let found = casts.iter().flat_map(|cast| code.match_indices(cast)).map(|(at, _)| receiver(code, at));
    found.filter(|values| !values.contains("Device::Cpu")).collect()
}

/// The last argument of each upload in `code` that does not go to the host.
fn uploads(code: &str) -> Vec<&str> {
    let makers = ["new", "from_vec", "from_slice", "zeros", "ones", "full", "eye", "arange"];
    let calls = makers.iter().flat_map(|maker| {
        let call = format!("Tensor::{maker}(");
        code.match_indices(&call).map(|(at, call)| at + call.len() - 1).collect::<Vec<_>>()
    });
    let devices = calls.filter_map(|open| arguments(code, open).last().copied());
    devices.filter(|device| !device.ends_with("Device::Cpu")).collect()
}

/// The copies in `code` that a GPU may make another name for the same memory.
fn copies(code: &str) -> Vec<&str> {
    let found = code.match_indices(".copy()?").filter(|(at, copy)| {
        let after = &code[at + copy.len()..];
        !after.starts_with(".to_device(&Device::Cpu)") && !receiver(code, *at).contains("Device::Cpu")
    });
    found.map(|(at, _)| receiver(code, at)).collect()
}

#[test]
fn nothing_is_cast_to_f64_on_a_device() {
    for (file, code) in code() {
        assert!(casts(&code).is_empty(), "{file}: to the host first, see mtl_backbone::scalar: {:?}", casts(&code));
    }
}

#[test]
fn every_upload_is_vouched_for() {
    let mut found: BTreeMap<String, usize> =
        code().into_iter().map(|(file, code)| (file, uploads(&code).len())).filter(|(_, count)| *count > 0).collect();
    for (file, count, why) in UPLOADS {
        assert_eq!(found.remove(*file), Some(*count), "{file}: is it still true of all that it is {why}?");
    }
    assert!(found.is_empty(), "uploads to a device: can they be empty, or f64? Then say so in UPLOADS: {found:?}");
}

#[test]
fn no_copy_is_another_name_for_the_same_memory() {
    for (file, code) in code() {
        assert!(copies(&code).is_empty(), "{file}: see mtl_backbone::Param::snapshot: {:?}", copies(&code));
    }
}

#[test]
fn one_stream_orders_the_work_of_all_threads() {
    for (file, code) in code() {
        assert!(!code.contains("new_cuda("), "{file}: see mtl_backbone::DeviceName::open");
        assert_eq!(code.contains("new_cuda_with_stream("), file == "crates/backbone/src/device.rs", "{file}");
    }
}

#[test]
fn the_reading_finds_what_it_looks_for() {
    let code = dense(
        "let a = loss.mean_all()?\n    .to_dtype(DType::F64)?; // to_dtype(DType::F64)\n\
         let b = (x + y)?.to_device(&Device::Cpu)?.to_dtype(DType::F64)?;\n\
         let c = Tensor::from_vec(vec![0f32; n * m], (n, m), x.device())?; let d = Tensor::new(&[1f64], &Device::Cpu)?;\n\
         let e = param.tensor().detach().copy()?; let f = param.tensor().copy()?.to_device(&Device::Cpu)?;\n\
         #[cfg(test)]\nmod tests { g.to_dtype(DType::F64) }\n",
    );
    assert_eq!(casts(&code), ["loss.mean_all()?"]);
    assert_eq!(uploads(&code), ["x.device()"]);
    assert_eq!(copies(&code), ["param.tensor().detach()"]);
}
