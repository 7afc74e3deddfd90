//! Text of others on somebody's terminal: what a file or a server says is shown, and steers nothing.

use std::borrow::Cow;

/// `text` with its control characters spelt out, as `\u{1b}`: a terminal would obey them. Line breaks and tabs stay;
/// what turns the direction of writing around, and so shows other words than there are, goes with the rest.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    text.chars().fold(Cow::Borrowed(""), |mut shown, letter| {
        match steers(letter) {
            true => shown.to_mut().extend(letter.escape_unicode()),
            false => shown.to_mut().push(letter),
        }
        shown
    })
}

fn steers(letter: char) -> bool {
    let turns = matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || letter.is_control() && !matches!(letter, '\n' | '\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_obeys_no_text_of_others() {
        assert_eq!(printable("label `\u{1b}[2J\u{7}`\r\n\tx"), "label `\\u{1b}[2J\\u{7}`\\u{d}\n\tx");
        assert_eq!(printable("a\u{202e}b\u{2066}\u{9b}1m"), "a\\u{202e}b\\u{2066}\\u{9b}1m");
        let plain = "한국어 é — “α” 👩‍👩‍👧\n";
        assert!(matches!(printable(plain), Cow::Borrowed(same) if same == plain));
    }
}
