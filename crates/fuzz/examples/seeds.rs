//! Writes those files of the corpus that no hand writes: Parquet in every compression, states of rules, and a tiny run.
//!
//! `cargo run --package mtl-fuzz --example seeds` in the root of the repository.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use mtl_task::Registry;
use mtl_weighting::Rule;
use parquet::basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType};
use parquet::file::properties::{WriterProperties, WriterVersion};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use serde_json::json;

fn main() -> Result<()> {
    let corpus = Path::new("crates/fuzz/corpus");
    let write = |target: &str, name: &str, bytes: &[u8]| -> Result<()> {
        std::fs::create_dir_all(corpus.join(target))?;
        std::fs::write(corpus.join(target).join(name), bytes).with_context(|| format!("{target}/{name}"))
    };
    for (name, compression) in [
        ("plain", Compression::UNCOMPRESSED),
        ("snappy", Compression::SNAPPY),
        ("gzip", Compression::GZIP(GzipLevel::default())),
        ("zstd", Compression::ZSTD(ZstdLevel::default())),
        ("lz4-raw", Compression::LZ4_RAW),
        ("lz4", Compression::LZ4),
        ("brotli", Compression::BROTLI(BrotliLevel::default())),
    ] {
        for (version, number) in [(WriterVersion::PARQUET_1_0, 1), (WriterVersion::PARQUET_2_0, 2)] {
            write("parquet", &format!("{name}-{number}.parquet"), &table(compression, version)?)?;
        }
    }
    for rule in &Registry::<Rule>::default() {
        let Ok(built) = (rule.build)(3, &json!({})) else { continue };
        if !built.state().is_empty() {
            let kept = json!({ "rule": rule.name, "tasks": 3, "state": built.state() });
            write("rule-state", &format!("{}.json", rule.name), kept.to_string().as_bytes())?;
        }
    }
    run(&write)
}

/// Texts, numbers of which some are missing, and lists.
fn table(compression: Compression, version: WriterVersion) -> Result<Vec<u8>> {
    let schema = "message schema { REQUIRED BINARY text (UTF8); OPTIONAL DOUBLE label; \
                  OPTIONAL GROUP words (LIST) { REPEATED GROUP list { REQUIRED BINARY element (UTF8); } } }";
    let schema = Arc::new(parse_message_type(schema)?);
    let properties = WriterProperties::builder().set_compression(compression).set_writer_version(version).build();
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties))?;
    let mut group = writer.next_row_group()?;
    let texts: Vec<ByteArray> =
        (0..50).map(|row| ByteArray::from(format!("note {} of many", row % 20).as_str())).collect();
    let mut column = group.next_column()?.context("the first column")?;
    column.typed::<ByteArrayType>().write_batch(&texts, None, None)?;
    column.close()?;
    let mut column = group.next_column()?.context("the second column")?;
    let levels: Vec<i16> = (0..50).map(|row| i16::from(row % 10 != 0)).collect();
    column.typed::<DoubleType>().write_batch(&[0.5; 45], Some(&levels), None)?;
    column.close()?;
    let mut column = group.next_column()?.context("the third column")?;
    let repeats: Vec<i16> = (0..100).map(|word| word % 2).collect();
    column.typed::<ByteArrayType>().write_batch(
        &vec![ByteArray::from("word"); 100],
        Some(&[2; 100]),
        Some(&repeats),
    )?;
    column.close()?;
    group.close()?;
    Ok(writer.into_inner()?)
}

/// Puts bytes into the file of a target.
type Write<'a> = &'a dyn Fn(&str, &str, &[u8]) -> Result<()>;

/// The files of the run that the targets `run-…` change.
fn run(write: Write) -> Result<()> {
    let run = mtl_fuzz::trained_run();
    let checkpoint = run.join("checkpoints/last");
    let mut manifest = json!({});
    for entry in std::fs::read_dir(&checkpoint)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name != "manifest.json" {
            manifest[&name] = format!("<{name}>").into();
        }
    }
    write("run-manifest", "whole.json", manifest.to_string().as_bytes())?;
    let mut state: serde_json::Value = serde_json::from_slice(&std::fs::read(checkpoint.join("state.json"))?)?;
    state["recipe"] = "<recipe.toml>".into();
    for key in ["seconds", "cpu_seconds"] {
        state[key] = 0.5.into();
    }
    write("run-state", "whole.json", state.to_string().as_bytes())?;
    write("run-structure", "whole.json", &std::fs::read(checkpoint.join("structure.json"))?)?;
    let tasks: serde_json::Value = serde_json::from_slice(&std::fs::read(run.join("tasks.json"))?)?;
    write("run-tasks", "whole.json", tasks.to_string().as_bytes())?;
    let optimizer = std::fs::read(checkpoint.join("optimizer.safetensors"))?;
    let length = optimizer.first_chunk().map(|length| u64::from_le_bytes(*length)).context("a header")?;
    let header = optimizer.get(8..8 + length as usize).context("a header")?;
    write("run-optimizer", "whole.json", String::from_utf8_lossy(header).trim_end().as_bytes())?;
    std::fs::remove_dir_all(mtl_fuzz::scratch_folder())?;
    Ok(())
}
