//! The limits of what is read of a hub folder, at their edges: what lies on one is read, what lies beyond is refused.

use std::fs;
use std::path::Path;

use mtl_backbone::checkpoint::{Checkpoint, TEMPORARY_PREFIX, read_safetensors, write_atomically};
use serde_json::json;

const MEBI: usize = 1 << 20;

fn with_header(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

/// A header of one tensor `x`.
fn one(dtype: &str, shape: &str, end: usize) -> String {
    format!("{{\"x\":{{\"dtype\":\"{dtype}\",\"shape\":{shape},\"data_offsets\":[0,{end}]}}}}")
}

/// Shape and values of the tensor `x` in a file of these bytes.
fn read(bytes: &[u8]) -> Result<(Vec<usize>, Vec<f32>), String> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.safetensors");
    fs::write(&path, bytes).expect("written");
    let mut tensors = read_safetensors(&path).map_err(|error| format!("{error:#}"))?;
    Ok(tensors.remove("x").map(|tensor| (tensor.shape, tensor.data)).unwrap_or_default())
}

fn refused(bytes: &[u8], part: &str) {
    let message = read(bytes).expect_err(part);
    assert!(message.contains(part), "expected {part:?} in: {message}");
}

fn ones(count: usize) -> Vec<u8> {
    [1f32; 4].iter().cycle().take(count).flat_map(|value| value.to_le_bytes()).collect()
}

#[test]
fn a_header_ends_where_it_says() {
    assert_eq!(read(&with_header("{}", &[])), Ok((vec![], vec![])), "no tensor is no fault");
    let mut bytes = with_header("{}", &[]);
    bytes[0] = 3;
    refused(&bytes, "a header length of 3 in a file of 10 bytes");
    bytes[..8].copy_from_slice(&100_000_000u64.to_le_bytes());
    refused(&bytes, "cut off");
    bytes[..8].copy_from_slice(&100_000_001u64.to_le_bytes());
    refused(&bytes, "at most 100000000 is sane");
    // The first 512 bytes are read apart: headers that end before, at and behind them.
    for length in [503, 504, 505, 513, 2000] {
        let header = one("F32", "[2]", 8);
        let header = format!("{header}{}", " ".repeat(length - header.len()));
        assert_eq!(read(&with_header(&header, &ones(2))), Ok((vec![2], vec![1.; 2])), "{length}");
    }
}

#[test]
fn shapes_are_counted_to_their_limits() {
    assert_eq!(read(&with_header(&one("F32", "[1,1,1,1,1,1,1,2]", 8), &ones(2))).map(|read| read.0.len()), Ok(8));
    refused(&with_header(&one("F32", "[1,1,1,1,1,1,1,1,2]", 8), &ones(2)), "9 dimensions, where at most 8");
    assert_eq!(read(&with_header(&one("F32", "[3,0]", 0), &[])), Ok((vec![3, 0], vec![])));
    assert_eq!(read(&with_header(&one("F32", "[]", 4), &ones(1))), Ok((vec![], vec![1.])), "a number has no dimension");
    // 2⁶³ bytes are one more than a file can have; half of them could be.
    refused(&with_header(&one("F32", "[2305843009213693952]", 8), &ones(2)), "more elements than can be counted");
    refused(&with_header(&one("F32", "[1152921504606846976]", 8), &ones(2)), "needs 4611686018427387904 bytes");
}

#[test]
fn every_type_has_its_width() {
    for (width, types) in [
        (8, &["F64", "I64", "U64"][..]),
        (4, &["F32", "I32", "U32"]),
        (2, &["F16", "BF16", "I16", "U16"]),
        (1, &["BOOL", "I8", "U8", "F8_E4M3", "F8_E5M2"]),
    ] {
        for dtype in types {
            refused(&with_header(&one(dtype, "[3]", 5), &[0; 5]), &format!("of {dtype} needs {} bytes", 3 * width));
            let read = read(&with_header(&one(dtype, "[3]", 3 * width), &vec![0; 3 * width]));
            match *dtype {
                "F64" | "F32" | "F16" | "BF16" => assert_eq!(read, Ok((vec![3], vec![0.; 3])), "{dtype}"),
                _ => assert!(read.expect_err(dtype).contains(&format!("values of type {dtype}"))),
            }
        }
    }
}

/// A JSON object of exactly `length` bytes.
fn padded(json: &str, length: usize) -> String {
    format!("{json}{}", " ".repeat(length - json.len()))
}

fn message(folder: &Path) -> String {
    Checkpoint::read(folder).err().map(|error| format!("{error:#}")).unwrap_or_default()
}

#[test]
fn a_configuration_and_an_index_have_a_largest_size() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("written");
    let config = json!({
        "model_type": "bert", "vocab_size": 4, "hidden_size": 2, "num_hidden_layers": 1, "num_attention_heads": 1,
        "intermediate_size": 3, "max_position_embeddings": 8,
    })
    .to_string();
    write("config.json", &padded(&config, 16 * MEBI + 1));
    assert!(message(folder.path()).contains("16777217 bytes, where at most 16777216"), "{}", message(folder.path()));
    write("config.json", &padded(&config, 16 * MEBI));
    assert!(message(folder.path()).contains("model.safetensors"), "{}", message(folder.path()));

    let index = "{\"weight_map\":{\"x\":\"a.safetensors\"}}";
    write("model.safetensors.index.json", &padded(index, 64 * MEBI + 1));
    assert!(message(folder.path()).contains("67108865 bytes, where at most 67108864"), "{}", message(folder.path()));
    write("model.safetensors.index.json", &padded(index, 64 * MEBI));
    assert!(message(folder.path()).contains("a.safetensors"), "{}", message(folder.path()));
}

#[test]
fn a_write_that_fails_leaves_nothing_and_one_that_does_not_replaces_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("weights");
    fs::create_dir(&path).expect("made");
    fs::write(path.join("inside"), b"kept").expect("written");
    let error = format!("{:#}", write_atomically(&path, b"new").expect_err("a folder is there"));
    assert!(error.contains("weights: cannot be written; check the folder's permissions"), "{error}");
    let names = |folder: &Path| -> Vec<String> {
        let entries = fs::read_dir(folder).expect("a folder").flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    };
    assert_eq!(names(folder.path()), ["weights"], "no `{TEMPORARY_PREFIX}…` is left");
    assert_eq!(fs::read(path.join("inside")).expect("there"), b"kept");
    let file = folder.path().join("file");
    write_atomically(&file, b"a longer one").expect("written");
    write_atomically(&file, b"new").expect("written");
    assert_eq!(fs::read(&file).expect("there"), b"new");
    assert_eq!(names(folder.path()).len(), 2);
}
