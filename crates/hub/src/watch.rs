//! What a fetch tells those who watch it. Nothing here prints.

/// Told what is fetched, as it arrives.
pub trait Watch: Send + Sync {
    /// One line of news.
    fn note(&self, _line: &str) {}

    /// Something that takes a while begins: a file, or a run of a package client. `size` in bytes, where it is known.
    fn begin(&self, _label: &str, _size: Option<u64>) -> Box<dyn Transfer> {
        Box::new(Silent)
    }
}

/// Follows one file, or one run of a package client; dropped without [`Transfer::done`] if it failed.
pub trait Transfer {
    /// So many bytes are here.
    fn at(&mut self, _bytes: u64) {}

    /// All is here.
    fn done(&mut self) {}
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Watch for Silent {}
impl Transfer for Silent {}

/// `bytes` with a unit that suits people.
pub fn readable(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["bytes", "KiB", "MiB", "GiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} bytes") } else { format!("{value:.1} {}", UNITS[unit]) }
}
