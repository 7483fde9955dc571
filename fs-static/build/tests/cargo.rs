//! The whole way: an application with a site, as cargo builds it, and what is in it at run time.
#![cfg(unix)]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test: what fails here, fails")]

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The application of `tests/app`, in a folder of its own.
struct App {
    folder: TempDir,
}

/// What cargo said.
struct Build {
    success: bool,
    output: String,
}

impl App {
    fn new() -> App {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let app = App {
            folder: tempfile::tempdir().unwrap(),
        };
        let root = app.folder.path();
        fs::create_dir(root.join("src")).unwrap();
        for file in ["build.rs", "src/main.rs"] {
            fs::copy(here.join("tests/app").join(file), root.join(file)).unwrap();
        }
        // The versions that this workspace has: the machine need not have others, nor a network.
        fs::copy(here.join("../../Cargo.lock"), root.join("Cargo.lock")).unwrap();
        let (run_time, build) = (here.parent().unwrap(), here);
        let manifest = format!(
            "[package]\nname = \"fs-static-test-app\"\nedition = \"2024\"\n[workspace]\n\
             [dependencies]\nxenlet-fs-static.path = {run_time:?}\n\
             [build-dependencies]\nxenlet-fs-static-build.path = {build:?}\n"
        );
        fs::write(root.join("Cargo.toml"), manifest).unwrap();
        app.write("index.html", PAGE);
        app
    }

    fn site(&self) -> PathBuf {
        self.folder.path().join("site")
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.site().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Where cargo builds it: dependencies stay from one run of the tests to the next.
    fn target() -> PathBuf {
        Path::new(env!("CARGO_TARGET_TMPDIR")).join("fs-static-test-app")
    }

    fn build_with(&self, site: Option<&str>) -> Build {
        let mut command = Command::new(env!("CARGO"));
        command
            .args(["build", "--offline"])
            .current_dir(self.folder.path());
        command
            .env("CARGO_TARGET_DIR", App::target())
            .env("CARGO_TERM_COLOR", "never")
            .env_remove("CARGO_BUILD_TARGET");
        match site {
            Some(site) => command.env("XENLET_SITE", site),
            None => command.env_remove("XENLET_SITE"),
        };
        let output = command.output().unwrap();
        Build {
            success: output.status.success(),
            output: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Builds it with its own site; it must work. Tells what cargo said.
    fn build(&self) -> String {
        let build = self.build_with(None);
        assert!(build.success, "{}", build.output);
        build.output
    }

    /// What the application says.
    fn run(&self, args: &[&str]) -> Vec<u8> {
        let output = Command::new(App::target().join("debug/fs-static-test-app"))
            .args(args)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    }

    fn text(&self, args: &[&str]) -> String {
        String::from_utf8(self.run(args)).unwrap()
    }

    fn paths(&self) -> Vec<String> {
        self.text(&["paths"]).lines().map(str::to_owned).collect()
    }
}

/// Compresses well, and is cut off by no line.
const PAGE: &str = concat!(
    "<!doctype html><title>A page</title><p>A page of some length, a page that says it again: a page of some length, ",
    "a page that says it again. <p>A page of some length, a page that says it again: a page of some length, a page ",
    "that says it again. <p>A page of some length, a page that says it again: a page of some length."
);

/// One test, because there is one build directory, and each step goes on from the one before.
#[test]
fn an_application_with_a_site() {
    let app = App::new();
    app.write("404.html", format!("{PAGE} Not here."));
    app.write("docs/café 1/index.html", "<h1>small</h1>");
    app.write("docs/copy.html", PAGE);
    app.write("image.png", [137; 5000]);
    app.write(".hidden", "");
    let output = app.build();
    assert!(
        output.contains("warning: fs-static-test-app@0.0.0: 1 hidden or backup entry of the site"),
        "{output}"
    );
    contents(&app);
    rebuilds(&app);
    failures(&app);
}

fn contents(app: &App) {
    let paths = [
        "/",
        "/404.html",
        "/docs/café 1",
        "/docs/café 1/",
        "/docs/café 1/index.html",
        "/docs/copy.html",
    ];
    assert_eq!(
        app.paths(),
        [&paths[..], &["/image.png", "/index.html"]].concat()
    );
    let files = "/404.html\n/docs/café 1/index.html\n/docs/copy.html\n/image.png\n/index.html";
    assert_eq!(app.text(&["files"]), files);

    // Bodies: as they were, and as they come out of their codings.
    for path in ["/", "/index.html", "/docs/copy.html"] {
        assert_eq!(app.text(&["body", path, "identity"]), PAGE);
        assert_eq!(decoded(app, path, "gzip"), PAGE.as_bytes());
        assert_eq!(decoded(app, path, "br"), PAGE.as_bytes());
    }
    assert_eq!(app.run(&["body", "/image.png", "identity"]), [137; 5000]);
    // The page is there twice, and stored once: in all that is stored there is one of each.
    let unique = [
        ("/", "identity"),
        ("/", "gzip"),
        ("/", "br"),
        ("404", "identity"),
        ("404", "gzip"),
        ("404", "br"),
    ];
    let others = [("/docs/café 1/", "identity"), ("/image.png", "identity")];
    let stored: usize = (unique.iter().chain(&others))
        .map(|(path, coding)| app.run(&["body", path, coding]).len())
        .sum();
    let content = 3 * PAGE.len() + " Not here.".len() + "<h1>small</h1>".len() + 5000;
    assert_eq!(app.text(&["bytes"]), format!("{content} {stored}"));

    // Heads, of which the tail is what the parts say.
    let etags = ["identity", "gzip", "br"].map(|coding| app.text(&["etag", "/", coding]));
    assert!(
        etags[0] != etags[1] && etags[1] != etags[2] && etags[0] != etags[2],
        "{etags:?}"
    );
    for (coding, etag) in ["identity", "gzip", "br"].into_iter().zip(&etags) {
        let encoding = match coding {
            "identity" => String::new(),
            coding => format!("Content-Encoding: {coding}\r\n"),
        };
        let validators =
            format!("ETag: {etag}\r\nVary: Accept-Encoding\r\nCache-Control: no-cache\r\n");
        let fields = format!(
            "Content-Type: text/html; charset=utf-8\r\n{encoding}Accept-Ranges: bytes\r\n\
             X-Content-Type-Options: nosniff\r\n{validators}"
        );
        let length = app.run(&["body", "/", coding]).len();
        assert_eq!(app.text(&["validators", "/", coding]), validators);
        assert_eq!(app.text(&["fields", "/", coding]), fields);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{fields}");
        assert_eq!(app.text(&["head", "/", coding]), head);
    }
    let image = app.text(&["head", "/image.png", "identity"]);
    assert!(
        image.contains("Content-Type: image/png\r\n") && !image.contains("Vary"),
        "{image}"
    );
    assert_eq!(app.text(&["type", "/image.png", "identity"]), "image/png");

    let redirect = "HTTP/1.1 301 Moved Permanently\r\nContent-Length: 0\r\nLocation: /docs/caf%C3%A9%201/\r\n\
                    Cache-Control: no-cache\r\n";
    assert_eq!(app.text(&["head", "/docs/café 1"]), redirect);

    let not_found = app.text(&["head", "404", "gzip"]);
    assert!(
        not_found.starts_with("HTTP/1.1 404 Not Found\r\n"),
        "{not_found}"
    );
    assert!(
        not_found.contains("Content-Encoding: gzip\r\n") && !not_found.contains("ETag"),
        "{not_found}"
    );
    assert_eq!(
        decoded(app, "404", "gzip"),
        format!("{PAGE} Not here.").as_bytes()
    );
    assert!(
        app.text(&["head", "/404.html", "gzip"])
            .starts_with("HTTP/1.1 200 OK\r\n")
    );
}

fn decoded(app: &App, path: &str, coding: &str) -> Vec<u8> {
    let body = app.run(&["body", path, coding]);
    let mut out = Vec::new();
    match coding {
        "gzip" => flate2::read::GzDecoder::new(&body[..])
            .read_to_end(&mut out)
            .map(|_| ())
            .unwrap(),
        _ => brotli_decompressor::BrotliDecompress(&mut &body[..], &mut out).unwrap(),
    }
    out
}

fn rebuilds(app: &App) {
    let compiled = |output: &str| output.contains("Compiling fs-static-test-app");
    assert!(
        !compiled(&app.build()),
        "built again though nothing changed"
    );

    app.write("docs/copy.html", "changed");
    assert!(compiled(&app.build()));
    assert_eq!(
        app.text(&["body", "/docs/copy.html", "identity"]),
        "changed"
    );

    app.write("new/folder/index.html", "added");
    app.build();
    assert_eq!(app.text(&["body", "/new/folder/", "identity"]), "added");

    fs::remove_file(app.site().join("new/folder/index.html")).unwrap();
    app.build();
    assert!(
        !app.paths().iter().any(|path| path.starts_with("/new")),
        "{:?}",
        app.paths()
    );

    fs::rename(app.site().join("docs"), app.site().join("texts")).unwrap();
    app.build();
    assert!(
        app.paths().contains(&"/texts/copy.html".to_owned()),
        "{:?}",
        app.paths()
    );

    // Another folder: relative to the package, and absolute.
    let elsewhere = app.folder.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("only.txt"), "only").unwrap();
    for site in ["elsewhere", elsewhere.to_str().unwrap()] {
        let build = app.build_with(Some(site));
        assert!(build.success, "{}", build.output);
        assert_eq!(app.paths(), ["/only.txt"]);
        // A site with the least in it: whatever the source leaves unused, the compiler must not complain about it.
        assert!(!build.output.contains("warning"), "{}", build.output);
        app.build();
        assert!(app.paths().len() > 1);
    }
    // A variable that is there but says nothing.
    assert!(app.build_with(Some("")).success);
    assert!(app.paths().len() > 1);
}

fn failures(app: &App) {
    let build = app.build_with(Some("nowhere"));
    assert!(!build.success);
    let path = app.folder.path().join("nowhere");
    let error = format!(
        "error: fs-static-test-app@0.0.0: the site folder {path:?} does not exist: create it"
    );
    assert!(build.output.contains(&error), "{}", build.output);
    assert!(!build.output.contains("panicked"), "{}", build.output);
    assert!(
        build.output.lines().count() < 5,
        "too much to read: {}",
        build.output
    );

    std::os::unix::fs::symlink("/etc", app.site().join("etc")).unwrap();
    std::os::unix::fs::symlink("nowhere", app.site().join("dead")).unwrap();
    let build = app.build_with(None);
    assert!(!build.success);
    for link in ["etc", "dead"] {
        let path = app.site().join(link);
        assert!(
            build.output.contains(&format!("the link {path:?}")),
            "{}",
            build.output
        );
    }

    // Mended, it builds again.
    fs::remove_file(app.site().join("etc")).unwrap();
    fs::remove_file(app.site().join("dead")).unwrap();
    app.build();
}
