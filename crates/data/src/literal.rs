//! Lists that were written into one cell as Python, NumPy or JSON prints them: `['O', 'B-LOC']`, `[0 1 1]`, `["a"]`.

/// Whether `text` is written like a list, right or wrong.
pub(crate) fn looks_like_list(text: &str) -> bool {
    let text = text.trim();
    [('[', ']'), ('(', ')'), ('{', '}')].iter().any(|(open, close)| text.starts_with(*open) && text.ends_with(*close))
}

/// What stands between the brackets of a list.
fn within(text: &str) -> Option<&str> {
    let mut letters = text.chars();
    letters.next().and(letters.next_back()).map(|_| letters.as_str())
}

/// The items of a list: quoted texts, numbers, true and false, with commas or white space between them. None if `text`
/// is no such list.
pub(crate) fn list(text: &str) -> Option<Vec<String>> {
    if !looks_like_list(text) {
        return None;
    }
    let text = text.trim();
    let mut rest = within(text)?.trim();
    let mut items = Vec::new();
    while let Some(first) = rest.chars().next() {
        let (item, after) = match rest.strip_prefix(['\'', '"']) {
            Some(text) => quoted(text, first)?,
            None => bare(rest)?,
        };
        items.push(item);
        let next = after.trim_start();
        rest = match next.strip_prefix(',') {
            Some(next) => next.trim_start(),
            None if next.is_empty() || next.len() < after.len() => next,
            None => return None,
        };
    }
    Some(items)
}

/// A text up to its closing quote, and what follows.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut item = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => {
                let escape = letters.next()?;
                item.push(match escape {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    'x' | 'u' => {
                        let digits: String = letters.by_ref().take(if escape == 'x' { 2 } else { 4 }).collect();
                        char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?
                    }
                    '\\' | '\'' | '"' | '/' => escape,
                    _ => return None,
                });
            }
            letter if letter == quote => return Some((item, letters.as_str())),
            letter => item.push(letter),
        }
    }
    None
}

/// A number or a truth value, and what follows; whole numbers without their fraction.
fn bare(text: &str) -> Option<(String, &str)> {
    let end = text.find(|letter: char| letter == ',' || letter.is_whitespace()).unwrap_or(text.len());
    let (item, rest) = text.split_at(end);
    let item = match item {
        "True" | "true" => "true".into(),
        "False" | "false" => "false".into(),
        number => match number.parse::<f64>().ok().filter(|value| value.is_finite())? {
            value if value.fract() == 0. && value.abs() < 9_007_199_254_740_992. => format!("{}", value as i64),
            value => value.to_string(),
        },
    };
    Some((item, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `repr(list)`, `numpy.array(list).__str__()` and `json.dumps(list)` of Python.
    #[test]
    fn lists_are_read_as_they_are_printed() {
        for (text, items) in [
            ("['O', 'B-LOC', \"it's\", 'a\\\\b', 'don\\'t']", &["O", "B-LOC", "it's", "a\\b", "don't"][..]),
            ("['the' 'parcel']", &["the", "parcel"]),
            ("[\"한국\", \"\\u00e9\"]", &["한국", "é"]),
            ("[0, 1, 1]", &["0", "1", "1"]),
            ("[0. 1. -100.]", &["0", "1", "-100"]),
            ("(True, False,)", &["true", "false"]),
            ("[]", &[]),
            ("{'joy'}", &["joy"]),
        ] {
            assert_eq!(
                list(text).as_deref(),
                Some(&items.iter().map(ToString::to_string).collect::<Vec<_>>()[..]),
                "{text}"
            );
        }
        for text in ["['a'", "['a]", "[a, b]", "[[0], [1]]", "['a''b']", "a", "['\\q']", "[nan]"] {
            assert_eq!(list(text), None, "{text}");
        }
    }
}
