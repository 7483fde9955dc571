//! Damaged images: an error for what is damaged, and nothing worse.

use super::image::{Disk, Image, Tree, block_on, noise};
use crate::files::{Entry, Error, Files};
use proptest::prelude::*;
use std::sync::OnceLock;

/// What a lookup of everything may cost, at most.
const REQUESTS: u64 = 20_000;

/// An image with folders of several blocks, trees of extents of two levels, and links.
fn tree() -> Tree {
    let mut tree = Tree::new();
    for file in 0..40 {
        tree.file(
            &format!("folder/{file}-{}", "n".repeat(60)),
            &noise(file, 100 * file),
        );
    }
    let pieces = (0..30)
        .map(|piece| (piece * 9000, noise(piece, 500)))
        .collect();
    tree.sparse("many", 30 * 9000, pieces);
    tree.link("link", "folder/../many");
    tree.link("far", &far());
    tree
}

/// Where a link leads that needs a block of its own.
fn far() -> String {
    format!("{}many", "folder/../".repeat(20))
}

struct Sample {
    image: Vec<u8>,
    paths: Vec<(String, Vec<u8>)>,
    /// Which blocks of 1 KiB hold contents of files and links, where no checksum is.
    data: Vec<bool>,
}

fn sample(options: &[&str], indexed: bool) -> Sample {
    let tree = tree();
    let mut image = Image::sized(&tree, options, "700k");
    if indexed {
        image.index_folders();
    }
    let mut paths: Vec<_> = tree.files().clone().into_iter().collect();
    let many = tree.files()["/many"].clone();
    paths.push(("/link".into(), many.clone()));
    paths.push(("/far".into(), many));
    let far = far();
    let contents: Vec<&[u8]> = paths
        .iter()
        .flat_map(|(_, content)| content.chunks(1024))
        .chain([far.as_bytes()])
        .filter(|chunk| chunk.iter().any(|byte| *byte != 0))
        .collect();
    let data = image
        .0
        .chunks(1024)
        .map(|block| contents.iter().any(|chunk| block.starts_with(chunk)))
        .collect();
    Sample {
        image: image.0,
        paths,
        data,
    }
}

fn with_checksums() -> &'static Sample {
    static SAMPLE: OnceLock<Sample> = OnceLock::new();
    SAMPLE.get_or_init(|| sample(&["-t", "ext4", "-b", "1024", "-O", "^has_journal"], true))
}

fn without_checksums() -> &'static [Sample] {
    static SAMPLES: OnceLock<Vec<Sample>> = OnceLock::new();
    SAMPLES.get_or_init(|| {
        let plain = "^has_journal,^metadata_csum";
        vec![
            sample(&["-t", "ext4", "-b", "1024", "-O", plain], true),
            sample(&["-t", "ext4", "-b", "1024", "-O", plain], false),
            sample(&["-t", "ext2", "-b", "1024"], false),
        ]
    })
}

/// Reads everything: what was found, or why not.
fn read_all(image: Vec<u8>, sample: &Sample) -> Vec<Result<Vec<u8>, Error>> {
    let disk = Disk::new(image);
    let files = match block_on(Files::mount(&disk, 64 * 1024)) {
        Ok(files) => files,
        Err(error) => return vec![Err(error)],
    };
    let read = |path: &str| {
        let Entry::File(file) = block_on(files.open(path))? else {
            return Err(Error::NotFound);
        };
        // A length may be anything, as with a sparse file: read as much as there was, and the end.
        let mut bytes = vec![0; 300_000];
        let count = block_on(file.read_at(0, &mut bytes))?;
        bytes.truncate(count);
        for offset in [
            file.len().saturating_sub(1),
            file.len() / 2,
            1 << 32,
            1 << 44,
            u64::MAX,
        ] {
            block_on(file.chunk(offset, u64::MAX))?;
        }
        Ok(bytes)
    };
    let all = sample.paths.iter().map(|(path, _)| read(path)).collect();
    let (used, limit) = files.cache_usage();
    assert!(used <= limit);
    assert!(disk.requests() < REQUESTS, "{} requests", disk.requests());
    all
}

#[test]
fn the_samples_are_sound() {
    for sample in without_checksums().iter().chain([with_checksums()]) {
        let read = read_all(sample.image.clone(), sample);
        for ((path, content), read) in sample.paths.iter().zip(read) {
            if content.is_empty() {
                continue;
            }
            assert!(read.as_ref() == Ok(content), "{path}: {:?}", read.err());
        }
    }
}

/// Where checksums are, one byte that changed is found, or does not matter.
#[test]
fn any_byte_of_what_has_checksums() {
    let sample = with_checksums();
    let mut found = 0;
    let metadata = (0..sample.image.len()).filter(|at| !sample.data[at / 1024]);
    // All of what is used, and a sample of the rest.
    let used = |at: &usize| sample.image[*at] != 0 || at.is_multiple_of(97);
    for (turn, at) in metadata.filter(used).enumerate().step_by(7) {
        let mut image = sample.image.clone();
        image[at] ^= 1 << (turn % 8);
        for ((path, content), read) in sample.paths.iter().zip(read_all(image, sample)) {
            match read {
                Ok(bytes) => assert!(bytes == *content, "byte {at}: {path} is wrong"),
                Err(Error::NotFound) => assert!(content.is_empty(), "byte {at}: {path} is gone"),
                Err(_) => found += 1,
            }
        }
    }
    assert!(found > 1000, "{found}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Without checksums any number can be anything: it is read, or it is an error, within bounds.
    #[test]
    fn any_numbers_anywhere(
        which in 0usize..3,
        changes in prop::collection::vec(
            (any::<prop::sample::Index>(), prop_oneof![
                any::<[u8; 4]>(),
                Just([0xff; 4]),
                Just([0; 4]),
                (0u32..800).prop_map(u32::to_le_bytes),
            ]),
            1..20,
        ),
    ) {
        let sample = &without_checksums()[which];
        // Most of an image is empty, and changes there say nothing.
        let used: Vec<usize> = (0..sample.image.len() / 4)
            .filter(|at| !sample.data[at / 256] && sample.image[at * 4..at * 4 + 4] != [0; 4])
            .collect();
        let mut image = sample.image.clone();
        for (index, bytes) in changes {
            let at = used[index.index(used.len())] * 4;
            image[at..at + 4].copy_from_slice(&bytes);
        }
        read_all(image, sample);
    }

    /// Anything at all behind a superblock.
    #[test]
    fn noise_behind_a_superblock(seed in any::<usize>(), which in 0usize..3) {
        let sample = &without_checksums()[which];
        let mut image = noise(seed | 1, 256 * 1024);
        image[1024..2048].copy_from_slice(&sample.image[1024..2048]);
        read_all(image, sample);
    }
}
