//! The value of a registry's cost formula: sums, products and quotients of numbers and names, with brackets and floors,
//! up to the first comma. Behind it a formula explains its letters; `r the rank (8)` gives one its value, a number or
//! again a formula.

use anyhow::{Result, bail, ensure};

/// The value of `formula`, names that it does not explain itself as `value_of` says.
pub(crate) fn evaluate(formula: &str, value_of: &dyn Fn(&str) -> Option<f64>) -> Result<f64> {
    let mut clauses = formula.split(',');
    let text: Vec<char> = clauses.next().unwrap_or_default().chars().filter(|c| *c != ' ').collect();
    let clauses: Vec<&str> = clauses.map(str::trim).collect();
    let explained = |name: &str| -> Option<f64> {
        let clause = clauses.iter().find_map(|clause| clause.strip_prefix(name)?.strip_prefix(" the "))?;
        evaluate(clause.split_once('(')?.1.strip_suffix(')')?, value_of).ok()
    };
    let value_of = |name: &str| explained(name).or_else(|| value_of(name));
    let mut reader = Reader { text: &text, at: 0, value_of: &value_of };
    let value = reader.sum()?;
    ensure!(reader.at == text.len(), "`{formula}`: stopped at character {} of the formula", reader.at);
    Ok(value)
}

struct Reader<'a> {
    text: &'a [char],
    at: usize,
    value_of: &'a dyn Fn(&str) -> Option<f64>,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn sum(&mut self) -> Result<f64> {
        let mut value = self.product()?;
        while let Some(sign) = self.peek().filter(|c| "+-−".contains(*c)) {
            self.at += 1;
            let next = self.product()?;
            value += if sign == '+' { next } else { -next };
        }
        Ok(value)
    }

    fn product(&mut self) -> Result<f64> {
        let mut value = self.factor()?;
        while let Some(sign) = self.peek().filter(|c| "·*/".contains(*c)) {
            self.at += 1;
            let next = self.factor()?;
            value = if sign == '/' { value / next } else { value * next };
        }
        Ok(value)
    }

    fn factor(&mut self) -> Result<f64> {
        let mut value = match self.peek() {
            Some('(') => self.bracketed(')')?,
            Some('⌊') => self.bracketed('⌋')?.floor(),
            Some('⌈') => self.bracketed('⌉')?.ceil(),
            Some(c) if c.is_ascii_digit() => self.word(|c| c.is_ascii_digit() || c == '.').parse()?,
            Some(c) if c.is_alphabetic() => {
                let name = self.word(|c| c.is_alphabetic() || c.is_ascii_digit() || c == '_');
                match (self.value_of)(&name) {
                    Some(value) => value,
                    None => bail!(
                        "a formula has no `{name}`: write P, K, H, L, I, V, W, a setting's name, or explain it: `r the rank (8)`"
                    ),
                }
            }
            other => bail!("a formula cannot go on with {other:?}"),
        };
        if self.peek() == Some('²') {
            self.at += 1;
            value *= value;
        }
        Ok(value)
    }

    fn bracketed(&mut self, close: char) -> Result<f64> {
        self.at += 1;
        let value = self.sum()?;
        ensure!(self.peek() == Some(close), "a formula lacks its `{close}`");
        self.at += 1;
        Ok(value)
    }

    fn word(&mut self, belongs: impl Fn(char) -> bool) -> String {
        let word: String = self.text[self.at..].iter().take_while(|c| belongs(**c)).collect();
        self.at += word.chars().count();
        word
    }
}
