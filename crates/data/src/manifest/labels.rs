//! `[[columns.labels]]`: several label columns of one table, each a task of its own over one split.
//!
//! ```toml
//! [columns]
//! text = "body"
//!
//! [[columns.labels]]
//! name = "team"                       # the task `tickets.team`
//! kind = "classification"
//!
//! [[columns.labels]]
//! name = "tags"
//! column = "keywords"                 # left out, the name
//! kind = "multilabel"
//! label_separator = ";"
//! ```

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use mtl_task::{Kind, Registry, TaskSpec};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::{Columns, DatasetManifest};

/// Each is a task of its own.
const MOST_LABELS: usize = 1000;

/// One label column: a name, the keys of a `[task]` table and the `label` keys of a `[columns]` table.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Table", into = "Table")]
pub struct LabelColumn {
    /// What follows the dataset's name in the task's: `team` in `tickets.team`.
    pub name: String,
    /// What the task is.
    pub task: TaskSpec,
    /// Where its truth is, and how it is written.
    columns: Columns,
}

impl LabelColumn {
    /// The column that holds its truth.
    pub fn column(&self) -> &str {
        self.columns.label.as_deref().unwrap_or(&self.name)
    }

    /// What its task is, by one of `kinds`.
    ///
    /// # Errors
    /// If there is no such kind; names the nearest.
    pub fn kind<'a>(&self, kinds: &'a Registry<Kind>) -> Result<&'a Kind> {
        kinds.find(&self.task.kind).with_context(|| format!("[[columns.labels]] `{}`", self.name))
    }
}

impl TryFrom<Table> for LabelColumn {
    type Error = String;

    fn try_from(table: Table) -> Result<Self, String> {
        Self::parse(table).map_err(|error| format!("{error:#}"))
    }
}

impl LabelColumn {
    fn parse(mut table: Table) -> Result<Self> {
        let name = match table.remove("name") {
            Some(Value::String(name)) => name,
            Some(other) => bail!("[[columns.labels]] name must be a text, found {other}"),
            None => bail!("[[columns.labels]] needs a name, such as name = \"team\""),
        };
        // A dot or a colon would be read as what parts the dataset's name from the label's.
        if name.is_empty() || name.contains(['.', ':', '/', '\\']) || name.chars().any(char::is_whitespace) {
            bail!("[[columns.labels]] name `{name}`: a word without spaces, dots, colons and slashes was expected");
        }
        let (mut of_task, mut of_columns) = (Table::new(), Table::new());
        for (key, value) in table {
            match key.as_str() {
                "column" => of_columns.insert("label".into(), value),
                "label" => bail!("[[columns.labels]] `{name}`: the column is named by `column`, not by `label`"),
                _ if key.starts_with("label_") || matches!(key.as_str(), "ignore" | "indicators") => {
                    of_columns.insert(key, value)
                }
                _ => of_task.insert(key, value),
            };
        }
        let context = || format!("[[columns.labels]] `{name}`");
        let task: TaskSpec = Value::Table(of_task).try_into().with_context(context)?;
        let columns: Columns = Value::Table(of_columns).try_into().with_context(context)?;
        if task.kind.is_empty() {
            bail!("[[columns.labels]] `{name}` needs a kind, such as kind = \"classification\"");
        }
        Ok(Self { name, task, columns })
    }
}

impl From<LabelColumn> for Table {
    fn from(label: LabelColumn) -> Self {
        let table = |value: Result<Value, toml::ser::Error>| match value {
            Ok(Value::Table(table)) => table,
            _ => Self::new(),
        };
        let mut whole = table(Value::try_from(&label.task));
        whole.extend(table(Value::try_from(&label.columns)));
        if let Some(column) = whole.remove("label") {
            whole.insert("column".into(), column);
        }
        whole.insert("name".into(), label.name.into());
        whole
    }
}

/// The name of a task out of the dataset `dataset`: `tickets.team`.
pub fn labelled(dataset: &str, label: &str) -> String {
    format!("{dataset}.{label}")
}

impl DatasetManifest {
    /// The names of its label columns; none if it is of one task.
    pub fn labels(&self) -> Vec<&str> {
        self.columns.labels.iter().map(|label| label.name.as_str()).collect()
    }

    /// Whether it is of several tasks, of which none has been chosen by [`DatasetManifest::of_label`].
    pub fn is_of_several(&self) -> bool {
        !self.columns.labels.is_empty() && self.task.kind.is_empty()
    }

    /// The manifest of one of its tasks: what is split is the whole table still.
    ///
    /// # Errors
    /// If there is no such label column; names the nearest.
    pub fn of_label(&self, name: &str) -> Result<Self> {
        let Some(label) = self.columns.labels.iter().find(|label| label.name == name) else {
            let known = self.labels();
            if known.is_empty() {
                bail!("it has one task, no [[columns.labels]], so `{name}` cannot be chosen from it");
            }
            bail!(
                "no label column `{name}`{}; there are {}",
                mtl_task::nearest(name, known.iter().copied()),
                known.join(", ")
            );
        };
        let mut one = self.clone();
        one.task = label.task.clone();
        let Columns { text, text_form, text_a, text_b, tokens, labels, .. } = one.columns;
        one.columns = Columns { text, text_form, text_a, text_b, tokens, labels, ..label.columns.clone() };
        // A set of indicators has no column of its own.
        one.columns.label = one.columns.indicators.is_empty().then(|| label.column().to_string());
        Ok(one)
    }

    /// What its task is, by one of `kinds`.
    ///
    /// # Errors
    /// If there is no such kind; names the nearest. If it is of several tasks, of which none has been chosen.
    pub fn kind<'a>(&self, kinds: &'a Registry<Kind>) -> Result<&'a Kind> {
        if self.is_of_several() {
            bail!(
                "it has several label columns, each a task of its own: {}; name one of them",
                self.labels().join(", ")
            );
        }
        kinds.find(&self.task.kind).context("[task] kind")
    }

    /// Refuses a manifest without a task, with a task beside several, or with two of one name.
    ///
    /// # Errors
    /// Says which.
    pub fn check(&self) -> Result<()> {
        let labels = &self.columns.labels;
        if labels.is_empty() {
            if self.task.kind.is_empty() {
                bail!("there is no task: a [task] table with its kind was expected, or several [[columns.labels]]");
            }
            return Ok(());
        }
        if self.generator.is_some() {
            bail!("[[columns.labels]] are columns of files; generated text has one label");
        }
        if !self.task.kind.is_empty() {
            bail!("[task] beside [[columns.labels]]: each label column says its own kind; leave [task] out");
        }
        if self.columns.label.is_some()
            || self.columns.label_separator.is_some()
            || !self.columns.label_names.is_empty()
        {
            bail!(
                "[columns] label keys beside [[columns.labels]]: write them into the label column they are meant for \
                 (`column`, `label_separator`, `label_names`)"
            );
        }
        if labels.len() > MOST_LABELS {
            bail!("{} [[columns.labels]]; at most {MOST_LABELS} tasks are made of one table", labels.len());
        }
        let mut names: BTreeSet<&str> = BTreeSet::new();
        for label in labels {
            if !names.insert(&label.name) {
                bail!("two [[columns.labels]] are called `{}`; every task needs a name of its own", label.name);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICKETS: &str = "about = \"\"\nlicence = \"\"\n[columns]\ntext = \"body\"\n\
        [[columns.labels]]\nname = \"team\"\nkind = \"classification\"\nlabels = [\"it\", \"law\"]\n\
        [[columns.labels]]\nname = \"tags\"\ncolumn = \"words\"\nkind = \"multilabel\"\nlabel_separator = \";\"\n";

    #[test]
    fn each_label_column_is_a_task_and_the_table_stays_one() -> Result<()> {
        let manifest: DatasetManifest = toml::from_str(TICKETS)?;
        manifest.check()?;
        assert!(manifest.is_of_several() && manifest.labels() == ["team", "tags"]);
        let (team, tags) = (manifest.of_label("team")?, manifest.of_label("tags")?);
        assert_eq!((team.task.kind.as_str(), team.columns.label.as_deref()), ("classification", Some("team")));
        assert_eq!(team.task.labels, ["it", "law"]);
        assert_eq!((tags.columns.label.as_deref(), tags.columns.text.as_deref()), (Some("words"), Some("body")));
        assert_eq!(tags.columns.label_separator.as_deref(), Some(";"));
        assert_eq!(tags.kind(&Registry::default())?.name, "multilabel");
        let error = manifest.kind(&Registry::default()).err().expect("none chosen").to_string();
        assert!(error.contains("team, tags"), "{error}");
        let error = manifest.of_label("teem").expect_err("no such label").to_string();
        assert!(error.contains("did you mean `team`?") && error.contains("team, tags"), "{error}");
        let again: DatasetManifest = toml::from_str(&toml::to_string(&manifest)?)?;
        assert_eq!(toml::to_string(&again)?, toml::to_string(&manifest)?);
        Ok(())
    }

    #[test]
    fn what_is_no_list_of_tasks_is_refused() {
        let refused = |text: &str| match toml::from_str::<DatasetManifest>(text) {
            Ok(manifest) => format!("{:#}", manifest.check().expect_err(text)),
            Err(error) => error.to_string(),
        };
        for (from, to, named) in [
            ("name = \"tags\"", "name = \"team\"", "two [[columns.labels]] are called `team`"),
            ("name = \"tags\"", "name = \"a.b\"", "without spaces, dots"),
            ("name = \"tags\"\n", "", "needs a name"),
            ("column = \"words\"", "label = \"words\"", "named by `column`"),
            ("kind = \"multilabel\"\n", "", "missing field `kind`"),
            ("kind = \"multilabel\"", "kind = \"\"", "needs a kind"),
            ("kind = \"multilabel\"", "kind = \"multilabel\"\nrnage = 3", "rnage"),
            ("[columns]", "[task]\nkind = \"tagging\"\n[columns]", "leave [task] out"),
            ("text = \"body\"", "label = \"body\"", "label keys beside"),
        ] {
            let error = refused(&TICKETS.replace(from, to));
            assert!(error.contains(named), "`{named}` is missing in: {error}");
        }
        assert!(refused("about = \"\"\nlicence = \"\"\n").contains("there is no task"));
    }
}
