//! What a backend can see: the bytes of requests, and zeros. Toolstacks say `trusted=0` of a backend that must not see more (XSA-403);
//! nothing more is shown to any, so the word is not even read.

use super::*;
use crate::hosted::hostile::{self, grants};
use crate::proto::Request;
use crate::{BlockDevice, Disk};
use xenlet_kernel::hosted::{assert_wiped, map_grant, mark_secret, store};
use xenlet_kernel::page::Pages;
use xenlet_kernel::run::spawn;

/// A buffer of secrets, of which the first `len` bytes count and are `byte`, if there is one.
fn secrets(len: usize, byte: Option<u8>) -> Pages {
    let mut pages = Pages::new(len.next_multiple_of(PAGE_SIZE)).unwrap();
    pages.chunks_mut().for_each(mark_secret);
    pages.resize(len).unwrap();
    if let Some(byte) = byte {
        pages.chunks_mut().for_each(|chunk| chunk.fill(byte));
    }
    pages
}

/// All that can be read in the pages of a request.
fn shown(request: &Request) -> Vec<u8> {
    // The first page of an indirect request has its segments.
    let skip = usize::from(matches!(request, Request::Indirect(_)));
    let pages = grants(request).into_iter().skip(skip);
    let read = |gref| {
        let mut bytes = [0; PAGE_SIZE];
        map_grant(gref, false).unwrap().as_ref().read(0, &mut bytes);
        bytes
    };
    pages.flat_map(read).collect()
}

#[test]
fn nothing_but_the_request_is_shown() {
    let cases = [None, Some("0"), Some("1")]
        .into_iter()
        .flat_map(|trusted| [false, true].map(|persistent| (trusted, persistent)));
    for (trusted, persistent) in cases {
        hosted::test(async move || {
            let config = Config {
                persistent,
                ..Config::default()
            };
            let (number, front) = (config.number, config.ends().front());
            let blkback = hostile::attach(config, Vec::new());
            if let Some(trusted) = trusted {
                store::write(&format!("{front}/trusted"), trusted);
            }
            let disk = Disk::connect(number).await.unwrap();
            // Twice, so that what was used once is used again.
            for _ in 0..2 {
                let tasks = [512, 5120, 30 * PAGE_SIZE].map(|len| {
                    let disk = disk.clone();
                    spawn(async move {
                        disk.read(0, secrets(len, None)).await.1.unwrap();
                        disk.write(8, secrets(len, Some(2))).await.1.unwrap();
                    })
                });
                for _ in 0..20 {
                    sleep(Duration::from_millis(1)).await;
                    blkback.device().tell(|ring| {
                        while let Some(request) = ring.asked.pop_front() {
                            let bytes = shown(&request);
                            assert!(
                                !bytes.is_empty() && bytes.iter().all(|byte| [0, 2].contains(byte))
                            );
                            ring.answer(&request, |_| {});
                        }
                    });
                    assert_wiped();
                }
                for task in tasks {
                    task.await;
                }
            }
            assert_eq!(disk.link(), crate::Link::Up);
        });
    }
}
