//! Which layout a task or a run is written in.

use std::path::Path;

use anyhow::{Context, Result};
use mtl_backbone::Pooling;
use mtl_task::TaskId;
use mtl_train::Trained;

use crate::card::Card;
use crate::fit::Fitted;
use crate::folder::Folder;
use crate::plain::PlainModel;
use crate::{sentence, shared, tokenizer, transformers};

/// For which library a task is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For transformers where a class of it computes what the head does; else for sentence-transformers.
    #[default]
    Auto,
    /// A class of transformers.
    Transformers,
    /// The modules of sentence-transformers.
    SentenceTransformers,
}

/// What was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// The task, or the tasks.
    pub tasks: Vec<String>,
    /// The class that loads it, such as `BertForSequenceClassification`.
    pub class: String,
    /// How it is loaded in Python.
    pub usage: String,
}

/// Writes `model`, a task of `trained`, as the folder `to`.
///
/// # Errors
/// If no class of the library computes what the task's head does (names the setting that would fit), `to` is not empty,
/// or the disk refuses.
pub fn write_task(model: &PlainModel, trained: &Trained, card: &Card, format: Format, to: &Path) -> Result<Written> {
    let folder = Folder::begin(to)?;
    let mut written =
        of_task(model, trained, card, format, &folder).with_context(|| format!("task `{}`", model.task))?;
    folder.finish()?;
    written.usage = written.usage.replace(PLACE, &to.display().to_string());
    Ok(written)
}

/// Writes every task of `trained` into a folder of its own below `to`, called like the task.
///
/// # Errors
/// As [`write_task`], before anything is written of any task.
pub fn write_each(trained: &Trained, card: &Card, format: Format, to: &Path) -> Result<Vec<Written>> {
    let models: Vec<PlainModel> = all(trained)?;
    for model in &models {
        layout(model, format).with_context(|| format!("task `{}`", model.task))?;
    }
    let parent = Folder::begin(to)?;
    let mut written = Vec::new();
    for model in &models {
        let part = parent.part(&model.task);
        let mut one = of_task(model, trained, card, format, &part)?;
        one.usage = one.usage.replace(PLACE, &to.join(&model.task).display().to_string());
        written.push(one);
    }
    parent.finish()?;
    Ok(written)
}

/// Writes the encoder that all tasks of `trained` share, with their heads beside it, as the folder `to`.
///
/// # Errors
/// If two tasks do not see the same encoder, `to` is not empty, or the disk refuses.
pub fn write_run(trained: &Trained, card: &Card, to: &Path) -> Result<Written> {
    let mut models: Vec<PlainModel> = Vec::new();
    for at in 0..trained.tasks.len() {
        let mut model = PlainModel::of(trained, TaskId(at))?;
        if let Some(first) = models.first() {
            shared::refuse_others(first, &model)?;
            // The first one's is written, and encoders are large.
            model.encoder.clear();
        }
        models.push(model);
    }
    let first = models.first().context("a run without tasks")?;
    let folder = Folder::begin(to)?;
    shared::write(&models, &folder)?;
    tokenizer::write(&trained.tokenizer, first, &folder)?;
    let usage = format!(
        "from transformers import AutoModel, AutoTokenizer\n\nencoder = AutoModel.from_pretrained(\"{PLACE}\")\n\
         tokenizer = AutoTokenizer.from_pretrained(\"{PLACE}\")\n"
    );
    let note =
        "`heads/` holds a head for each task, over the encoder's last states: `tasks.json` says what each one reads \
                and answers. A pooler that `AutoModel` may make is none of the run's."
            .to_string();
    about(card, &models, "transformers", &usage, &[note], &folder)?;
    folder.finish()?;
    let class = format!("{}Model", first.stem);
    let usage = usage.replace(PLACE, &to.display().to_string());
    Ok(Written { tasks: models.into_iter().map(|model| model.task).collect(), class, usage })
}

/// Every task of `trained`.
fn all(trained: &Trained) -> Result<Vec<PlainModel>> {
    (0..trained.tasks.len()).map(|at| PlainModel::of(trained, TaskId(at))).collect()
}

/// Stands for the folder in what is loaded from it.
const PLACE: &str = "THIS_FOLDER";

/// The class of transformers that `model` is written for in `format`; none for the layout of sentence-transformers.
fn layout(model: &PlainModel, format: Format) -> Result<Option<Fitted>> {
    let pooled = model.head.pooling.is_some_and(|pooling| pooling != Pooling::Cls);
    match (format, Fitted::of(model)) {
        (Format::Transformers, fitted) => fitted.map(Some),
        (Format::Auto, Ok(fitted)) => Ok(Some(fitted)),
        // Of tokens and of first tokens the refusal says what would fit.
        (Format::Auto, Err(refusal)) if !pooled => Err(refusal),
        (Format::Auto | Format::SentenceTransformers, _) => sentence::pooling(model).map(|_| None),
    }
}

fn of_task(model: &PlainModel, trained: &Trained, card: &Card, format: Format, folder: &Folder) -> Result<Written> {
    let layout = layout(model, format)?;
    tokenizer::write(&trained.tokenizer, model, folder)?;
    let pair = model.pairs == Some(true);
    let mut notes = Vec::new();
    let (class, library, usage) = match &layout {
        Some(fitted) => {
            transformers::write(model, fitted, folder)?;
            if fitted.unfolded {
                notes.push(UNFOLDED.into());
            }
            let loader = Fitted::loader(model.problem);
            let read = match (model.head.pooling, pair) {
                (None, _) => "[\"some\", \"words\"], is_split_into_words=True",
                (Some(_), true) => "\"one text\", \"another\"",
                (Some(_), false) => "\"a text\"",
            };
            let usage = format!(
                "from transformers import {loader}, AutoTokenizer\n\ntokenizer = AutoTokenizer.from_pretrained(\"{PLACE}\")\n\
                 model = {loader}.from_pretrained(\"{PLACE}\")\n\
                 logits = model(**tokenizer({read}, truncation=True, return_tensors=\"pt\")).logits\n"
            );
            (fitted.class.clone(), "transformers", usage)
        }
        None => {
            sentence::write(model, true, folder)?;
            let read = if pair { "[(\"one text\", \"another\")]" } else { "[\"a text\"]" };
            let usage = format!(
                "from sentence_transformers import SentenceTransformer\n\nmodel = SentenceTransformer(\"{PLACE}\")\n\
                 logits = model.encode({read})\n"
            );
            ("SentenceTransformer".to_string(), "sentence-transformers", usage)
        }
    };
    about(card, std::slice::from_ref(model), library, &usage, &notes, folder)?;
    Ok(Written { tasks: vec![model.task.clone()], class, usage })
}

/// What a reader of the weights has to know of a linear head.
const UNFOLDED: &str = "The head that was trained is linear; the class has a hidden layer, so that its maps hold the linear \
                        one and undo the activation. They are for answering, not for training on: keep them in single \
                        precision.";

/// Writes the card and the recipe.
fn about(
    card: &Card,
    models: &[PlainModel],
    library: &str,
    usage: &str,
    notes: &[String],
    folder: &Folder,
) -> Result<()> {
    let text = card.text(models, library, &usage.replace(PLACE, "."), notes);
    folder.write("README.md", text.as_bytes())?;
    folder.write("recipe.toml", card.recipe.as_bytes())
}
