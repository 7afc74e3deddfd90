//! `predict`.

mod answer;
mod form;
mod table;

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use mtl_task::{Label, Task, TaskId};
use mtl_train::Trained;

pub(super) use answer::{asked, said};

use answer::{Answered, Asked, answers, together};
use form::{Form, Line};
use table::{Dialect, Named, Row, View};

use crate::device::{OnDevice, set_threads};
use crate::output;
use crate::sink::Sink;

/// Lines that are answered together.
const CHUNK: usize = 256;

/// Predict labels of texts with a run's model
///
/// A line is a text (two with a tab between them for a task of pairs), or a JSON object (`text`, or `text_a` and `text_b`,
/// or `tokens`). Every line has its answer, in order; a blank one is a text without words.
///
/// A table (an input that ends in .csv, .tsv or .jsonl, or --format) comes back in its own format with all of its columns
/// and the answers behind them: a column TASK with the label or value and TASK.probability, or a key TASK in JSON Lines.
#[derive(Debug, Args)]
pub struct Predict {
    /// The run folder
    run: PathBuf,
    /// The task that predicts; without it, all that can read the input do
    #[arg(long)]
    task: Option<String>,
    /// A file of texts; `-` is standard input
    #[arg(long, default_value = "-")]
    input: PathBuf,
    /// How the input is written [default: as its name ends, else lines]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// The column of a table to read [default: as in the files that the task was trained on, else `text`, `text_a` and
    /// `text_b`, or `tokens`]
    #[arg(long, value_name = "COLUMN")]
    text: Option<String>,
    /// The column of the second text of a pair
    #[arg(long, value_name = "COLUMN", requires = "text")]
    pair: Option<String>,
    /// Write to this file, which is there when every answer is
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    on: OnDevice,
    /// Print one JSON object a line, with the text and the answer alone
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A text a line
    Lines,
    /// Comma-separated values with a header line
    Csv,
    /// Tab-separated values with a header line
    Tsv,
    /// A JSON object a line
    Jsonl,
}

/// A task with what it reads.
type Reader<'a> = (&'a str, TaskId, &'a dyn Task, Form);

impl Predict {
    pub(super) fn run(self, context: &crate::Context) -> Result<ExitCode> {
        if let Some(code) = self.on.rerun(&context.program)? {
            return Ok(code);
        }
        let dialect = self.dialect()?;
        set_threads(0)?;
        let trained = Trained::open(&context.registries, &self.run, &self.on.open()?)?;
        let readers: Vec<Reader> = (trained.tasks.iter().map(|(name, _)| name.as_str()))
            .filter(|_| self.task.is_none())
            .chain(self.task.as_deref())
            .map(|name| trained.task(name).map(|(id, task)| (name, id, task, Form::of(&trained, id, task))))
            .collect::<Result<_>>()?;
        let file = (self.input != Path::new("-")).then_some(self.input.as_path());
        let input: Box<dyn BufRead> = match file {
            None => Box::new(std::io::stdin().lock()),
            Some(path) => Box::new(std::io::BufReader::new(
                std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?,
            )),
        };
        let mut length = Length::default();
        let sink = Sink::open(self.output.as_deref())?;
        match dialect {
            None => self.lines(&trained, readers, input, sink, &mut length)?,
            Some(dialect) => {
                let rows = table::rows(&context.registries, dialect, file, input)?;
                self.table(&trained, readers, dialect, rows, sink, &mut length)?;
            }
        }
        length.tell(&trained);
        Ok(ExitCode::SUCCESS)
    }

    /// How the table is written that the input is; none if it is lines.
    fn dialect(&self) -> Result<Option<Dialect>> {
        let ending = self.input.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_lowercase();
        let dialect = match (self.format, ending.as_str()) {
            (Some(Format::Csv), _) | (None, "csv") => Some(Dialect::Csv),
            (Some(Format::Tsv), _) | (None, "tsv" | "tab") => Some(Dialect::Tsv),
            // With --json a line of JSON is a text like any other.
            (None, "jsonl" | "ndjson") if self.json => None,
            (Some(Format::Jsonl), _) | (None, "jsonl" | "ndjson") => Some(Dialect::Jsonl),
            (Some(Format::Lines), _) | (None, _) => None,
        };
        if dialect.is_none() && self.text.is_some() {
            bail!(
                "--text names a column of a table, and the input is lines; --format says that it is csv, tsv or jsonl"
            );
        }
        if dialect.is_some() && self.json {
            bail!("--json is for lines; a table comes back in its own format, so --format lines or no --json");
        }
        Ok(dialect)
    }

    fn lines(
        &self,
        trained: &Trained,
        readers: Vec<Reader>,
        input: Box<dyn BufRead>,
        mut sink: Sink,
        length: &mut Length,
    ) -> Result<()> {
        let name = self.input.display().to_string();
        let mut forms: Vec<Form> = readers.iter().map(|(.., form)| *form).collect();
        forms.sort_unstable();
        forms.dedup();
        let view = |form: Form| forms.iter().position(|known| *known == form).unwrap_or(0);
        let asked: Vec<Asked> =
            readers.into_iter().map(|(name, id, task, form)| Asked { name, id, task, view: view(form) }).collect();
        let mut waiting: Vec<Line> = Vec::new();
        let mut lines = input.lines().enumerate().peekable();
        while let Some((index, line)) = lines.next() {
            let line = line.with_context(|| format!("{name}:{}: not UTF-8", index + 1))?;
            let line = if index == 0 { line.trim_start_matches('\u{feff}') } else { &line };
            // A blank line is a text without words: it has an answer like any other, so that answers keep step with lines.
            let read = Line::parse(line, &forms).and_then(|line| line.checked(&trained.tokenizer));
            waiting.push(read.with_context(|| format!("{name}:{}", index + 1))?);
            if waiting.len() == CHUNK || lines.peek().is_none() {
                length.count(trained, &waiting)?;
                for answered in answers(trained, &asked, &waiting)? {
                    self.show(&answered, &mut sink)?;
                }
                waiting.clear();
            }
        }
        sink.finish()
    }

    fn show(&self, answered: &[Answered], sink: &mut Sink) -> Result<()> {
        match self.task {
            None => sink.line(&together(answered).to_string()),
            Some(_) if self.json => answered.iter().try_for_each(|one| sink.line(&one.object().to_string())),
            Some(_) => answered.iter().try_for_each(|one| sink.line(&one.plain())),
        }
    }

    fn table(
        &self,
        trained: &Trained,
        readers: Vec<Reader>,
        dialect: Dialect,
        rows: table::Rows,
        mut sink: Sink,
        length: &mut Length,
    ) -> Result<()> {
        let mut rows = rows.peekable();
        let first = match rows.peek() {
            Some(Ok(first)) => first,
            // The error itself is the next row.
            Some(Err(_)) => return rows.next().map_or(Ok(()), |row| row.map(drop)),
            None => return sink.finish(),
        };
        let there = first.columns();
        let (asked, views) = self.readers_of_columns(trained, readers, &there)?;
        let mut added = Vec::new();
        for one in &asked {
            let kind = trained.tasks.get(one.id.0).map(|(_, spec)| spec.kind.as_str()).unwrap_or_default();
            let truth: &Label = &trained.recipe.registries.data.kinds.find(kind)?.truth;
            added.extend(dialect.added(one.name, truth));
        }
        if let Some(taken) = added.iter().find(|name| there.contains(name)) {
            bail!("{}: there is a column `{taken}` already, which the answers need; rename it", first.place());
        }
        sink.data(&dialect.header(first, &added)?)?;
        let mut waiting: Vec<Row> = Vec::new();
        while let Some(row) = rows.next() {
            waiting.push(row?);
            if waiting.len() == CHUNK || rows.peek().is_none() {
                let line = |row: &Row| {
                    let line = row.read(&views)?.checked(&trained.tokenizer);
                    line.with_context(|| row.place())
                };
                let lines = waiting.iter().map(line).collect::<Result<Vec<Line>>>()?;
                length.count(trained, &lines)?;
                sink.data(&dialect.written(&waiting, &answers(trained, &asked, &lines)?)?)?;
                waiting.clear();
            }
        }
        sink.finish()
    }

    /// The tasks that find their columns among `there`, and these columns. A task that was asked for has to.
    fn readers_of_columns<'a>(
        &self,
        trained: &Trained,
        readers: Vec<Reader<'a>>,
        there: &[String],
    ) -> Result<(Vec<Asked<'a>>, Vec<View>)> {
        let named = Named { text: self.text.as_deref(), pair: self.pair.as_deref() };
        let (mut asked, mut views, mut left_out): (Vec<Asked>, Vec<View>, Vec<anyhow::Error>) = Default::default();
        for (name, id, task, form) in readers {
            let found = View::of(form, named, trained.text_columns(id), there);
            match found.with_context(|| format!("{}: task `{name}`", self.input.display())) {
                Ok(view) => {
                    let place = views.iter().position(|known| *known == view).unwrap_or_else(|| {
                        views.push(view);
                        views.len() - 1
                    });
                    asked.push(Asked { name, id, task, view: place });
                }
                Err(error) => left_out.push(error),
            }
        }
        if asked.is_empty()
            && let Some(error) = left_out.pop()
        {
            return Err(error);
        }
        left_out.iter().for_each(|error| output::note(&format!("left out: {error:#}")));
        Ok((asked, views))
    }
}

/// How many texts were longer than what the model reads.
#[derive(Default)]
struct Length {
    texts: usize,
    cut: usize,
}

impl Length {
    fn count(&mut self, trained: &Trained, lines: &[Line]) -> Result<()> {
        let most = trained.recipe.train.max_tokens;
        for Line(texts) in lines {
            let mut cut = false;
            for (_, texts) in texts {
                cut = cut || trained.tokenizer.cuts(texts, most)?;
            }
            self.texts += 1;
            self.cut += usize::from(cut);
        }
        Ok(())
    }

    fn tell(&self, trained: &Trained) {
        if self.cut > 0 {
            output::note(&format!(
                "{} of {} {} longer than {} tokens (train.max_tokens); the rest of {} was not read",
                self.cut,
                self.texts,
                if self.texts == 1 { "text is" } else { "texts are" },
                trained.recipe.train.max_tokens,
                if self.cut == 1 { "it" } else { "each" },
            ));
        }
    }
}
