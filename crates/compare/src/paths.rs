//! Paths in recipes and experiments: a relative one starts from the folder of the file it is written in.
//!
//! What is written into a run folder is a recipe in a file of its own, so its paths start there: a run can be
//! looked at from any folder, and moves together with the data it names.

use std::path::{Component, Path, PathBuf};

use mtl_train::{Recipe, Teachers};
pub use mtl_train::{divided, task_name};

/// Whether `name` is a path; anything else is the name of something that is shipped.
pub fn is_path(name: &str) -> bool {
    divided(name).0.ends_with(".toml") || name.contains(['/', '\\'])
}

/// `name`, starting from `folder` if it is a relative path.
pub fn anchored(name: &str, folder: &Path) -> String {
    if is_path(name) { folder.join(name).to_string_lossy().into_owned() } else { name.to_string() }
}

/// `recipe` with its paths starting from `folder`, where the recipe's file lies.
pub fn anchored_recipe(recipe: &Recipe, folder: &Path) -> Recipe {
    with_paths(recipe, |name| anchored(name, folder))
}

/// `recipe`, whose paths this process can follow, as it is written into `folder`.
pub fn written_recipe(recipe: &Recipe, folder: &Path) -> Recipe {
    let folder = resolved(folder);
    with_paths(recipe, |name| match is_path(name) {
        true => relative(&resolved(Path::new(name)), &folder),
        false => name.to_string(),
    })
}

/// `overrides` (`key=value`) with the paths of `tasks`, `checkpoint` and `distill.teachers` made absolute, starting from `folder`.
pub fn anchored_overrides(overrides: &[String], folder: &Path) -> Vec<String> {
    let absolute = |name: &str| {
        let path = anchored(name, folder);
        if is_path(name) {
            std::path::absolute(&path).unwrap_or(path.into()).to_string_lossy().into_owned()
        } else {
            path
        }
    };
    let one = |text: &String| {
        let Some((key, value)) = text.split_once('=') else { return text.clone() };
        let parsed = format!("value = {}", value.trim()).parse::<toml::Table>().ok();
        // A value that is no TOML is a plain word.
        let value = parsed.and_then(|mut table| table.remove("value")).unwrap_or_else(|| value.trim().into());
        let value = match (key.trim(), value) {
            (key, value) if key == TEACHERS || key.starts_with("distill.teachers.") => match value {
                toml::Value::String(name) => toml::Value::String(absolute_folder(&name, folder)),
                toml::Value::Table(table) => table
                    .into_iter()
                    .map(|(task, name)| match name {
                        toml::Value::String(name) => (task, toml::Value::String(absolute_folder(&name, folder))),
                        other => (task, other),
                    })
                    .collect::<toml::Table>()
                    .into(),
                _ => return text.clone(),
            },
            ("checkpoint", toml::Value::String(name)) => toml::Value::String(absolute(&name)),
            ("tasks", toml::Value::Array(names)) => {
                let name = |mut task: toml::Value| {
                    // A name, or a table that has one.
                    let place = match &mut task {
                        toml::Value::Table(table) => table.get_mut("name"),
                        name => Some(name),
                    };
                    if let Some(toml::Value::String(name)) = place {
                        *name = absolute(name);
                    }
                    task
                };
                toml::Value::Array(names.into_iter().map(name).collect())
            }
            _ => return text.clone(),
        };
        format!("{key}={value}")
    };
    overrides.iter().map(one).collect()
}

/// The key of the folders with teachers.
const TEACHERS: &str = "distill.teachers";

/// The folder of a teacher, starting from `folder`; an arm of an experiment as it is.
fn absolute_folder(name: &str, folder: &Path) -> String {
    if Teachers::arm_of(name).is_some() {
        return name.to_string();
    }
    let path = folder.join(name);
    std::path::absolute(&path).unwrap_or(path).to_string_lossy().into_owned()
}

fn with_paths(recipe: &Recipe, change: impl Fn(&str) -> String) -> Recipe {
    let mut recipe = recipe.clone();
    for task in &mut recipe.tasks {
        let (file, label) = divided(task);
        *task = label.map_or_else(|| change(file), |label| format!("{}:{label}", change(file)));
    }
    recipe.checkpoint = change(&recipe.checkpoint);
    if let Some(distill) = &mut recipe.distill {
        // A run folder is a path whatever it is called.
        let folder = |name: &str| if is_path(name) { change(name) } else { change(&format!("./{name}")) };
        distill.teachers = distill.teachers.with_folders(folder);
    }
    recipe
}

/// `path` without links and `..`, as far as it exists.
fn resolved(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or(path.to_path_buf());
    for there in path.ancestors() {
        if let (Ok(found), Ok(rest)) = (there.canonicalize(), path.strip_prefix(there)) {
            return found.join(rest);
        }
    }
    path
}

/// The way from the folder `from` to `to`, with `/` between its parts; `to` itself where there is none.
fn relative(to: &Path, from: &Path) -> String {
    let (to_parts, from_parts): (Vec<Component>, Vec<Component>) =
        (to.components().collect(), from.components().collect());
    let common = to_parts.iter().zip(&from_parts).take_while(|(a, b)| a == b).count();
    if common == 0 {
        return to.to_string_lossy().into_owned();
    }
    let up = from_parts.iter().skip(common).map(|_| "..".to_string());
    let down = to_parts.iter().skip(common).map(|part| part.as_os_str().to_string_lossy().into_owned());
    // A lone file name without `/` and `.toml` would be read as a name.
    let path = up.chain(down).collect::<Vec<_>>().join("/");
    if is_path(&path) { path } else { format!("./{path}") }
}

/// `word` as a shell takes it for one.
pub fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_alphanumeric() || "-_./=:,+@%\\".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_string()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_and_relative_paths_go_on_from_their_file() {
        let folder = Path::new("/data/mine");
        assert_eq!(anchored("planted-topic", folder), "planted-topic");
        assert_eq!(Path::new(&anchored("my-task.toml", folder)), Path::new("/data/mine/my-task.toml"));
        assert_eq!(anchored("/elsewhere/task.toml", folder), "/elsewhere/task.toml");
        assert_eq!(anchored("my-task.toml", Path::new("")), "my-task.toml");
        assert_eq!((task_name("a/my-task.toml"), task_name("nash")), ("my-task".to_string(), "nash".to_string()));
        assert_eq!(Path::new(&anchored("my.toml:team", folder)), Path::new("/data/mine/my.toml:team"));
        assert_eq!((task_name("a/my.toml:team"), task_name("my.team")), ("my.team".to_string(), "my.team".to_string()));
    }

    #[test]
    fn overrides_are_anchored_where_they_name_files() {
        let given =
            ["tasks=[\"a.toml\", \"planted-topic\"]", "checkpoint=b.toml", "checkpoint=embedded", "train.steps=3"];
        let found = anchored_overrides(&given.map(String::from), Path::new("/data"));
        assert_eq!(
            found,
            [
                "tasks=[\"/data/a.toml\", \"planted-topic\"]",
                "checkpoint=\"/data/b.toml\"",
                "checkpoint=\"embedded\"",
                "train.steps=3"
            ]
        );
        let given = [
            "distill.teachers=runs",
            "distill.teachers.a=\"b/c\"",
            "distill.teachers={ a = \"arm:single\", b = \"x\" }",
        ];
        let found = anchored_overrides(&given.map(String::from), Path::new("/data"));
        assert_eq!(found[..2], ["distill.teachers=\"/data/runs\"", "distill.teachers.a=\"/data/b/c\""]);
        assert!(found[2].contains("a = \"arm:single\"") && found[2].contains("b = \"/data/x\""), "{}", found[2]);
    }

    #[test]
    fn a_written_recipe_leads_back_to_the_same_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().canonicalize().expect("a path");
        std::fs::write(root.join("task.toml"), "").expect("written");
        let text = "tasks = [\"task.toml\", \"task.toml:team\"]\ncheckpoint = \"embedded\"\n";
        let (recipe, _) = Recipe::parse(&Default::default(), "x", text, &[]).expect("a recipe");
        let out = root.join("runs/first");
        let written = written_recipe(&anchored_recipe(&recipe, &root), &out);
        assert_eq!((written.tasks[0].as_str(), written.checkpoint.as_str()), ("../../task.toml", "embedded"));
        assert_eq!(written.tasks[1], "../../task.toml:team");
        let text = format!("{text}[distill]\nteachers = {{ task = \"teacher\" }}\n");
        let (taught, _) = Recipe::parse(&Default::default(), "x", &text, &[]).expect("a recipe");
        let taught = written_recipe(&anchored_recipe(&taught, &root), &out).distill.expect("a section");
        assert_eq!(taught.teachers.folders(), ["../../teacher"]);
        std::fs::create_dir_all(&out).expect("made");
        let again = anchored_recipe(&written, &out);
        assert_eq!(Path::new(&again.tasks[0]).canonicalize().expect("there"), root.join("task.toml"));
    }
}
