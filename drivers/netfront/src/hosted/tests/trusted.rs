//! What a backend can see: the bytes of frames, and zeros. Toolstacks say `trusted=0` of a backend that must not see more (XSA-403);
//! nothing more is shown to any, so the word is not even read.

use super::{Config, transmit};
use crate::hosted::hostile;
use crate::proto::TxRequest;
use crate::{Link, Netfront};
use xenlet_kernel::addr::{GrantRef, PAGE_SIZE};
use xenlet_kernel::hosted::{self, assert_wiped, map_grant, store};
use xenlet_kernel::page::Page;

fn shown(gref: GrantRef) -> [u8; PAGE_SIZE] {
    let mut bytes = [0; PAGE_SIZE];
    map_grant(gref, false).unwrap().as_ref().read(0, &mut bytes);
    bytes
}

#[test]
fn nothing_but_the_frame_is_shown() {
    for trusted in [None, Some("0"), Some("1")] {
        hosted::test(async move || {
            // Pages that were used before.
            drop((0..64).map(|_| Page::new().unwrap()).collect::<Vec<_>>());
            let netback = hostile::attach(Config::default(), Vec::new());
            if let Some(trusted) = trusted {
                let front = Config::default().ends().front();
                store::write(&format!("{front}/trusted"), trusted);
            }
            let mut vif = Netfront::connect(0).await.unwrap();
            for len in [60, 1000, 9000] {
                assert!(transmit(&mut vif, &vec![2; len]));
            }
            vif.flush();
            netback.device().tell(|rings| {
                let mut left = [60, 1000, 4096, 4096, 9000 - 8192].into_iter();
                while let Ok(Some(TxRequest::Data(slot))) = rings.tx.pop() {
                    let bytes = shown(slot.gref);
                    let (frame, rest) = bytes.split_at(left.next().unwrap());
                    assert!(frame.iter().all(|byte| *byte == 2));
                    assert!(rest.iter().all(|byte| *byte == 0));
                }
                assert_eq!(left.next(), None);
                while let Ok(Some(posted)) = rings.rx.pop() {
                    assert_eq!(shown(posted.gref), [0; PAGE_SIZE]);
                }
            });
            assert_wiped();
            assert_eq!(vif.link(), Link::Up);
        });
    }
}
