//! What every command is given: the registries, and who it is.

use std::path::Path;
use std::sync::Arc;

use mtl_compare::paths::quoted;

use crate::Registries;

/// What a command works with.
pub struct Context {
    /// The members that recipes may name.
    pub registries: Arc<Registries>,
    /// The program that runs.
    pub program: Program,
}

/// The program that runs, as its user knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// What is typed to start it, such as `mtl` or `cargo xtask`.
    pub name: String,
    /// The cargo package that builds it, if it may build itself again with the feature of a device.
    pub package: Option<String>,
}

impl Program {
    /// The program as it was started.
    pub(crate) fn from_arguments() -> Self {
        let typed = std::env::args_os().next();
        let name = typed.as_deref().and_then(|typed| Path::new(typed).file_stem()?.to_str()).unwrap_or("mtl");
        Self { name: name.to_string(), package: None }
    }

    /// `command` and its subcommands with this program's name wherever their help says `{program}`.
    pub(crate) fn named(&self, command: clap::Command) -> clap::Command {
        let name: &'static str = self.name.clone().leak();
        self.spoken(command).name(name).bin_name(name)
    }

    fn spoken(&self, mut command: clap::Command) -> clap::Command {
        let said = |text: &clap::builder::StyledStr| text.to_string().replace("{program}", &self.name);
        if let Some(text) = command.get_about().map(said) {
            command = command.about(text);
        }
        if let Some(text) = command.get_long_about().map(said) {
            command = command.long_about(text);
        }
        if let Some(text) = command.get_after_help().map(said) {
            command = command.after_help(text);
        }
        command = command.mut_args(|mut argument| {
            if let Some(text) = argument.get_help().map(said) {
                argument = argument.help(text);
            }
            if let Some(text) = argument.get_long_help().map(said) {
                argument = argument.long_help(text);
            }
            argument
        });
        command.mut_subcommands(|command| self.spoken(command))
    }

    /// The command that goes on with what the typed one began: with `named` right behind its name, and `more` behind its
    /// arguments; what of `more` it has already is left out, and so is `--fresh`.
    pub(crate) fn again(&self, named: Option<&str>, more: &[(&str, Option<&str>)]) -> String {
        let typed = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
        let mut typed: Vec<String> = typed.collect();
        if let Some(named) = named {
            typed.insert(1.min(typed.len()), named.to_string());
        }
        self.continued(typed, more)
    }

    fn continued(&self, typed: Vec<String>, more: &[(&str, Option<&str>)]) -> String {
        let mut words: Vec<String> = typed.into_iter().filter(|word| word != "--fresh").collect();
        for (option, value) in more {
            let there = |word: &String| word == option || word.starts_with(&format!("{option}="));
            if !words.iter().any(there) {
                words.push((*option).to_string());
                words.extend(value.map(String::from));
            }
        }
        let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        format!("{} {}", self.name, words.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_that_continues_keeps_its_options() {
        let program = Program { name: "mtl".into(), package: None };
        let words = |text: &[&str]| text.iter().map(|word| (*word).to_string()).collect::<Vec<_>>();
        let more = [("--out", Some("runs/x y")), ("--resume", None)];
        let typed = words(&["train", "embedded", "--set", "weighting.rule=\"nash\"", "--set", "train.steps=3"]);
        assert_eq!(
            program.continued(typed, &more),
            "mtl train embedded --set 'weighting.rule=\"nash\"' --set train.steps=3 --out 'runs/x y' --resume"
        );
        let typed = words(&["train", "--fresh", "--out=a", "--resume"]);
        assert_eq!(program.continued(typed, &more), "mtl train --out=a --resume");
    }
}
