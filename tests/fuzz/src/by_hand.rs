//! What can be done with inputs without a fuzzer.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::process::ExitCode;
use std::{fs, io};
use xenlet_fuzz::{Corpus, TARGETS, Target};

const USAGE: &str = "usage: fuzz --list
       fuzz TARGET FILE…             run each file as an input
       fuzz --unpack TARGET FOLDER   write the inputs of the corpus there, a file for each
       fuzz --pack TARGET FOLDER     make the files there the corpus";

pub(crate) fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["--list"] => {
            for Target { name, about, .. } in TARGETS {
                println!("{name:10} {about}");
            }
            Ok(())
        }
        ["--unpack", target, folder] => find(target).and_then(|t| unpack(t, Path::new(folder))),
        ["--pack", target, folder] => find(target).and_then(|t| pack(t, Path::new(folder))),
        [target, ref files @ ..] if !files.is_empty() => {
            find(target).and_then(|target| run(target, files))
        }
        _ => Err(io::Error::other(USAGE)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn find(name: &str) -> io::Result<Target> {
    Target::find(name).ok_or_else(|| {
        io::Error::other(format!(
            "{name}: no such target; --list says which there are"
        ))
    })
}

fn run(target: Target, files: &[&str]) -> io::Result<()> {
    for file in files {
        (target.run)(&read(Path::new(file))?);
        println!("{file}: survived");
    }
    Ok(())
}

fn unpack(target: Target, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for input in Corpus::read(&Corpus::path(target.name))?.inputs() {
        let mut hasher = DefaultHasher::new();
        input.hash(&mut hasher);
        fs::write(folder.join(format!("{:016x}", hasher.finish())), input)?;
    }
    Ok(())
}

fn pack(target: Target, folder: &Path) -> io::Result<()> {
    let mut corpus = Corpus::default();
    for entry in fs::read_dir(folder)? {
        corpus.add(read(&entry?.path())?);
    }
    let path = Corpus::path(target.name);
    fs::write(&path, corpus.text())?;
    println!("{}: {} inputs", path.display(), corpus.inputs().len());
    Ok(())
}

/// A file, with an error that names it.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    fs::read(path).map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))
}
