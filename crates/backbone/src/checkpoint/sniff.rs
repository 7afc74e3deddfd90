//! Recognises, by its first bytes, a file that is something else than its name says.

use std::path::Path;

use anyhow::Result;

use super::{FETCH_AGAIN, fault};

const CONVERT: &str = "pickles can run code and are never opened; convert it where you trust it: in Python, \
     `AutoModel.from_pretrained(FOLDER).save_pretrained(OUT, safe_serialization=True)`, then use OUT";
const OTHER_FORMAT: &str = "only safetensors is read; take the model's `model.safetensors`, or convert the original: \
     in Python, `AutoModel.from_pretrained(FOLDER).save_pretrained(OUT, safe_serialization=True)`";

/// File endings that are not read, and what to do instead.
pub(super) fn remedy_for(extension: &str) -> Option<&'static str> {
    match extension {
        "bin" | "pt" | "pth" | "ckpt" | "pkl" | "pickle" => Some(CONVERT),
        "gguf" | "ggml" | "h5" | "msgpack" | "onnx" | "npz" => Some(OTHER_FORMAT),
        _ => None,
    }
}

/// Refuses bytes that are plainly not `wanted`, the beginning of a file of `size` bytes.
pub(super) fn refuse_what_is_not(wanted: &str, path: &Path, head: &[u8], size: u64) -> Result<()> {
    let starts = |magic: &[u8]| head.starts_with(magic);
    let text = String::from_utf8_lossy(head.get(..512).unwrap_or(head));
    let trimmed = text.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']);
    let lower = trimmed.to_ascii_lowercase();
    let (found, remedy) = if size == 0 {
        ("an empty file".to_string(), FETCH_AGAIN)
    } else if lower.starts_with("<!doctype") || lower.starts_with("<html") || lower.starts_with("<?xml") {
        let start: String = trimmed.chars().take(24).collect();
        let remedy = "the download answered with a page, often a login or an error: check HF_ENDPOINT and HF_TOKEN, \
             delete the file and fetch the model again (`cargo xtask fetch --model NAME`)";
        (format!("an HTML page, not {wanted} (it starts {start:?})"), remedy)
    } else if trimmed.starts_with("version https://git-lfs") {
        let real = trimmed.lines().find_map(|line| line.strip_prefix("size ")).unwrap_or("of unknown size");
        let found = format!("a git-LFS pointer of {size} bytes, not {wanted} (the real file: {real} bytes)");
        let remedy = "run `git lfs pull` in the folder, or fetch the model with `cargo xtask fetch --model NAME`";
        (found, remedy)
    } else if starts(b"PK\x03\x04") || starts(&[0x80, 2]) || starts(&[0x80, 4]) {
        (format!("a PyTorch pickle, not {wanted}"), CONVERT)
    } else if starts(b"GGUF") || starts(b"\x89HDF") {
        (format!("a GGUF or HDF5 file, not {wanted}"), OTHER_FORMAT)
    } else if starts(&[0x1f, 0x8b]) {
        (format!("gzip-compressed data, not {wanted}"), "unpack it with `gunzip`")
    } else {
        return Ok(());
    };
    Err(fault(path, "byte 0", found, remedy))
}
