//! Reads the fixtures that `make.py` wrote: 1,000 cases each, an array of inputs and expected values per case.

use serde_json::Value;

/// A case of a fixture.
pub(crate) struct Case(Value);

/// The cases of the fixture called `name`.
pub(crate) fn cases(name: &str) -> Vec<Case> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(format!("{name}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let cases: Vec<Value> = serde_json::from_str(&text).expect("a JSON list");
    assert_eq!(cases.len(), 1000, "{name}");
    cases.into_iter().map(Case).collect()
}

impl Case {
    /// The number at `index`.
    pub(crate) fn number(&self, index: usize) -> f64 {
        self.0[index].as_f64().unwrap_or_else(|| panic!("no number at {index} of {}", self.0))
    }

    /// The number at `index`, unless it is null.
    pub(crate) fn maybe(&self, index: usize) -> Option<f64> {
        (!self.0[index].is_null()).then(|| self.number(index))
    }

    /// The numbers at `index`.
    pub(crate) fn numbers(&self, index: usize) -> Vec<f64> {
        numbers(&self.0[index])
    }

    /// The rows of numbers at `index`.
    pub(crate) fn rows(&self, index: usize) -> Vec<Vec<f64>> {
        self.0[index].as_array().expect("rows").iter().map(numbers).collect()
    }

    /// The string of digits at `index`.
    pub(crate) fn digits(&self, index: usize) -> Vec<u32> {
        digits(&self.0[index])
    }

    /// The strings of digits at `index`.
    pub(crate) fn digit_rows(&self, index: usize) -> Vec<Vec<u32>> {
        self.0[index].as_array().expect("rows").iter().map(digits).collect()
    }

    /// The text at `index`.
    pub(crate) fn text(&self, index: usize) -> String {
        text(&self.0[index])
    }

    /// The texts at `index`.
    pub(crate) fn texts(&self, index: usize) -> Vec<String> {
        self.0[index].as_array().expect("texts").iter().map(text).collect()
    }

    /// Fails, naming the case, unless `found` lies within `tolerance` of the number at `index`.
    pub(crate) fn expect(&self, what: &str, index: usize, found: f64, tolerance: f64) {
        let expected = self.number(index);
        assert!((found - expected).abs() <= tolerance, "{what}: {found}, not {expected}, in {}", self.0);
    }
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("numbers").iter().map(|number| number.as_f64().expect("a number")).collect()
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_string()
}

fn digits(value: &Value) -> Vec<u32> {
    value.as_str().expect("digits").chars().map(|digit| digit.to_digit(10).expect("a digit")).collect()
}
