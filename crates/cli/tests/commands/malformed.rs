//! Model folders and data files that are not what they should be: an exit code, and a message with file, place and fix.

use std::path::Path;

use crate::own::{folder, words};
use crate::tool::refused;

const TRAIN: [&str; 4] = ["train", "my-recipe.toml", "--out", "run"];

/// Training is refused after `change` to the folder, with all of `named` in the message.
fn case(change: impl FnOnce(&Path), named: &[&str]) {
    let folder = folder();
    change(folder.path());
    refused(folder.path(), &TRAIN, named);
    assert!(!folder.path().join("run/report.json").exists());
}

fn write(name: &'static str, bytes: impl Into<Vec<u8>>) -> impl FnOnce(&Path) {
    let bytes = bytes.into();
    move |folder| std::fs::write(folder.join(name), bytes).expect("written")
}

fn edit(name: &'static str, change: impl FnOnce(String) -> String) -> impl FnOnce(&Path) {
    move |folder| {
        let text = std::fs::read_to_string(folder.join(name)).expect("read");
        let changed = change(text.clone());
        assert_ne!(changed, text, "the case changes something");
        std::fs::write(folder.join(name), changed).expect("written");
    }
}

#[test]
fn missing_files_are_named() {
    for name in ["encoder/config.json", "encoder/vocab.txt", "encoder/model.safetensors", "tickets.csv"] {
        let file = name.rsplit('/').next().unwrap_or(name);
        case(|folder| std::fs::remove_file(folder.join(name)).expect("removed"), &[file, "my-"]);
    }
    case(
        |folder| std::fs::remove_dir_all(folder.join("encoder")).expect("removed"),
        &["my-model", "no folder encoder"],
    );
    case(
        |folder| std::fs::remove_file(folder.join("my-task.toml")).expect("removed"),
        &["my-task.toml", "no such file"],
    );
    case(
        |folder| std::fs::remove_file(folder.join("my-model.toml")).expect("removed"),
        &["my-model.toml", "no such file"],
    );
}

#[test]
fn pages_and_pointers_in_place_of_files_are_recognised() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 90868376\n";
    for name in ["encoder/model.safetensors", "encoder/config.json", "tickets.csv"] {
        let file = name.rsplit('/').next().unwrap_or(name);
        case(write(name, "<!DOCTYPE html>\n<html><body>404</body></html>"), &[file, "HTML"]);
        case(write(name, pointer), &[file, "git-LFS pointer"]);
    }
    case(write("tickets.csv", ""), &["tickets.csv", "empty"]);
}

#[test]
fn weights_that_are_cut_off_or_of_another_model_are_refused() {
    let name = "encoder/model.safetensors";
    let cut = |keep: fn(usize) -> usize| {
        move |folder: &Path| {
            let bytes = std::fs::read(folder.join(name)).expect("read");
            std::fs::write(folder.join(name), &bytes[..keep(bytes.len())]).expect("written");
        }
    };
    case(cut(|length| length - 1000), &["model.safetensors", "tensor `", "cut off", "fetch the model again"]);
    case(cut(|_| 100), &["model.safetensors", "byte 0", "cut off", "`mtl fetch --model NAME`"]);
    case(cut(|_| 5), &["model.safetensors", "5 bytes"]);
    case(cut(|_| 0), &["model.safetensors"]);

    let config = "encoder/config.json";
    let set = |from: &'static str, to: &'static str| edit(config, move |text| text.replace(from, to));
    let shape = ["word_embeddings", "44", "45"];
    case(set("\"vocab_size\": 44", "\"vocab_size\": 45"), &shape);
    case(set("\"intermediate_size\": 48", "\"intermediate_size\": 47"), &["intermediate.dense", "48", "47"]);
    case(set("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3"), &["encoder.layer.2"]);
    case(set("\"num_attention_heads\": 4", "\"num_attention_heads\": 5"), &["config.json", "5 attention heads", "32"]);
    case(set("\"hidden_size\": 32", "\"hidden_size\": \"large\""), &["config.json", "hidden_size"]);
    case(set("{", "{{"), &["config.json", "line 1", "not JSON"]);
    case(set("\"model_type\": \"bert\"", "\"model_type\": \"roberta\""), &["config.json", "`roberta`", "`bert`"]);
}

#[test]
fn a_tokenizer_with_more_ids_than_the_word_table_has_rows_is_refused() {
    let many: Vec<String> = words().into_iter().chain((0..20).map(|index| format!("word{index}"))).collect();
    case(write("encoder/vocab.txt", many.join("\n")), &["my-model", "ids up to 49", "44 rows", "of different models"]);
    case(write("encoder/vocab.txt", "a\nb\na\n"), &["vocab.txt", "line 3", "twice"]);
}

#[test]
fn labels_columns_and_targets_are_checked_with_their_line() {
    let labels = |folder: &Path| {
        edit("my-task.toml", |text| text.replace("[columns]", "labels = [\"desk\", \"billing\"]\n[columns]"))(folder);
    };
    case(labels, &["my-task", "tickets.csv:3", "column `team`", "`lines`", "desk, billing"]);
    case(
        edit("my-task.toml", |text| text.replace("\"body\"", "\"bdy\"")),
        &["tickets.csv:2", "no column `bdy`", "did you mean `body`?", "id, body, team"],
    );
    let numbers = |folder: &Path| {
        edit("my-task.toml", |text| text.replace("\"classification\"", "\"regression\""))(folder);
        edit("tickets.csv", |text| {
            text.replace(",desk", ",0.5").replace(",lines", ",0.25").replacen(",0.5", ",nan", 1)
        })(folder);
    };
    case(numbers, &["tickets.csv:2", "column `team`", "a finite number was expected, found `nan`"]);
    let tags = |folder: &Path| {
        edit("my-task.toml", |text| {
            let text = text.replace("\"classification\"", "\"tagging\"").replace("tickets.csv", "tickets.jsonl");
            text.replace("text = \"body\"", "tokens = \"body\"")
        })(folder);
        write("tickets.jsonl", "{\"body\": [\"a\", \"b\"], \"team\": [\"O\"]}\n")(folder);
    };
    case(tags, &["tickets.jsonl:1", "column `team`", "1 tags for 2 words"]);
    case(edit("my-task.toml", |text| text.replace("licence", "license")), &["my-task.toml", "line 3", "license"]);
    case(
        edit("my-recipe.toml", |text| text.replace("steps", "stesp")),
        &["my-recipe.toml:6:1", "did you mean `steps`?"],
    );
    case(
        edit("my-recipe.toml", |text| text.replace("[\"my-task.toml\"]", "[\"my-task.toml\", \"./my-task.toml\"]")),
        &["two tasks are called `my-task`"],
    );
    case(edit("my-recipe.toml", |text| text.replace("= 16", "= 21")), &["max_tokens is 21", "at most 20 tokens"]);
}
