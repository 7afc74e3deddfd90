//! The text of an HTML page, for mail: what the tokenizer of html5ever leaves when tags are out.
//!
//! No tree is built, so that deep nesting costs neither stack nor time. The crate html2text would draw pages: borders of
//! tables, marks of links and headings, all of which a classifier would learn, in a time quadratic in the depth.

use std::cell::{Cell, RefCell};

use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{BufferQueue, StartTag, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts};

/// Elements that do not end a word: bold letters within one.
const INLINE: [&str; 20] = [
    "a", "abbr", "acronym", "b", "bdo", "big", "code", "em", "font", "i", "ins", "mark", "s", "small", "span",
    "strike", "strong", "sub", "sup", "u",
];

/// Elements whose text is not for the reader.
const SILENT: [&str; 3] = ["script", "style", "title"];

/// Whether text that is not declared as HTML begins like a page.
pub(super) fn looks_like(text: &str) -> bool {
    let start = text.trim_start().as_bytes();
    ["<html", "<!doctype html"]
        .iter()
        .any(|mark| start.get(..mark.len()).is_some_and(|found| found.eq_ignore_ascii_case(mark.as_bytes())))
}

/// What is left of `page` without tags, comments, scripts and styles.
pub(super) fn text(page: &str) -> String {
    let tokenizer = Tokenizer::new(Words::default(), TokenizerOpts::default());
    let input = BufferQueue::default();
    input.push_back(StrTendril::from_slice(page));
    // The sink never asks for a script to be run, so that all of the input is taken at once.
    let _ = tokenizer.feed(&input);
    tokenizer.end();
    tokenizer.sink.text.into_inner()
}

/// Collects the text that a reader sees.
#[derive(Default)]
struct Words {
    text: RefCell<String>,
    silent: Cell<bool>,
}

impl TokenSink for Words {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        match token {
            Token::CharacterTokens(letters) if !self.silent.get() => self.text.borrow_mut().push_str(&letters),
            Token::TagToken(tag) => {
                let name: &str = &tag.name;
                let silent = SILENT.contains(&name) && tag.kind == StartTag;
                self.silent.set(silent);
                if !INLINE.contains(&name) {
                    self.text.borrow_mut().push(' ');
                }
                if silent {
                    // Up to the closing tag nothing is a tag.
                    return TokenSinkResult::RawData(RawKind::Rawtext);
                }
            }
            _ => {}
        }
        TokenSinkResult::Continue
    }
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
