//! Others can embed the kernel: it depends on nothing that they did not ask for.

#[test]
fn every_dependency_is_optional_and_no_default_feature_wants_one() {
    let manifest = include_str!("../Cargo.toml");
    let mut section = "";
    let mut dependencies = 0;
    for line in manifest.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_end_matches(']');
            let other = section.contains("dependencies") && !["dependencies", "dev-dependencies"].contains(&section);
            assert!(!other, "[{section}] would bring a dependency");
        } else if section == "dependencies" {
            dependencies += 1;
            assert!(line.contains("optional = true"), "`{line}` is a mandatory dependency");
        } else if section == "features" && (line.starts_with("default") || line.starts_with("std")) {
            assert!(!line.contains("dep:") && !line.contains("libm"), "`{line}` brings a dependency by default");
        }
    }
    assert_eq!(dependencies, 1, "libm is the one optional dependency");
}
