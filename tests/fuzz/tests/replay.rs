//! Every input that a fuzzer found interesting, again: those of the corpus, and what once went wrong, by name.

#![forbid(unsafe_code)]

use xenlet_fuzz::{Corpus, Target};

/// Runs all inputs of a target, and says which one it was if it panics.
fn replay(name: &str) {
    let target = Target::find(name).expect("a target");
    let corpus = Corpus::read(&Corpus::path(name)).expect("a corpus");
    assert!(
        corpus.inputs().len() > 0,
        "tests/fuzz/corpus/{name}.hex is empty"
    );
    for (line, input) in (1..).zip(corpus.inputs()) {
        let ended = std::panic::catch_unwind(|| (target.run)(input));
        assert!(
            ended.is_ok(),
            "tests/fuzz/corpus/{name}.hex:{line}: it panics"
        );
    }
}

/// A test for each target.
macro_rules! replays {
    ($($name:ident)*) => {
        $(#[test] fn $name() { replay(stringify!($name)); })*

        #[test]
        fn no_target_is_left_out() {
            let all: Vec<_> = xenlet_fuzz::TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(all, [$(stringify!($name)),*]);
        }
    };
}

replays! {
    console xenstored toolstack grants ring netif blkif blackbox store ext4 frames dhcp http tls pem words
}
