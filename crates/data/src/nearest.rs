//! Names that come close to one that is not there.

/// " (did you mean `x`?)" if some name is close to `found`, else nothing.
pub(crate) fn nearest<'a>(found: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    names
        .into_iter()
        .map(|name| (strsim::jaro_winkler(found, name), name))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| format!(" (did you mean `{name}`?)"))
        .unwrap_or_default()
}

/// The member of a registry called `name`.
///
/// # Errors
/// If there is none: names the nearest, and all that there are.
pub(crate) fn member<'a, T>(what: &str, name: &str, members: &'a [T], called: fn(&T) -> &str) -> anyhow::Result<&'a T> {
    if let Some(found) = members.iter().find(|member| called(member) == name) {
        return Ok(found);
    }
    let names: Vec<&str> = members.iter().map(called).collect();
    anyhow::bail!("unknown {what} `{name}`{}; there are {}", nearest(name, names.iter().copied()), names.join(", "))
}
