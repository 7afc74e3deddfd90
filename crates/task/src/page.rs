//! The page of a member: what `mtl explain` prints, taken from the member's own source file.
//!
//! A rule, strategy or sampler is documented where it is written: in the header of its file and at the fields of its
//! settings. A registry's entry holds that text (`source: include_str!("nash.rs")`), so that nothing is written twice.

use std::fmt::Write;

use serde_json::Value;

/// The page of a member: the header of `source` (its `//!` lines, rustdoc links reduced to their words), then every
/// setting with its default out of `defaults`, an object, and the doc comment of its field.
///
/// The settings are the fields of the struct in `source` that names most of the keys of `defaults`. A field that has no
/// default, or null, is listed as not set; a key that no field names is listed with its default alone.
///
/// ```
/// let source = "\
/// //! Halves, as in [`half`](crate::half).
///
/// struct Settings {
///     /// How often.
///     times: usize,
/// }
/// ";
/// let page = mtl_task::page(source, &serde_json::json!({"times": 2}));
/// assert_eq!(page, "Halves, as in `half`.\n\nSettings\n\ntimes = 2\n    How often.\n");
/// ```
pub fn page(source: &str, defaults: &Value) -> String {
    let mut page = header(source);
    if !page.is_empty() {
        page.push('\n');
    }
    let settings = settings(source, defaults);
    if settings.is_empty() {
        page.push_str("It has no settings.\n");
        return page;
    }
    page.push_str("Settings\n");
    for (key, default, about) in settings {
        // Writing to a string cannot fail.
        let _ = match default {
            Some(value) => write!(page, "\n{key} = {value}\n"),
            None => write!(page, "\n{key}, not set\n"),
        };
        about.iter().for_each(|line| {
            let _ = writeln!(page, "    {line}");
        });
    }
    page
}

/// The `//!` lines on top of `source`, without their prefix and with the words of rustdoc's links alone.
pub(crate) fn header(source: &str) -> String {
    let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
    let text: Vec<&str> = lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    let mut text = words_of_links(text.join("\n").trim());
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

/// Each setting: its key, its default if it has one, and the lines of its doc comment.
fn settings(source: &str, defaults: &Value) -> Vec<(String, Option<Value>, Vec<String>)> {
    let empty = serde_json::Map::new();
    let defaults = defaults.as_object().unwrap_or(&empty);
    let named = |fields: &Vec<Field>| fields.iter().filter(|field| defaults.contains_key(&field.key)).count();
    // Of structs that name as many keys the first one counts.
    let fields = structs(source).into_iter().rev().max_by_key(named).filter(|fields| named(fields) > 0);
    let mut listed = Vec::new();
    for field in fields.unwrap_or_default() {
        let default = defaults.get(&field.key).filter(|value| !value.is_null());
        listed.push((field.key.clone(), default.cloned(), field.about));
    }
    for (key, value) in defaults {
        if !listed.iter().any(|(known, ..)| known == key) {
            listed.push((key.clone(), Some(value.clone()), Vec::new()));
        }
    }
    listed
}

struct Field {
    key: String,
    about: Vec<String>,
}

/// The fields of every struct with named fields, as rustfmt lays them out.
fn structs(source: &str) -> Vec<Vec<Field>> {
    let mut found = Vec::new();
    let mut lines = source.lines();
    let mut kebab = false;
    while let Some(line) = lines.next() {
        let words = line.trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ").trim_start_matches("pub ");
        if line.starts_with("#[serde(") {
            kebab = line.contains("rename_all = \"kebab-case\"");
        }
        if !(words.starts_with("struct ") && words.ends_with('{')) {
            continue;
        }
        found.push(fields(&mut lines, kebab));
        kebab = false;
    }
    found
}

fn fields<'a>(lines: &mut impl Iterator<Item = &'a str>, kebab: bool) -> Vec<Field> {
    let (mut fields, mut about, mut renamed, mut skipped) = (Vec::new(), Vec::new(), None, false);
    for line in lines.take_while(|line| *line != "}").map(str::trim) {
        if let Some(text) = line.strip_prefix("///") {
            about.push(words_of_links(text.trim()));
        } else if line.starts_with("#[") {
            let name = line.split("rename = \"").nth(1).and_then(|rest| rest.split('"').next());
            renamed = name.map(str::to_owned).or(renamed);
            skipped |= line.contains("serde(skip)") || line.contains("serde(flatten)");
        } else if let Some((name, _)) = line.split_once(": ") {
            let name = name.rsplit(' ').next().unwrap_or(name).trim_start_matches("r#");
            let key = renamed.take().unwrap_or_else(|| if kebab { name.replace('_', "-") } else { name.to_owned() });
            let about = std::mem::take(&mut about);
            if !std::mem::take(&mut skipped) {
                fields.push(Field { key, about });
            }
        }
    }
    fields
}

/// `text` with `[words](target)` reduced to `words`, and `[`code`]` to `` `code` ``. An address of the web stays.
fn words_of_links(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('[') {
        let (before, behind) = rest.split_at(start);
        plain.push_str(before);
        let inner = &behind[1..];
        let Some(end) = inner.find(']') else {
            rest = behind;
            break;
        };
        let (words, after) = (&inner[..end], &inner[end + 1..]);
        let target = after.strip_prefix('(').and_then(|target| target.find(')').map(|end| &target[..end]));
        match target {
            Some(target) if target.starts_with("http") => {
                let _ = write!(plain, "{words} ({target})");
                rest = &after[target.len() + 2..];
            }
            // An interval such as [0, 1] is followed by no target, and `f[i](x)` is no link: its words are no name.
            Some(target) if is_path(target) => {
                plain.push_str(words);
                rest = &after[target.len() + 2..];
            }
            _ if words.len() > 2 && words.starts_with('`') && words.ends_with('`') => {
                plain.push_str(words);
                rest = after;
            }
            _ => {
                plain.push('[');
                rest = inner;
            }
        }
    }
    plain.push_str(rest);
    plain
}

fn is_path(target: &str) -> bool {
    let path = |letter: char| letter.is_alphanumeric() || "_:#./!-".contains(letter);
    !target.is_empty() && target.chars().all(path) && (target.contains("::") || target.len() > 2)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SOURCE: &str = r#"//! Steps: x ← x − η g, with η in [0, 1].
//!
//! See [the paper](https://example.org/a), [`mtl_nash`] and [`Rule`](crate::Rule).

use serde::Deserialize;

struct Other {
    /// Not a setting.
    window: usize,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StepSettings {
    /// The rate η,
    /// above 0.
    pub rate: f64,
    /// The window, as in [`Other`].
    #[serde(rename = "window-size")]
    pub(crate) window: usize,
    /// A bound.
    pub max: Option<f64>,
}
"#;

    #[test]
    fn a_page_is_header_then_settings_in_the_order_of_the_source() {
        let page = page(SOURCE, &json!({"window-size": 3, "rate": 0.5, "mode": "fast"}));
        let expected = "Steps: x ← x − η g, with η in [0, 1].\n\n\
            See the paper (https://example.org/a), `mtl_nash` and `Rule`.\n\n\
            Settings\n\nrate = 0.5\n    The rate η,\n    above 0.\n\nwindow-size = 3\n    The window, as in `Other`.\n\
            \nmax, not set\n    A bound.\n\nmode = \"fast\"\n";
        assert_eq!(page, expected);
    }

    #[test]
    fn a_member_without_settings_says_so() {
        assert_eq!(
            page("//! Sums.\n\nstruct Sum {\n    tasks: usize,\n}\n", &json!({})),
            "Sums.\n\nIt has no settings.\n"
        );
        assert_eq!(page("fn main() {}\n", &Value::Null), "It has no settings.\n");
    }

    #[test]
    fn brackets_that_are_no_links_stay() {
        for text in ["x[i](t) and [0, 1]", "an open [ bracket", "[2, 3](a)"] {
            assert_eq!(words_of_links(text), text);
        }
    }
}
