//! Both halves of a ring, of which the backend's writes any index and any byte: the frontend never takes what is not there.

use xenlet_kernel::abi::ring::{REQ_EVENT, REQ_PROD, RSP_EVENT, RSP_PROD};
use xenlet_kernel::addr::PAGE_SIZE;
use xenlet_kernel::hosted::hostile::Script;
use xenlet_kernel::hosted::{self, DOM0, map_grant};
use xenlet_kernel::ring::{BackRing, FrontRing, Protocol};

/// Slots that lie across pages: 112 bytes, as blkif's.
#[derive(Debug)]
struct Numbers;

impl Protocol for Numbers {
    type Request = u32;
    type Response = u32;
    type Slot = [u8; 112];
    const EMPTY: Self::Slot = [0; 112];

    fn emit_request(request: &u32, slot: &mut Self::Slot) {
        slot[108..].copy_from_slice(&request.to_le_bytes());
    }

    fn parse_request(slot: &Self::Slot) -> u32 {
        u32::from_le_bytes([slot[108], slot[109], slot[110], slot[111]])
    }

    fn emit_response(response: &u32, slot: &mut Self::Slot) {
        Self::emit_request(response, slot);
    }

    fn parse_response(slot: &Self::Slot) -> u32 {
        Self::parse_request(slot)
    }
}

/// Does with a ring what `data` says.
///
/// # Panics
/// If the frontend counts wrong, takes more answers than it asked for, or believes an index that can't be.
pub(crate) fn ring(data: &[u8]) {
    let data = data.to_vec();
    hosted::test(async move || {
        let mut script = Script::new(data);
        let pages = 1 << (script.byte() % 4);
        let mut front = FrontRing::<Numbers, _>::shared(pages, DOM0).expect("memory");
        let map =
            |page: &xenlet_kernel::page::SharedPage| map_grant(page.gref(), true).expect("granted");
        let mut back = BackRing::<Numbers, _>::new(front.pages().iter().map(map).collect());
        // How many requests were shown to the backend, and how many answers were taken.
        let (mut pushed, mut shown, mut taken) = (0_u32, 0_u32, 0_u32);
        while !script.is_done() {
            match script.byte() % 10 {
                0 => {
                    for _ in 0..script.byte() {
                        if front.free() > 0 {
                            front.push(&pushed);
                            pushed += 1;
                        }
                    }
                }
                1 => {
                    let _ = front.publish();
                    shown = pushed;
                }
                2 => {
                    for _ in 0..script.byte() {
                        match front.pop() {
                            Ok(Some(_)) => taken += 1,
                            _ => break,
                        }
                    }
                }
                3 => drop(front.arm(script.byte().into())),
                4 => {
                    while let Ok(Some(number)) = back.pop() {
                        back.push(&number);
                    }
                    let _ = back.publish();
                }
                5 => back.push(&script.long()),
                6 => drop(back.publish()),
                7 => drop(back.arm(script.byte().into())),
                8 => {
                    let at = script.one_of(&[REQ_PROD, REQ_EVENT, RSP_PROD, RSP_EVENT]);
                    let (value, head) = (script.long(), back.pages()[0].as_ref());
                    let near = head.load_acquire(at).wrapping_add(value >> 24);
                    head.store_release(at, if value & 1 == 0 { near } else { value });
                }
                _ => {
                    let page = usize::from(script.byte()) % pages;
                    let at = usize::from(script.word()) % PAGE_SIZE;
                    back.pages()[page].as_ref().write(at, &[script.byte()]);
                }
            }
            assert!(taken <= shown, "{taken} answers to {shown} requests");
            assert_eq!(front.outstanding(), pushed - taken);
            assert_eq!(front.free(), front.slots() - front.outstanding());
            if let Ok(count) = front.available() {
                assert!(count <= shown - taken, "{count} of {}", shown - taken);
            }
        }
    });
}
