//! Everything that cannot be embedded, and what is said about it.
#![cfg(unix)]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test: what fails here, fails")]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use xenlet_fs_static_build::{Problem, generate};

/// A site with an index, in a folder that also has a place for the output and for what lies outside.
struct Fixture {
    folder: TempDir,
}

impl Fixture {
    fn new() -> Fixture {
        let fixture = Fixture {
            folder: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(fixture.site()).unwrap();
        fs::create_dir(fixture.out()).unwrap();
        fs::write(fixture.site().join("index.html"), "<h1>hello</h1>").unwrap();
        fixture
    }

    fn site(&self) -> PathBuf {
        // As the problems will say it, also where the folder for temporary files is behind a link.
        self.folder.path().canonicalize().unwrap().join("site")
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    /// All problems, of which there must be some; nothing was written then.
    fn problems(&self) -> Vec<Problem> {
        let problems = generate(&self.site(), &self.out()).unwrap_err();
        assert_eq!(fs::read_dir(self.out()).unwrap().count(), 0);
        problems
    }

    /// The only problem there is.
    fn problem(&self) -> Problem {
        let mut problems = self.problems();
        assert_eq!(problems.len(), 1, "{problems:?}");
        problems.remove(0)
    }
}

/// That a message is one line which names a file and says what to do.
fn assert_says(problem: &Problem, path: &Path, remedy: &str) {
    let message = problem.to_string();
    assert!(!message.contains('\n'), "{message}");
    assert!(
        message.contains(&format!("{path:?}")),
        "{message} names no {path:?}"
    );
    assert!(message.contains(remedy), "{message} does not say {remedy}");
}

#[test]
fn a_missing_folder() {
    let fixture = Fixture::new();
    fs::remove_dir_all(fixture.site()).unwrap();
    let problem = fixture.problem();
    assert!(matches!(problem, Problem::Missing(_)), "{problem:?}");
    assert_says(&problem, &fixture.site(), "create it, or name another");
}

#[test]
fn a_file_in_place_of_the_folder() {
    let fixture = Fixture::new();
    fs::remove_dir_all(fixture.site()).unwrap();
    fs::write(fixture.site(), "").unwrap();
    let problem = fixture.problem();
    assert!(matches!(problem, Problem::NotAFolder(_)), "{problem:?}");
    assert_says(&problem, &fixture.site(), "name ");
}

#[test]
fn a_folder_without_files() {
    let fixture = Fixture::new();
    fs::remove_file(fixture.site().join("index.html")).unwrap();
    fs::create_dir_all(fixture.site().join("docs/old")).unwrap();
    fs::write(fixture.site().join(".hidden"), "").unwrap();
    let problem = fixture.problem();
    assert!(matches!(problem, Problem::Empty(_)), "{problem:?}");
    assert_says(&problem, &fixture.site(), "put an index.html there");
}

#[test]
fn a_name_that_is_not_utf8() {
    let fixture = Fixture::new();
    for name in [&b"caf\xe9.html"[..], b"folder\xff"] {
        let path = fixture.site().join(OsStr::from_bytes(name));
        if name.starts_with(b"folder") {
            fs::create_dir(&path).unwrap();
            fs::write(path.join("page.html"), "").unwrap();
        } else {
            fs::write(&path, "").unwrap();
        }
    }
    let problems = fixture.problems();
    let [first @ Problem::NotUtf8(_), second @ Problem::NotUtf8(_)] = problems.as_slice() else {
        panic!("{problems:?}")
    };
    assert_says(
        first,
        &fixture.site().join(OsStr::from_bytes(b"caf\xe9.html")),
        "rename it",
    );
    assert!(first.to_string().contains(r"caf\xE9.html"), "{first}");
    assert_says(
        second,
        &fixture.site().join(OsStr::from_bytes(b"folder\xff")),
        "rename it",
    );
}

#[test]
fn a_path_that_is_too_long() {
    let fixture = Fixture::new();
    let name = "n".repeat(200);
    let folder = fixture
        .site()
        .join(&name)
        .join(&name)
        .join(&name)
        .join(&name)
        .join(&name);
    fs::create_dir_all(&folder).unwrap();
    // "/" and 200 bytes five times, "/" and 18 bytes: 1,024 are allowed, one more is not.
    fs::write(folder.join("p".repeat(18)), "").unwrap();
    generate(&fixture.site(), &fixture.out()).unwrap();
    fs::remove_dir_all(fixture.out()).unwrap();
    fs::create_dir(fixture.out()).unwrap();

    let longer = folder.join("q".repeat(19));
    fs::write(&longer, "").unwrap();
    let problem = fixture.problem();
    assert!(
        matches!(problem, Problem::TooLong { bytes: 1025, .. }),
        "{problem:?}"
    );
    assert_says(&problem, &longer, "shorten it");
}

#[test]
fn links_that_leave() {
    let fixture = Fixture::new();
    let site = fixture.site();
    fs::write(fixture.folder.path().join("secret"), "").unwrap();
    // A folder beside the site whose name begins like the site's.
    fs::create_dir(fixture.folder.path().join("site-old")).unwrap();
    for (link, target) in [
        ("absolute", "/etc/passwd"),
        ("folder", "../site-old"),
        ("relative", "../secret"),
    ] {
        symlink(target, site.join(link)).unwrap();
    }
    symlink("absolute", site.join("through-another")).unwrap();
    let problems = fixture.problems();
    assert_eq!(problems.len(), 4, "{problems:?}");
    for (problem, link) in
        problems
            .iter()
            .zip(["absolute", "folder", "relative", "through-another"])
    {
        assert!(matches!(problem, Problem::LinkLeaves { .. }), "{problem:?}");
        assert_says(problem, &site.join(link), "put a copy in its place");
    }
    assert!(
        problems[0].to_string().contains("\"/etc/passwd\""),
        "{}",
        problems[0]
    );
}

#[test]
fn links_without_end_or_target() {
    let fixture = Fixture::new();
    let site = fixture.site();
    fs::create_dir_all(site.join("a/b")).unwrap();
    fs::create_dir(site.join("other")).unwrap();
    symlink("nowhere", site.join("dead")).unwrap();
    symlink("itself", site.join("itself")).unwrap();
    symlink("../..", site.join("a/b/root")).unwrap();
    symlink(".", site.join("a/self")).unwrap();
    // Neither of these contains itself; they do each other.
    symlink("../two", site.join("other/to-two")).unwrap();
    fs::create_dir(site.join("two")).unwrap();
    symlink("../other", site.join("two/to-other")).unwrap();

    let problems = fixture.problems();
    let is = |problem: &Problem, path: &str| match problem {
        Problem::LinkDead { link, .. } | Problem::LinkLoops { link, .. } => {
            *link == site.join(path)
        }
        _ => false,
    };
    let expected = [
        "a/b/root",
        "a/self",
        "dead",
        "itself",
        "other/to-two/to-other",
        "two/to-other/to-two",
    ];
    assert_eq!(problems.len(), expected.len(), "{problems:?}");
    for (problem, path) in problems.iter().zip(expected) {
        assert!(is(problem, path), "{path}: {problem:?}");
        assert_says(problem, &site.join(path), "delete it");
    }
    assert!(
        matches!(problems[0], Problem::LinkLoops { .. })
            && matches!(problems[2], Problem::LinkDead { .. })
    );
}

#[test]
fn what_is_neither_file_nor_folder() {
    let fixture = Fixture::new();
    let site = fixture.site();
    assert!(
        Command::new("mkfifo")
            .arg(site.join("fifo"))
            .status()
            .unwrap()
            .success()
    );
    let _socket = UnixListener::bind(site.join("socket")).unwrap();
    symlink("fifo", site.join("to-fifo")).unwrap();
    let problems = fixture.problems();
    assert_eq!(problems.len(), 3, "{problems:?}");
    for (problem, name) in problems.iter().zip(["fifo", "socket", "to-fifo"]) {
        assert!(matches!(problem, Problem::Special(_)), "{problem:?}");
        assert_says(problem, &site.join(name), "move it out of the site");
    }
}

/// Permissions mean nothing to root, as which tests run in containers: so the test goes on as somebody else, in a
/// copy of its own program.
#[test]
fn what_cannot_be_read() {
    let fixture = Fixture::new();
    let (file, folder) = (
        fixture.site().join("closed.html"),
        fixture.site().join("closed"),
    );
    fs::write(&file, "").unwrap();
    fs::create_dir(&folder).unwrap();
    for path in [&file, &folder] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
    }
    if fs::read(&file).is_err() {
        return unreadable(&fixture.site(), &fixture.out());
    }
    let program = fixture.folder.path().join("program");
    // By another process: a file that this one has had open for writing, another thread's child may have inherited so,
    // and then it can't be run.
    let copied = Command::new("cp")
        .arg(std::env::current_exe().unwrap())
        .arg(&program)
        .status();
    assert!(copied.unwrap().success());
    fs::set_permissions(fixture.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let output = Command::new(&program)
        .args(["--exact", "unreadable_as_nobody", "--ignored"])
        .env("FIXTURE", fixture.folder.path())
        .current_dir("/")
        .uid(65534)
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&output.stdout);
    assert!(output.contains("1 passed"), "{output}");
}

#[test]
#[ignore = "run by what_cannot_be_read"]
fn unreadable_as_nobody() {
    let folder = PathBuf::from(std::env::var_os("FIXTURE").expect("run by what_cannot_be_read"));
    unreadable(&folder.join("site"), &folder.join("out"));
}

fn unreadable(site: &Path, out: &Path) {
    let problems = generate(site, out).unwrap_err();
    assert_eq!(problems.len(), 2, "{problems:?}");
    for (problem, name) in problems.iter().zip(["closed", "closed.html"]) {
        assert!(matches!(problem, Problem::Unreadable { .. }), "{problem:?}");
        assert_says(problem, &site.join(name), "correct its permissions");
    }
}

#[test]
fn an_output_that_cannot_be_written() {
    let fixture = Fixture::new();
    let out = fixture.folder.path().join("a-file");
    fs::write(&out, "").unwrap();
    let problems = generate(&fixture.site(), &out).unwrap_err();
    assert!(
        matches!(problems.as_slice(), [Problem::Unwritable { .. }]),
        "{problems:?}"
    );
    assert_says(&problems[0], &out.join("site.bin"), "is the disk full");
}

/// All is said at once; and names cannot break out of their line to speak to cargo.
#[test]
fn several_problems_and_an_evil_name() {
    let fixture = Fixture::new();
    let site = fixture.site();
    symlink("/", site.join("a\ncargo::rustc-cfg=evil")).unwrap();
    symlink("nowhere", site.join("b")).unwrap();
    fs::write(site.join(OsStr::from_bytes(b"c\n\xff")), "").unwrap();
    let problems = fixture.problems();
    assert_eq!(problems.len(), 3, "{problems:?}");
    for problem in &problems {
        assert!(!problem.to_string().contains('\n'), "{problem}");
    }
    assert!(
        problems[0]
            .to_string()
            .contains(r"a\ncargo::rustc-cfg=evil"),
        "{}",
        problems[0]
    );
}
