//! Reading hub folders: sound ones in every form, and one malformed file for each message.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use mtl_backbone::checkpoint::{
    Checkpoint, NamedTensor, read_safetensors, safetensors_bytes, write_atomically, write_safetensors_atomic,
};
use serde_json::{Value, json};

type Raw<'a> = (&'a str, &'a str, Vec<usize>, Vec<u8>);

/// The bytes of a safetensors file, tensors end to end.
fn file_of(tensors: &[Raw]) -> Vec<u8> {
    let mut data = Vec::new();
    let mut members = Vec::new();
    for (name, dtype, shape, bytes) in tensors {
        let offsets = [data.len(), data.len() + bytes.len()];
        members.push(format!("{name:?}:{}", json!({ "dtype": dtype, "shape": shape, "data_offsets": offsets })));
        data.extend(bytes);
    }
    with_header(&format!("{{{}}}", members.join(",")), &data)
}

fn with_header(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

fn single(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn config() -> Value {
    json!({
        "model_type": "bert", "vocab_size": 4, "hidden_size": 2, "num_hidden_layers": 1, "num_attention_heads": 1,
        "intermediate_size": 3, "max_position_embeddings": 8,
    })
}

/// A folder with the given files.
fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).expect("written");
    }
    folder
}

fn with_weights(bytes: &[u8]) -> tempfile::TempDir {
    folder(&[("config.json", config().to_string().as_bytes()), ("model.safetensors", bytes)])
}

/// The refusal of a folder; every part of it must be in the message.
#[track_caller]
fn refused(folder: &Path, parts: &[&str]) {
    let message = format!("{:#}", Checkpoint::read(folder).expect_err("a malformed folder"));
    for part in parts {
        assert!(message.contains(part), "expected {part:?} in: {message}");
    }
    assert!(message.contains(&folder.display().to_string()), "the path is missing in: {message}");
}

#[track_caller]
fn weights_refused(bytes: &[u8], parts: &[&str]) {
    let folder = with_weights(bytes);
    refused(folder.path(), &[&["model.safetensors"], parts].concat());
}

const NAME: &str = "embeddings.word_embeddings.weight";

#[test]
fn every_float_type_becomes_single_precision() {
    let values = [1.0f32, -0.5, 0.25, 3.0];
    let half: Vec<u8> = values.iter().flat_map(|&v| half::f16::from_f32(v).to_le_bytes()).collect();
    let brain: Vec<u8> = values.iter().flat_map(|&v| half::bf16::from_f32(v).to_le_bytes()).collect();
    let double: Vec<u8> = values.iter().flat_map(|&v| f64::from(v).to_le_bytes()).collect();
    for (dtype, bytes) in [("F32", single(&values)), ("F16", half), ("BF16", brain), ("F64", double)] {
        let folder = with_weights(&file_of(&[(NAME, dtype, vec![2, 2], bytes)]));
        let read = Checkpoint::read(folder.path()).expect("a sound folder");
        assert_eq!(read.tensors[NAME], NamedTensor { shape: vec![2, 2], data: values.to_vec() }, "{dtype}");
        assert_eq!(read.config, config());
    }
}

#[test]
fn prefixes_old_names_and_heads_are_settled() {
    let one = || single(&[1.]);
    let folder = with_weights(&file_of(&[
        ("bert.embeddings.LayerNorm.gamma", "F32", vec![1], one()),
        ("bert.embeddings.LayerNorm.beta", "F32", vec![1], one()),
        ("bert.embeddings.position_ids", "I64", vec![1], vec![0; 8]),
        ("bert.pooler.dense.weight", "F32", vec![1], one()),
        ("cls.predictions.bias", "I8", vec![1], vec![7]),
    ]));
    let read = Checkpoint::read(folder.path()).expect("a sound folder");
    let names: Vec<&str> = read.tensors.keys().map(String::as_str).collect();
    assert_eq!(names, ["embeddings.LayerNorm.bias", "embeddings.LayerNorm.weight"]);
    assert_eq!(read.unused, ["bert.pooler.dense.weight", "cls.predictions.bias"]);
}

#[test]
fn two_spellings_of_one_name_are_refused() {
    let other = format!("bert.{NAME}");
    let bytes = file_of(&[(NAME, "F32", vec![1], single(&[1.])), (&other, "F32", vec![1], single(&[2.]))]);
    weights_refused(&bytes, &[NAME, &other, "keep one"]);
}

fn sharded(index: &Value, shards: &[(&str, &[u8])]) -> tempfile::TempDir {
    let (config, index) = (config().to_string(), index.to_string());
    let mut files: Vec<(&str, &[u8])> =
        vec![("config.json", config.as_bytes()), ("model.safetensors.index.json", index.as_bytes())];
    files.extend(shards);
    folder(&files)
}

#[test]
fn shards_are_read_and_checked_against_their_index() {
    let (a, b) = (
        file_of(&[("bert.encoder.a", "F32", vec![1], single(&[1.]))]),
        file_of(&[("bert.encoder.b", "F32", vec![1], single(&[2.]))]),
    );
    let index = json!({ "weight_map": { "bert.encoder.a": "m-1.safetensors", "bert.encoder.b": "m-2.safetensors" } });
    let whole = sharded(&index, &[("m-1.safetensors", &a), ("m-2.safetensors", &b)]);
    let read = Checkpoint::read(whole.path()).expect("a sound folder");
    assert_eq!((read.tensors["encoder.a"].data[0], read.tensors["encoder.b"].data[0]), (1., 2.));

    let missing = sharded(&index, &[("m-1.safetensors", &a)]);
    refused(missing.path(), &["m-2.safetensors", "missing", "fetch"]);
    let swapped = sharded(&index, &[("m-1.safetensors", &b), ("m-2.safetensors", &a)]);
    refused(swapped.path(), &["m-1.safetensors", "`bert.encoder.a`", "missing", "fetch"]);
    let surplus = sharded(
        &json!({ "weight_map": { "x": "m.safetensors" } }),
        &[("m.safetensors", &file_of(&[("x", "F32", vec![1], single(&[1.])), ("y", "F32", vec![1], single(&[1.]))]))],
    );
    refused(surplus.path(), &["m.safetensors", "`y`", "fetch both again"]);
    let outside = sharded(&json!({ "weight_map": { "x": "../../secret.safetensors" } }), &[]);
    refused(outside.path(), &["index.json", "`x`", "../../secret.safetensors", "plain"]);
    let empty = sharded(&json!({ "weight_map": {} }), &[]);
    refused(empty.path(), &["index.json", "`weight_map`", "empty", "fetch"]);
}

#[test]
fn a_file_that_is_something_else_is_recognised() {
    weights_refused(b"\n<!DOCTYPE html><html>Sign in</html>", &["byte 0", "HTML page", "HF_ENDPOINT", "fetch"]);
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 440449768\n";
    weights_refused(pointer, &["byte 0", &format!("pointer of {} bytes", pointer.len()), "440449768", "git lfs pull"]);
    weights_refused(b"", &["byte 0", "an empty file", "fetch"]);
    weights_refused(b"PK\x03\x04 archive/data.pkl", &["byte 0", "pickle", "safe_serialization=True"]);
    weights_refused(b"\x80\x02}q\x00.", &["byte 0", "pickle", "safe_serialization=True"]);
    weights_refused(b"GGUF\x03\0\0\0", &["byte 0", "GGUF", "safetensors"]);
    weights_refused(b"\x1f\x8b\x08\0\0\0\0\0\0", &["byte 0", "gzip", "gunzip"]);
}

#[test]
fn weights_in_other_formats_are_refused_with_the_way_to_convert_them() {
    for name in ["pytorch_model.bin", "model.pt", "model.ckpt", "weights.pkl"] {
        let folder = folder(&[("config.json", config().to_string().as_bytes()), (name, b"\x80\x02")]);
        refused(folder.path(), &[name, "never opened", "save_pretrained"]);
    }
    for name in ["model.gguf", "tf_model.h5", "flax_model.msgpack"] {
        let folder = folder(&[("config.json", config().to_string().as_bytes()), (name, b"x")]);
        refused(folder.path(), &[name, "only safetensors", "save_pretrained"]);
    }
    let bare = folder(&[("config.json", config().to_string().as_bytes())]);
    refused(bare.path(), &["neither model.safetensors", "fetch"]);
}

#[test]
fn a_header_that_cannot_be_true_is_refused() {
    let sound = file_of(&[(NAME, "F32", vec![4], single(&[1.; 4]))]);
    weights_refused(&sound[..5], &["byte 0", "5 bytes", "fetch"]);
    weights_refused(&sound[..40], &["byte 0", "cut off", "40 bytes", "fetch"]);
    weights_refused(&sound[..sound.len() - 3], &[NAME, "cut off", "ends at byte", "fetch"]);
    let longer = [sound.as_slice(), b"xy"].concat();
    weights_refused(&longer, &[&format!("byte {}", sound.len()), "2 bytes behind", "original source"]);
    let mut absurd = sound.clone();
    absurd[..8].copy_from_slice(&(1u64 << 63).to_le_bytes());
    weights_refused(&absurd, &["byte 0", "9223372036854775808", "not a safetensors"]);
    absurd[..8].copy_from_slice(&99_000_000u64.to_le_bytes());
    weights_refused(&absurd, &["byte 0", "99000000", "cut off"]);
    weights_refused(&with_header("{\"a\":", &[]), &["byte 13", "not JSON", "fetch"]);
    weights_refused(&with_header("[1,2]", &[]), &["byte", "not JSON", "fetch"]);
    weights_refused(&with_header(&"[".repeat(100_000), &[]), &["byte", "not JSON"]);
    weights_refused(&with_header("{\"a\":{\"dtype\":\"F32\"}}", &[]), &["tensor `a`", "without dtype, shape"]);
}

/// A header entry `x`, with 16 bytes of data.
#[track_caller]
fn entry_refused(entry: &str, parts: &[&str]) {
    weights_refused(&with_header(&format!("{{{entry}}}"), &[0; 16]), parts);
}

#[test]
fn tensors_that_lie_about_themselves_are_refused() {
    let x = |dtype: &str, shape: &str, offsets: &str| {
        format!("\"x\":{{\"dtype\":\"{dtype}\",\"shape\":{shape},\"data_offsets\":{offsets}}}")
    };
    let twice = format!("{},{}", x("F32", "[2]", "[0,8]"), x("F32", "[2]", "[8,16]"));
    entry_refused(&twice, &["`x`", "stated twice", "original source"]);
    let second =
        |offsets: &str| format!("{},{}", x("F32", "[2]", "[0,8]"), x("F32", "[2]", offsets).replace("\"x\"", "\"y\""));
    entry_refused(&second("[4,12]"), &["`y`", "overlaps", "ends at byte"]);
    entry_refused(&second("[12,20]"), &["`y`", "hole", "ends at byte"]);
    entry_refused(&x("F32", "[3]", "[0,16]"), &["`x`", "needs 12 bytes", "[0, 16]"]);
    entry_refused(&x("F32", "[4]", "[16,0]"), &["`x`", "needs 16 bytes", "[16, 0]"]);
    entry_refused(&x("F32", "[1,1,1,1,1,1,1,1,4]", "[0,16]"), &["`x`", "9 dimensions", "at most 8"]);
    let many = format!("[{}4]", "1,".repeat(100_000));
    entry_refused(&x("F32", &many, "[0,16]"), &["`x`", "100001 dimensions"]);
    entry_refused(&x("F32", "[0,4611686018427387904,4611686018427387904]", "[0,0]"), &["`x`", "counted"]);
    entry_refused(&x("F32", "[4]", "[18446744073709551599,18446744073709551615]"), &["`x`", "beyond any file"]);
    entry_refused(&x("Q4_0", "[16]", "[0,16]"), &["`x`", "unknown type \"Q4_0\"", "unquantised"]);
    entry_refused(&x("F32", "[-1]", "[0,16]"), &["`x`", "without dtype, shape, data_offsets"]);
    let quantised = file_of(&[(NAME, "I8", vec![2], vec![1, 2])]);
    weights_refused(&quantised, &[NAME, "I8", "unquantised"]);
}

#[test]
fn values_that_are_no_numbers_are_refused_and_counted() {
    let odd = file_of(&[(NAME, "F32", vec![4], single(&[1., f32::NAN, f32::INFINITY, 0.]))]);
    weights_refused(&odd, &[NAME, "2 of 4 values", "diverged"]);
    let huge = file_of(&[(NAME, "F64", vec![1], 1e300f64.to_le_bytes().to_vec())]);
    weights_refused(&huge, &[NAME, "1 of 1 values", "single precision"]);
}

#[test]
fn a_configuration_that_cannot_be_true_is_refused() {
    let weights = file_of(&[(NAME, "F32", vec![1], single(&[1.]))]);
    let refused_as = |config: &[u8], parts: &[&str]| {
        let folder = folder(&[("config.json", config), ("model.safetensors", &weights)]);
        refused(folder.path(), &[&["config.json"], parts].concat());
    };
    refused_as(b"<html>", &["byte 0", "HTML page", "not JSON", "fetch"]);
    refused_as(b"{\n\"a\": }", &["line 2, column 6", "not JSON", "fetch"]);
    refused_as(b"[]", &["not a JSON object"]);
    refused_as(b"", &["an empty file"]);
    refused_as(b"{\"hidden_size\": 1099511627776}", &["`hidden_size`", "1099511627776", "from 1 to 16384"]);
    refused_as(b"{\"hidden_size\": 10, \"num_attention_heads\": 4}", &["4 attention heads do not divide", "10"]);
    let none = folder(&[("model.safetensors", &weights)]);
    refused(none.path(), &["config.json", "fetch"]);
    let nowhere = none.path().join("nowhere");
    refused(&nowhere, &["not there", "fetch"]);
}

#[test]
fn written_files_read_back_bit_for_bit_and_replace_the_old_ones_whole() {
    let folder = folder(&[("out.safetensors", b"the old file")]);
    let path = folder.path().join("out.safetensors");
    let values: Vec<f32> = (0..6).map(|i| (i as f32).exp() * 1e-30).collect();
    let tensors: BTreeMap<String, NamedTensor> =
        [("b".to_string(), NamedTensor { shape: vec![2, 3], data: values.clone() })].into();
    write_safetensors_atomic(&path, &tensors).expect("written");
    assert_eq!(read_safetensors(&path).expect("sound"), tensors);
    let first = fs::read(&path).expect("readable");
    write_safetensors_atomic(&path, &tensors).expect("written");
    assert_eq!(fs::read(&path).expect("readable"), first, "the same tensors give the same bytes");

    let tensor = Tensor::new(values, &Device::Cpu).and_then(|t| t.reshape((3, 2))).expect("a tensor");
    assert_eq!(tensor.dtype(), DType::F32);
    write_safetensors_atomic(&path, vec![("c", &tensor)]).expect("written");
    assert_eq!(read_safetensors(&path).expect("sound")["c"].shape, [3, 2]);
    let left: Vec<PathBuf> =
        fs::read_dir(folder.path()).expect("a folder").map(|e| e.expect("an entry").path()).collect();
    assert_eq!(left, [path], "no temporary file stays behind");

    let nowhere = folder.path().join("nowhere").join("x.safetensors");
    let message = format!("{:#}", write_safetensors_atomic(&nowhere, &tensors).expect_err("no such folder"));
    assert!(message.contains("x.safetensors") && message.contains("permissions"), "{message}");
}

#[test]
fn the_bytes_do_not_depend_on_the_order_and_say_that_they_are_for_pytorch() {
    let tensor = |value: f32| NamedTensor { shape: vec![1], data: vec![value] };
    let (a, b) = (tensor(1.), tensor(2.));
    let bytes = safetensors_bytes([("b", &b), ("a", &a)]).expect("bytes");
    assert_eq!(bytes, safetensors_bytes([("a", &a), ("b", &b)]).expect("bytes"));
    let length = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).expect("JSON");
    assert_eq!(header["__metadata__"], serde_json::json!({ "format": "pt" }));
    assert_eq!((&header["a"]["data_offsets"][0], &header["b"]["data_offsets"][0]), (&0.into(), &4.into()));
}

/// As any other program's file: 0666 less the umask, which a plain new file shows.
#[cfg(unix)]
#[test]
fn who_may_read_a_written_file_is_decided_by_the_umask() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder(&[("plain", b"a file like any other"), ("closed", b"a file that was there")]);
    let mode = |name: &str| fs::metadata(folder.path().join(name)).expect("there").permissions().mode();
    fs::set_permissions(folder.path().join("closed"), fs::Permissions::from_mode(0o600)).expect("closed");
    let tensor = NamedTensor { shape: vec![1], data: vec![0.] };
    write_atomically(&folder.path().join("bytes"), b"bytes").expect("written");
    write_atomically(&folder.path().join("closed"), b"bytes").expect("written");
    write_safetensors_atomic(&folder.path().join("tensors"), [("a", &tensor)]).expect("written");
    for name in ["bytes", "closed", "tensors"] {
        assert_eq!(mode(name), mode("plain"), "{name}");
    }
}

#[test]
fn no_cut_goes_unseen() {
    let sound = file_of(&[(NAME, "F32", vec![4], single(&[1.; 4])), ("encoder.x", "F16", vec![2], vec![0; 4])]);
    let folder = with_weights(&sound);
    let path = folder.path().join("model.safetensors");
    for end in 0..sound.len() {
        fs::write(&path, &sound[..end]).expect("written");
        refused(folder.path(), &["model.safetensors"]);
    }
}
