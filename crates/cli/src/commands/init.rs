//! `init`: manifests and a recipe for files of one's own.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use mtl_data::guess::{self, Group, Guess, LabelGuess, TextGuess};
use mtl_data::manifest::ReaderSpec;

use crate::output::line;

/// Times that the largest task is seen.
const EPOCHS: usize = 3;

/// Examples a task in a step of the recipe.
const BATCH: usize = 16;

/// Write manifests and a recipe for files of your own, and say what was guessed.
///
/// CSV, TSV, JSON, JSON Lines, CoNLL columns and Parquet are looked at; files that differ in `train`, `dev` and `test` at
/// the end of their names are the splits of one dataset. What is written is yours to correct: nothing else remembers
/// the guess.
#[derive(Debug, Args)]
pub struct Init {
    /// Files of labelled text
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The folder that manifests and recipe are written to
    #[arg(long, default_value = ".")]
    out: PathBuf,
    /// What the recipe is called
    #[arg(long, default_value = "recipe")]
    name: String,
    /// The pretrained encoder: the name of a model, or the path of its manifest
    #[arg(long, default_value = "all-minilm-l6-v2")]
    checkpoint: String,
    /// The files' encoding, if it is not UTF-8
    #[arg(long)]
    encoding: Option<String>,
    /// Replace files that are there already
    #[arg(long)]
    force: bool,
}

impl Init {
    pub(super) fn run(self, context: &crate::Context) -> Result<ExitCode> {
        let spec = ReaderSpec { encoding: self.encoding.clone(), ..ReaderSpec::default() };
        let groups = guess::groups(&self.files)?;
        let mut written: Vec<(PathBuf, String)> = Vec::new();
        let mut told = Vec::new();
        let (mut datasets, mut tasks, mut examples, mut words) = (Vec::new(), 0, 0, 0);
        for group in &groups {
            let found = guess::guess(&context.registries.data.readers, group, &spec)?;
            let path = within(&self.out, format!("{}.toml", group.name));
            written.push((path.clone(), manifest(group, &found, &self.out)?));
            told.push(described(group, &found, &path));
            datasets.push(format!("{}.toml", group.name));
            tasks += found.labels.len();
            examples = examples.max(trained(group, &found));
            words = words.max(found.words);
        }
        let recipe = within(&self.out, format!("{}.toml", self.name));
        if written.iter().any(|(path, _)| *path == recipe) {
            bail!("a dataset is called `{}` as well; give the recipe another --name", self.name);
        }
        written.push((recipe.clone(), self.recipe(&datasets, tasks, examples, words)));
        self.write(&written)?;
        for told in told {
            told.iter().try_for_each(|told| line(told))?;
        }
        let program = &context.program.name;
        line(&format!(
            "\n{} trains {}{}. Look at what was written, then",
            recipe.display(),
            counted(tasks, "task"),
            if tasks > 1 { " together" } else { "" }
        ))?;
        line(&format!("  {program} data check {}", recipe.display()))?;
        line(&format!("  {program} train {}", recipe.display()))?;
        Ok(ExitCode::SUCCESS)
    }

    /// Writes all of `files` or none.
    fn write(&self, files: &[(PathBuf, String)]) -> Result<()> {
        let there: Vec<String> =
            files.iter().filter(|(path, _)| path.exists()).map(|(path, _)| path.display().to_string()).collect();
        if !there.is_empty() && !self.force {
            bail!("{} would be replaced; name another folder with --out, or say --force", there.join(", "));
        }
        files.iter().try_for_each(|(path, text)| mtl_train::write_atomically(path, text.as_bytes()))
    }

    fn recipe(&self, datasets: &[String], tasks: usize, examples: usize, words: usize) -> String {
        // A word is one to two tokens.
        let tokens = [32, 64, 128, 256].into_iter().find(|tokens| words * 3 / 2 + 2 <= *tokens).unwrap_or(256);
        let wanted = (EPOCHS * examples).div_ceil(BATCH);
        let steps = wanted.clamp(60, 600);
        let list: Vec<String> = datasets.iter().map(|dataset| quoted(dataset)).collect();
        let (strategy, rule) = if tasks > 1 { ("hard", "nash") } else { ("single", "equal") };
        let seen = match wanted {
            ..60 => "few examples: no fewer than 60 steps".to_string(),
            60..=600 => format!("the largest task is seen {EPOCHS} times"),
            _ => format!("{wanted} would see the largest task {EPOCHS} times"),
        };
        format!(
            "tasks = [{}]\ncheckpoint = {}\n\n\
             [sharing]\nstrategy = \"{strategy}\"\n\n\
             [weighting]\nrule = \"{rule}\"\n\n\
             [train]\n# {seen}\nsteps = {steps}\nbatch = {BATCH}\n# longer texts are cut; 95 % have at most {words} words\nmax_tokens = {tokens}\n\n\
             [evaluation]\nevery = {}\n",
            list.join(", "),
            quoted(&self.checkpoint),
            steps.div_ceil(4)
        )
    }
}

/// `name` in the folder `out`, as it is said: the current folder goes without saying.
fn within(out: &Path, name: String) -> PathBuf {
    if out == Path::new(".") { PathBuf::from(name) } else { out.join(name) }
}

/// A word of TOML.
fn quoted(text: &str) -> String {
    toml::Value::String(text.into()).to_string()
}

fn list(texts: &[String]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
    format!("[{}]", texts.join(", "))
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// How many rows a task trains on, roughly.
fn trained(group: &Group, found: &Guess) -> usize {
    match group.files.len() {
        1 => found.rows * 7 / 10,
        _ => found.rows,
    }
}

/// The manifest of `group`, whose paths start from `out`.
fn manifest(group: &Group, found: &Guess, out: &Path) -> Result<String> {
    let mut text = String::new();
    let files: Vec<String> = group.files.iter().map(|(path, _)| path.display().to_string()).collect();
    let columns: Vec<&str> = found.labels.iter().map(|label| label.column.as_str()).collect();
    writeln!(text, "# Guessed from {}; correct what is wrong.", files.join(", "))?;
    found.notes.iter().try_for_each(|note| writeln!(text, "# {note}."))?;
    writeln!(text, "about = {}", quoted(&format!("{} of {}", columns.join(", "), group.name)))?;
    if let [label] = &found.labels[..] {
        writeln!(text, "\n[task]\n# {}\nkind = {}", label.about, quoted(label.kind))?;
    }
    writeln!(text, "\n[columns]")?;
    match &found.text {
        TextGuess::One(column) => writeln!(text, "text = {}", quoted(column))?,
        TextGuess::Pair(a, b) => writeln!(text, "text_a = {}\ntext_b = {}", quoted(a), quoted(b))?,
        TextGuess::Tokens(column) => writeln!(text, "tokens = {}", quoted(column))?,
    }
    match &found.labels[..] {
        [label] => {
            if label.indicators.is_empty() {
                writeln!(text, "label = {}", quoted(&label.column))?;
            }
            if label.missing > 0 {
                writeln!(text, "# rows without one are left out\nignore = [\"\"]")?;
            }
            written_apart(&mut text, label)?;
        }
        several => several.iter().try_for_each(|label| -> Result<()> {
            let name = plain(&label.column);
            writeln!(text, "\n[[columns.labels]]\n# {}\nname = {}", label.about, quoted(&name))?;
            if name != label.column && label.indicators.is_empty() {
                writeln!(text, "column = {}", quoted(&label.column))?;
            }
            writeln!(text, "kind = {}", quoted(label.kind))?;
            written_apart(&mut text, label)
        })?,
    }
    let reader = &found.reader;
    if reader.name.is_some() || !reader.header.is_empty() || reader.encoding.is_some() {
        writeln!(text, "\n[reader]")?;
        if let Some(name) = &reader.name {
            writeln!(text, "name = {}", quoted(name))?;
        }
        if !reader.header.is_empty() {
            writeln!(text, "header = {}", list(&reader.header))?;
        }
        if let Some(encoding) = &reader.encoding {
            writeln!(text, "encoding = {}", quoted(encoding))?;
        }
    }
    writeln!(text, "\n[splits]")?;
    for (path, split) in &group.files {
        writeln!(text, "{} = {}", split.unwrap_or("all"), list(&[from(out, path)?]))?;
    }
    Ok(text)
}

/// Where the labels of a set stand: what parts them, or a column of 0 and 1 for each.
fn written_apart(text: &mut String, label: &LabelGuess) -> Result<()> {
    if !label.indicators.is_empty() {
        writeln!(text, "indicators = {}", list(&label.indicators))?;
    }
    if let Some(separator) = label.separator {
        writeln!(text, "label_separator = {}", quoted(separator))?;
    }
    Ok(())
}

/// A column's name as that of a task: one word.
fn plain(column: &str) -> String {
    column.chars().map(|letter| if letter.is_alphanumeric() || letter == '_' { letter } else { '-' }).collect()
}

/// `path` as it is called from the folder `out`.
fn from(out: &Path, path: &Path) -> Result<String> {
    let real = |path: &Path| path.canonicalize().with_context(|| format!("cannot find {}", path.display()));
    std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let (out, path) = (real(out)?, real(path)?);
    let relative = pathdiff::diff_paths(&path, &out).unwrap_or(path);
    Ok(relative.display().to_string())
}

/// What was guessed, for people.
fn described(group: &Group, found: &Guess, path: &Path) -> Vec<String> {
    let files: Vec<String> = group.files.iter().map(|(path, _)| path.display().to_string()).collect();
    let text = match &found.text {
        TextGuess::One(column) => format!("text `{column}`"),
        TextGuess::Pair(a, b) => format!("the pair `{a}` and `{b}`"),
        TextGuess::Tokens(column) => format!("words `{column}`"),
    };
    let drawn = if group.files.len() == 1 { "; dev and test are drawn from them" } else { "" };
    let mut told = vec![
        format!("{} → {}", files.join(", "), path.display()),
        format!("  {}{drawn}", counted(found.rows, "row")),
        format!("  reads {text}"),
    ];
    told.extend(found.labels.iter().map(|label| {
        let missing =
            if label.missing > 0 { format!("; {} without it", counted(label.missing, "row")) } else { String::new() };
        format!("  learns `{}`: {}, {}{missing}", label.column, label.kind, label.about)
    }));
    told.extend(found.notes.iter().map(|note| format!("  {note}")));
    told
}
