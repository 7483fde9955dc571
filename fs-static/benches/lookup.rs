//! How long a lookup takes in a tree of 1,000 files: `cargo bench -p xenlet-fs-static`.
//!
//! Every path in turn, in an order that no prefetcher guesses. The least of many rounds counts: what else the machine
//! does only ever adds.
#![forbid(unsafe_code)]

use std::hint::black_box;
use std::time::Instant;
use xenlet_fs_static::{Accept, Coding, Entry, File, Tree, Variant, generated::phf};

const FILES: usize = 1000;
const ROUNDS: usize = 2000;

fn main() {
    let tree = tree();
    let mut paths: Vec<String> = tree
        .files()
        .iter()
        .map(|file| file.path().to_owned())
        .collect();
    shuffle(&mut paths);
    let missing: Vec<String> = paths
        .iter()
        .map(|path| path.replace("page", "pagf"))
        .collect();

    report("found", &paths, |path| assert!(tree.get(path).is_some()));
    report("not found", &missing, |path| {
        assert!(tree.get(path).is_none())
    });
    report("found and negotiated", &paths, |path| {
        let Some(Entry::File(file)) = tree.get(path) else {
            panic!("{path}")
        };
        let accept = Accept::parse(black_box(b"gzip, deflate, br, zstd"));
        black_box(file.negotiate(accept));
    });
}

fn report(name: &str, paths: &[String], mut lookup: impl FnMut(&str)) {
    let mut round = || {
        let start = Instant::now();
        for path in paths {
            lookup(black_box(path));
        }
        start.elapsed().as_secs_f64() * 1e9 / paths.len() as f64
    };
    let mut rounds: Vec<f64> = (0..ROUNDS).map(|_| round()).collect();
    rounds.sort_by(f64::total_cmp);
    println!(
        "{name}: {:.1} ns (median {:.1}), {FILES} files",
        rounds[0],
        rounds[ROUNDS / 2]
    );
}

/// A tree as the build half would write it, made at run time and never freed.
fn tree() -> Tree {
    let files: Vec<File> = (0..FILES)
        .map(|i| {
            let path: &'static str = format!("/section-{:02}/page-{i:04}.html", i % 20).leak();
            let variant = |coding, len| Variant::new(coding, &[0; 4096][..len], "\"\"", b"", 0, 0);
            let gzip = Some(variant(Coding::Gzip, 1500));
            File::new(
                path,
                "text/html",
                variant(Coding::Identity, 4096),
                gzip,
                Some(variant(Coding::Brotli, 1200)),
            )
        })
        .collect();
    let files: &'static [File] = files.leak();

    let keys: Vec<&'static str> = files.iter().map(File::path).collect();
    let state = phf_generator::generate_hash(&keys);
    let entries: Vec<_> = state
        .map
        .iter()
        .map(|&i| (keys[i], Entry::File(&files[i])))
        .collect();
    let map = phf::Map {
        key: state.key,
        disps: state.disps.leak(),
        entries: entries.leak(),
    };
    Tree::new(Box::leak(Box::new(map)), files, None, 0)
}

/// Fisher and Yates's, by a generator of Knuth's: the same order in every run.
fn shuffle(paths: &mut [String]) {
    let mut state = 1u64;
    for i in (1..paths.len()).rev() {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        paths.swap(i, (state >> 33) as usize % (i + 1));
    }
}
