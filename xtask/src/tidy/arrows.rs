//! Who may depend on whom. ARCHITECTURE.md says why.

use anyhow::Result;
use serde_json::Value;

use super::{Tree, Violation};

/// Each crate of ours, and those of ours that it may use. What is not here may use all: tests and tools.
const MAY_USE: &[(&str, &[&str])] = &[
    ("xenlet-kernel", &[]),
    ("xenlet-fs-static", &[]),
    ("xenlet-fs-static-build", &["xenlet-fs-static"]),
    ("xenlet-netfront", &["xenlet-kernel"]),
    ("xenlet-blkfront", &["xenlet-kernel"]),
    ("xenlet-net", &["xenlet-netfront", "xenlet-kernel"]),
    ("xenlet-storage", &["xenlet-blkfront", "xenlet-kernel"]),
    (
        "xenlet-tls",
        &["xenlet-net", "xenlet-storage", "xenlet-kernel"],
    ),
    (
        "xenlet-http",
        &["xenlet-tls", "xenlet-net", "xenlet-kernel"],
    ),
    (
        "xenlet-inspect",
        &["xenlet-http", "xenlet-net", "xenlet-kernel"],
    ),
];

/// What applications may use: not the drivers, which are `net`'s. An appliance made of another builds on its library.
const APPLICATIONS: &str = "examples/";
const APPLICATIONS_MAY_USE: &[&str] = &[
    "xenlet-kernel",
    "xenlet-net",
    "xenlet-storage",
    "xenlet-tls",
    "xenlet-http",
    "xenlet-inspect",
    "xenlet-fs-static",
    "xenlet-fs-static-build",
    "xenlet-httpd",
];

/// Who may see what: of these the future is uncertain, so one crate hides each. Tests use smoltcp as the other side.
const HIDDEN: &[(&str, &[&str])] = &[
    ("smoltcp", &["xenlet-net", "xenlet-tests"]),
    ("rustls", &["xenlet-tls"]),
    ("ring", &["xenlet-tls"]),
];

/// Dependencies for tests alone are free: they are in no image.
pub(super) fn point_down(tree: &Tree) -> Result<Vec<Violation>> {
    let mut found = Vec::new();
    for package in tree.members() {
        let name = package["name"].as_str().unwrap_or_default();
        let manifest = tree.relative(&package["manifest_path"]);
        let allowed = if manifest.to_string_lossy().starts_with(APPLICATIONS) {
            Some(APPLICATIONS_MAY_USE)
        } else {
            MAY_USE
                .iter()
                .find(|(user, _)| *user == name)
                .map(|(_, used)| *used)
        };
        for dependency in package["dependencies"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|used| used["kind"] != "dev")
        {
            let used = dependency["name"].as_str().unwrap_or_default();
            let upward =
                is_ours(dependency) && allowed.is_some_and(|allowed| !allowed.contains(&used));
            let sees_hidden = HIDDEN
                .iter()
                .any(|(hidden, users)| *hidden == used && !users.contains(&name));
            if upward || sees_hidden {
                let line = tree.line_with(&manifest, used);
                found.push(Violation::new(
                    &manifest,
                    line,
                    format!("{name} may not depend on {used}"),
                ));
            }
        }
    }
    Ok(found)
}

fn is_ours(dependency: &Value) -> bool {
    dependency["path"].is_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tree_of;
    use super::*;

    fn found(name: &str, manifest: &str, dependencies: &Value) -> Vec<String> {
        let metadata = json!({ "workspace_members": [name], "packages": [
            { "id": name, "name": name, "manifest_path": format!("/p/{manifest}"), "dependencies": dependencies },
        ]});
        let text = "[dependencies]\nxenlet-net = 1\nsmoltcp = 1\n";
        let violations = point_down(&tree_of(&[(manifest, text)], metadata)).unwrap();
        violations.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_arrow_upward_is_found_with_its_line() {
        let net = json!([{ "name": "xenlet-net", "path": "/p/net", "kind": null }]);
        assert_eq!(
            found("xenlet-kernel", "kernel/Cargo.toml", &net),
            ["kernel/Cargo.toml:2: xenlet-kernel may not depend on xenlet-net"]
        );
        assert!(found("xenlet-httpd", "examples/httpd/Cargo.toml", &net).is_empty());
        assert!(found("xenlet-tests", "tests/Cargo.toml", &net).is_empty());
    }

    #[test]
    fn an_application_may_not_reach_for_a_driver() {
        let driver =
            json!([{ "name": "xenlet-netfront", "path": "/p/drivers/netfront", "kind": null }]);
        assert_eq!(
            found("xenlet-httpd", "examples/httpd/Cargo.toml", &driver).len(),
            1
        );
    }

    #[test]
    fn only_tls_sees_ring() {
        let ring = json!([{ "name": "ring", "kind": null }]);
        assert_eq!(found("xenlet-http", "http/Cargo.toml", &ring).len(), 1);
        assert!(found("xenlet-tls", "tls/Cargo.toml", &ring).is_empty());
    }

    #[test]
    fn only_net_sees_smoltcp() {
        let smoltcp = json!([{ "name": "smoltcp", "kind": null }]);
        assert_eq!(
            found("xenlet-netfront", "drivers/netfront/Cargo.toml", &smoltcp).len(),
            1
        );
        assert!(found("xenlet-net", "net/Cargo.toml", &smoltcp).is_empty());
        let in_tests = json!([{ "name": "smoltcp", "kind": "dev" }]);
        assert!(found("xenlet-netfront", "drivers/netfront/Cargo.toml", &in_tests).is_empty());
    }
}
