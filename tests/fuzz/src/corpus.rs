//! The inputs of a target: a file with a line for each, in hexadecimal digits.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// The inputs of one target, the shortest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Corpus(BTreeSet<(usize, Vec<u8>)>);

impl Corpus {
    /// Where those of `target` are in the tree.
    pub fn path(target: &str) -> PathBuf {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
        folder.join(target).with_extension("hex")
    }

    /// Reads a file of inputs; one that is not there has none.
    ///
    /// # Errors
    /// When it can't be read; `InvalidData` names the line that is not what it should be.
    pub fn read(path: &Path) -> io::Result<Self> {
        let text = match fs::read_to_string(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
            text => text?,
        };
        let mut corpus = Self::default();
        for (number, line) in (1..).zip(text.lines()) {
            let bytes = from_hex(line).ok_or_else(|| {
                let what = format!(
                    "{}:{number}: not pairs of hexadecimal digits",
                    path.display()
                );
                io::Error::new(io::ErrorKind::InvalidData, what)
            })?;
            corpus.add(bytes);
        }
        Ok(corpus)
    }

    /// Adds an input.
    pub fn add(&mut self, input: Vec<u8>) {
        self.0.insert((input.len(), input));
    }

    /// The inputs.
    pub fn inputs(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.0.iter().map(|(_, input)| &input[..])
    }

    /// The text of the file.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for input in self.inputs() {
            for byte in input {
                let _ = write!(text, "{byte:02x}");
            }
            text.push('\n');
        }
        text
    }
}

fn from_hex(line: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = line.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| {
        let digit = |byte: u8| {
            char::from(byte)
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        };
        Some(digit(pair[0])? << 4 | digit(pair[1])?)
    };
    rest.is_empty().then(|| pairs.iter().map(byte).collect())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let path = std::env::temp_dir().join(format!("xenlet-corpus-{}", std::process::id()));
        assert_eq!(Corpus::read(&path).unwrap(), Corpus::default());
        let mut corpus = Corpus::default();
        for input in [&b"second"[..], b"", b"\x00\xff", b"\x00\xff"] {
            corpus.add(input.to_vec());
        }
        assert_eq!(corpus.text(), "\n00ff\n7365636f6e64\n");
        fs::write(&path, corpus.text()).unwrap();
        assert_eq!(Corpus::read(&path).unwrap(), corpus);
        for wrong in ["00\n0\n", "00\n0x\n", "00\n-1\n"] {
            fs::write(&path, wrong).unwrap();
            let error = Corpus::read(&path).unwrap_err().to_string();
            assert!(error.contains(":2: "), "{error}");
        }
        fs::remove_file(&path).unwrap();
    }
}
