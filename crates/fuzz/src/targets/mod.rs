//! The targets, one file for each kind of input.

mod checkpoints;
mod documents;
mod faults;
mod imports;
mod labels;
mod paper;
mod rows;
mod runs;
mod tokenizers;
mod weigh;

pub use runs::trained_run;

use crate::{Target, dictionary};

/// Every target, the cheap ones first.
pub const TARGETS: &[Target] = &[
    target("csv", "a table with commas", rows::csv, dictionary::TABLE),
    target("tsv", "a table with tabs", rows::tsv, dictionary::TABLE),
    target("encoded", "a line that names an encoding, and a table in it", rows::encoded, dictionary::TABLE),
    target("json", "a file of JSON records", rows::json, dictionary::JSON),
    target("jsonl", "JSON Lines", rows::jsonl, dictionary::JSON),
    target("conll", "words and tags in columns", rows::conll, dictionary::CONLL),
    foreign("parquet", "a Parquet file", rows::parquet, dictionary::PARQUET),
    target("guess", "a table that `init` describes", rows::guess, dictionary::TABLE),
    target("mail", "an internet message", rows::mail, dictionary::MAIL),
    target("labels", "a table whose cells hold lists, as datasets of four kinds", labels::table, dictionary::LABELS),
    target("dataset-manifest", "a dataset's manifest", documents::dataset, dictionary::TOML),
    target("model-manifest", "a model's manifest", documents::model, dictionary::TOML),
    target("recipe", "a recipe", documents::recipe, dictionary::TOML),
    target("overrides", "lines of section.key=value", documents::overrides, dictionary::TOML),
    target("experiment", "an experiment", documents::experiment, dictionary::TOML),
    foreign("tokenizer", "a tokenizer.json", tokenizers::file, dictionary::TOKENIZER),
    foreign("tokenizer-config", "a tokenizer_config.json", tokenizers::config, dictionary::TOKENIZER),
    foreign("vocabulary", "a vocab.txt", tokenizers::vocabulary, dictionary::TOKENIZER),
    foreign("merges", "a vocab.json and, after an empty line, a merges.txt", tokenizers::merges, dictionary::TOKENIZER),
    target("config", "a model's config.json", checkpoints::config, dictionary::CONFIG),
    target("safetensors", "a safetensors file", checkpoints::safetensors, dictionary::SAFETENSORS),
    target("header", "the header of a safetensors file", checkpoints::header, dictionary::SAFETENSORS),
    target("shards", "an index of shards", checkpoints::shards, dictionary::JSON),
    target("weigh", "a rule's name, and a sequence of steps", weigh::sequence, dictionary::JSON),
    target("rule-state", "what a checkpoint keeps of a rule", weigh::state, dictionary::JSON),
    target("run-manifest", "the manifest of a run's checkpoint", runs::manifest, dictionary::JSON),
    target("run-state", "where a run stood", runs::state, dictionary::JSON),
    target("run-structure", "who owned which parameter", runs::structure, dictionary::JSON),
    target("run-tasks", "the tasks of a run", runs::tasks, dictionary::JSON),
    target("run-optimizer", "the header of an optimizer's state", runs::optimizer, dictionary::SAFETENSORS),
    target("modules", "the modules of sentence-transformers", imports::modules, dictionary::JSON),
    target("fine-tuned", "the config.json of a fine-tuned model", imports::config, dictionary::CONFIG),
    target("claims", "what experiments shall show", paper::claims, dictionary::TOML),
    target("rows", "the rows of an experiment, file by file", paper::rows, dictionary::TABLE),
];

/// Targets that fail, by which fuzzers are tried themselves; none of them is found unless it is named.
pub const FAULTS: &[Target] = &[
    target("fault-panics", "anything", faults::panics, &[]),
    target("fault-hoards", "anything", faults::hoards, &[]),
    target("fault-loops", "anything", faults::loops, &[]),
    target("fault-rambles", "anything", faults::rambles, &[]),
];

type Read = fn(&[u8]) -> anyhow::Result<()>;

const fn target(name: &'static str, about: &'static str, read: Read, dictionary: &'static [&'static [u8]]) -> Target {
    Target { name, about, read, dictionary, foreign: false }
}

const fn foreign(name: &'static str, about: &'static str, read: Read, dictionary: &'static [&'static [u8]]) -> Target {
    Target { foreign: true, ..target(name, about, read, dictionary) }
}
