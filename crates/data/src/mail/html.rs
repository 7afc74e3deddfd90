//! The text of an HTML page, for mail: tags out, entities decoded. No browser, and no need of one.

/// Whether text that is not declared as HTML begins like a page.
pub(super) fn looks_like(text: &str) -> bool {
    let start = text.trim_start().as_bytes();
    ["<html", "<!doctype html"]
        .iter()
        .any(|mark| start.get(..mark.len()).is_some_and(|found| found.eq_ignore_ascii_case(mark.as_bytes())))
}

/// What is left of `page` without tags, comments, scripts and styles.
pub(super) fn text(page: &str) -> String {
    let mut text = String::with_capacity(page.len() / 2);
    let mut rest = page;
    while let Some(start) = rest.find('<') {
        entities(&rest[..start], &mut text);
        let tag = &rest[start..];
        rest = if let Some(comment) = tag.strip_prefix("<!--") {
            comment.split_once("-->").map_or("", |(_, after)| after)
        } else if let Some(silent) = ["script", "style", "title"].iter().find(|name| opens(tag, name)) {
            after_closing(tag, silent)
        } else if tag[1..].starts_with(|next: char| next.is_ascii_alphabetic() || "/!?".contains(next)) {
            // Bold letters do not end a word, other elements do.
            let inline = ["b>", "i>", "u>", "a ", "a>", "font", "span", "em>", "strong"];
            let name = tag[1..].trim_start_matches('/');
            if !inline.iter().any(|known| starts_with(name, known)) {
                text.push(' ');
            }
            tag.split_once('>').map_or("", |(_, after)| after)
        } else {
            text.push('<');
            &tag[1..]
        };
    }
    entities(rest, &mut text);
    text
}

fn starts_with(text: &str, mark: &str) -> bool {
    text.as_bytes().get(..mark.len()).is_some_and(|start| start.eq_ignore_ascii_case(mark.as_bytes()))
}

fn opens(tag: &str, name: &str) -> bool {
    let after = tag.as_bytes().get(1 + name.len());
    starts_with(&tag[1..], name) && after.is_none_or(|next| !next.is_ascii_alphanumeric())
}

/// What follows the closing tag of the element `name` that `page` begins with.
fn after_closing<'a>(page: &'a str, name: &str) -> &'a str {
    let mut rest = page;
    while let Some((_, after)) = rest.split_once("</") {
        if starts_with(after, name) {
            return after.split_once('>').map_or("", |(_, after)| after);
        }
        rest = after;
    }
    ""
}

/// Appends `piece` with its character references decoded.
fn entities(piece: &str, text: &mut String) {
    let mut rest = piece;
    while let Some((before, after)) = rest.split_once('&') {
        text.push_str(before);
        let found = after.split_once(';').and_then(|(name, after)| Some((named(name)?, after)));
        match found {
            Some((letter, after)) => {
                text.push(letter);
                rest = after;
            }
            None => {
                text.push('&');
                rest = after;
            }
        }
    }
    text.push_str(rest);
}

fn named(name: &str) -> Option<char> {
    if let Some(number) = name.strip_prefix('#') {
        let hex = number.strip_prefix(['x', 'X']).map(|digits| u32::from_str_radix(digits, 16));
        return char::from_u32(hex.unwrap_or_else(|| number.parse()).ok()?).filter(|letter| !letter.is_control());
    }
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => ' ',
        "copy" => '©',
        "reg" => '®',
        "pound" => '£',
        "euro" => '€',
        "mdash" => '—',
        "ndash" => '–',
        "hellip" => '…',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(page: &str) -> String {
        text(page).split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn tags_go_and_words_stay_whole() {
        assert_eq!(
            shown("<HTML><style>x{}</STYLE><p>F<b>RE</b>E&nbsp;now<br>1 < 2 &amp; 3&#33;</p>"),
            "FREE now 1 < 2 & 3!"
        );
        assert_eq!(shown("<!-- hidden > --><script>a<b</script>seen<!-- open"), "seen");
        assert_eq!(shown("<title>no</title>&unknown; &#xe9; &"), "&unknown; é &");
        assert_eq!(shown("<"), "<");
        assert_eq!(shown("<script"), "");
        assert!(looks_like(" <!DOCTYPE html><p>") && !looks_like("é<html>"));
    }
}
