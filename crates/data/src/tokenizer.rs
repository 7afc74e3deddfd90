//! The tokenizer of an encoder, read with distrust.
//!
//! A `tokenizer.json` is a program for a library that panics on some inputs and allocates what a file tells it to. The
//! file is therefore parsed and checked here first, its `padding` and `truncation` sections are dropped (both are done
//! here), the dropout of its merges is switched off (a text has one reading), and the library is called behind a guard.

mod added;
mod byte_pairs;
mod check;
mod files;
mod frame;
mod growth;
mod guard;
mod settings;
mod word_piece;

use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result, anyhow, bail};
use mtl_task::{Encoded, Registry};
use serde_json::Value;

use crate::Texts;
use crate::generator::GeneratorKind;
use crate::manifest::Generator;
use frame::Frame;
use growth::Growth;
use guard::guarded;

/// Turns texts into ids.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    growth: Growth,
    json: String,
    vocabulary: usize,
    unknown: u32,
    single: Frame,
    pair: Frame,
}

impl Tokenizer {
    /// Reads the tokenizer of a model's folder: its `tokenizer.json`, or what its `vocab.txt` (WordPiece) or its
    /// `vocab.json` with `merges.txt` (byte-level BPE) stand for; changed as the folder's `tokenizer_config.json`,
    /// `special_tokens_map.json` and `added_tokens.json` say. Of a `vocab.txt` about which nothing is said, letters are
    /// lowered. No other file is followed, whatever those say.
    ///
    /// # Errors
    /// If there is none of them, one is malformed, two contradict each other, or one asks for what is not done here:
    /// with file, key and reason.
    pub fn read(folder: &Path) -> Result<Self> {
        let files::Found { file, path, ends } = files::read(folder)?;
        let tokenizer = Self::from_value(file).with_context(|| path.display().to_string())?;
        for ((role, name), found) in ends.iter().zip(tokenizer.single.around_a_text()) {
            let Some(name) = name else { continue };
            if !found.is_empty() && tokenizer.inner.token_to_id(name).is_none_or(|id| !found.contains(&id)) {
                bail!(
                    "{}: tokenizer_config.json says that `{role}` is `{name}`, which does not stand around texts by \
                     its template; make the two agree",
                    path.display()
                );
            }
        }
        Ok(tokenizer)
    }

    /// The tokenizer of the words that `generators`, which are of `kinds`, make tasks of, with a mask token if one of
    /// the tasks asks for one.
    ///
    /// # Errors
    /// If there is no generator, or an unknown one.
    pub fn generated<'a>(
        kinds: &Registry<GeneratorKind>,
        generators: impl IntoIterator<Item = &'a Generator>,
        mask: bool,
    ) -> Result<Self> {
        let mut words: Vec<String> = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"].map(String::from).to_vec();
        if mask {
            words.push("[MASK]".into());
        }
        let special = words.len();
        for generator in generators {
            for word in crate::generator::vocabulary(kinds, generator)? {
                if !words.contains(&word) {
                    words.push(word);
                }
            }
        }
        if words.len() == special {
            bail!("there is no generated task whose words could be learnt");
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Self::from_value(word_piece::json(&words, true, &word_piece::Names::default())?)
    }

    /// A tokenizer of the text of a `tokenizer.json`.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn from_json(text: &str) -> Result<Self> {
        Self::from_value(serde_json::from_str(text).context("no JSON")?)
    }

    fn from_value(mut value: Value) -> Result<Self> {
        if !value.is_object() {
            bail!("a JSON object was expected");
        }
        check::consistent(&value)?;
        check::settle(&mut value)?;
        let growth = Growth::of(&value)?;
        let json = value.to_string();
        let inner =
            guarded(|| tokenizers::Tokenizer::from_str(&json))?.map_err(|error| anyhow!("no tokenizer: {error}"))?;
        check::given_ids(&value, &inner)?;
        let vocabulary = inner.get_vocab(true).values().max().map_or(0, |&id| id as usize + 1);
        let unknown = check::unknown_id(member(&value, "model"), &inner);
        let (single, pair) = (Frame::single(&inner)?, Frame::pair(&inner)?);
        let tokenizer = Self { inner, growth, json, vocabulary, unknown, single, pair };
        tokenizer.encode(&Texts::One("A text, to see whether it works.".into()), 16).context("it cannot encode")?;
        Ok(tokenizer)
    }

    /// The text of a `tokenizer.json` that reads back as this tokenizer.
    ///
    /// # Errors
    /// None: the text is what was read.
    pub fn to_json(&self) -> Result<String> {
        Ok(self.json.clone())
    }

    /// One more than the largest id: an encoder's word table needs as many rows.
    pub fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// The id of the unknown token.
    pub fn unknown(&self) -> u32 {
        self.unknown
    }

    /// The id of the mask token, `[MASK]` or `<mask>`, if there is one.
    pub fn mask(&self) -> Option<u32> {
        ["[MASK]", "<mask>"].into_iter().find_map(|name| self.inner.token_to_id(name))
    }

    /// The token with an id, special or not.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The ids that stand in front of a single text, and those after it.
    pub fn around_a_text(&self) -> [Vec<u32>; 2] {
        self.single.around_a_text()
    }

    /// The token with an id; none for special ones, and for ids that no token has.
    pub fn ordinary(&self, id: u32) -> Option<String> {
        let special = self.inner.get_added_tokens_decoder().get(&id).is_some_and(|token| token.special);
        if special || id == self.unknown { None } else { self.inner.id_to_token(id) }
    }

    /// The ids of `texts`, special tokens included, cut to `max_tokens`: of a pair the longer text loses its end first,
    /// of words those at the end are left out.
    ///
    /// # Errors
    /// If the library refuses the text, `max_tokens` leaves no room for it, or no token is left of it: a sequence of no
    /// token has no state to answer by. Where special tokens are added, an empty text has theirs.
    pub fn encode(&self, texts: &Texts, max_tokens: usize) -> Result<Encoded> {
        let encoded = self.framed(texts, max_tokens)?;
        if encoded.ids.is_empty() {
            bail!(
                "there is nothing to read: no token is left of the text, and this tokenizer adds none of its own; leave \
                 the text out"
            );
        }
        Ok(encoded)
    }

    /// Whether [`Tokenizer::encode`] leaves out some of `texts` because of `max_tokens`.
    ///
    /// # Errors
    /// As there.
    pub fn cuts(&self, texts: &Texts, max_tokens: usize) -> Result<bool> {
        // With one token more, what is too long is longer than that.
        let encoded = self.framed(texts, max_tokens.saturating_add(1))?;
        let words = if let Texts::Tokens(words) = texts { words.len() } else { 0 };
        Ok(encoded.ids.len() > max_tokens || encoded.anchors.len() < words)
    }

    /// Refuses what [`Tokenizer::encode`] finds nothing to read in.
    ///
    /// # Errors
    /// As there.
    pub fn check(&self, texts: &Texts) -> Result<()> {
        let frame = if matches!(texts, Texts::Pair(..)) { &self.pair } else { &self.single };
        // Where tokens are added there is always one.
        if frame.special() == 0 { self.encode(texts, 2).map(drop) } else { Ok(()) }
    }

    fn framed(&self, texts: &Texts, max_tokens: usize) -> Result<Encoded> {
        let frame = if matches!(texts, Texts::Pair(..)) { &self.pair } else { &self.single };
        let room = max_tokens.saturating_sub(frame.special());
        if room == 0 {
            bail!("at most {max_tokens} tokens leave no room for a text: {} are special ones", frame.special());
        }
        match texts {
            Texts::One(text) => {
                let mut ids = self.first_ids(text, room)?;
                ids.truncate(room);
                Ok(frame.around(&ids, &[]))
            }
            Texts::Pair(a, b) => {
                let (mut a, mut b) = (self.first_ids(a, room)?, self.first_ids(b, room)?);
                let (first, second) = longest_first(a.len(), b.len(), room);
                a.truncate(first);
                b.truncate(second);
                Ok(frame.around(&a, &b))
            }
            Texts::Tokens(words) => {
                let (mut ids, mut anchors) = (Vec::new(), Vec::new());
                for word in words {
                    let pieces = self.word(word)?;
                    if ids.len() + pieces.len() > room {
                        // A first word too long for the room is cut: the sentence needs one place to be read at.
                        if !ids.is_empty() {
                            break;
                        }
                        ids.extend(pieces.iter().take(room));
                        anchors.push(frame.before() as u32);
                        break;
                    }
                    anchors.push((frame.before() + ids.len()) as u32);
                    ids.extend(pieces);
                }
                Ok(Encoded { anchors, words: words.len(), ..frame.around(&ids, &[]) })
            }
        }
    }

    /// The ids of a word in a sentence. Every word has one at least, whatever the normaliser leaves of it.
    fn word(&self, word: &str) -> Result<Vec<u32>> {
        let pieces = self.ids(word)?;
        Ok(if pieces.is_empty() { vec![self.unknown] } else { pieces })
    }

    /// At least the first `room` ids of `text`, if it has as many. A long text is not read to its end: the part in front
    /// of some white space is tokenised, and a longer one if that was too short.
    fn first_ids(&self, text: &str, room: usize) -> Result<Vec<u32>> {
        // Few texts have more than ten characters a token; the surplus keeps what is decided at the cut out of sight.
        let (mut characters, enough) = (room.saturating_mul(10).saturating_add(200), room.saturating_add(8));
        loop {
            let start = text.char_indices().nth(characters).and_then(|(at, _)| text.get(..at));
            let start = start.and_then(|start| start.get(..start.rfind(char::is_whitespace)?));
            let Some(start) = start else { return self.ids(text) };
            let ids = self.ids(start)?;
            if ids.len() >= enough {
                return Ok(ids);
            }
            characters = characters.saturating_mul(4);
        }
    }

    fn ids(&self, text: &str) -> Result<Vec<u32>> {
        self.growth.check(text)?;
        let encoding =
            guarded(|| self.inner.encode_fast(text, false))?.map_err(|error| anyhow!("cannot tokenise: {error}"))?;
        Ok(encoding.get_ids().to_vec())
    }
}

/// The member of an object called `key`; null if it is no object, or has none.
fn member<'a>(object: &'a Value, key: &str) -> &'a Value {
    object.get(key).unwrap_or(&Value::Null)
}

/// Lengths that fit into `room` when the longer of two texts gives way first, the second one of equals.
fn longest_first(a: usize, b: usize, room: usize) -> (usize, usize) {
    if a + b <= room {
        return (a, b);
    }
    let half = room / 2;
    match (a.min(b) <= half, a <= b) {
        (true, true) => (a, room - a),
        (true, false) => (room - b, b),
        (false, _) => (room - half, half),
    }
}
