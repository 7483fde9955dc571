//! What it costs to send a request through a ring and to have its answer: `cargo bench -p xenlet-kernel`.
//!
//! Both halves are here, as they are on the hosted target. The least of many rounds counts: what else the machine does
//! only ever adds.
#![forbid(unsafe_code)]

use std::hint::black_box;
use std::time::Instant;
use xenlet_kernel::hosted::{self, DOM0, MappedPage, map_grant};
use xenlet_kernel::page::SharedPage;
use xenlet_kernel::ring::{BackRing, FrontRing, Protocol};

const ROUNDS: usize = 20_000;

/// Requests and responses of the sizes that netfront's have.
#[derive(Debug)]
struct Numbers;

impl Protocol for Numbers {
    type Request = u64;
    type Response = u32;
    type Slot = [u8; 12];
    const EMPTY: [u8; 12] = [0; 12];

    fn emit_request(request: &u64, slot: &mut [u8; 12]) {
        slot[..8].copy_from_slice(&request.to_le_bytes());
    }

    fn parse_request(slot: &[u8; 12]) -> u64 {
        slot.first_chunk()
            .map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    fn emit_response(response: &u32, slot: &mut [u8; 12]) {
        slot[..4].copy_from_slice(&response.to_le_bytes());
    }

    fn parse_response(slot: &[u8; 12]) -> u32 {
        slot.first_chunk()
            .map_or(0, |bytes| u32::from_le_bytes(*bytes))
    }
}

type Rings = (
    FrontRing<Numbers, SharedPage>,
    BackRing<Numbers, MappedPage>,
);

fn rings() -> Rings {
    let front = FrontRing::shared(1, DOM0).expect("a page");
    let map = |page: &SharedPage| map_grant(page.gref(), true).expect("it is granted");
    let back = BackRing::new(front.pages().iter().map(map).collect());
    (front, back)
}

/// Sends so many requests at once, answers them, takes the answers.
fn round((front, back): &mut Rings, batch: u32) {
    for number in 0..batch {
        front.push(&black_box(u64::from(number)));
    }
    black_box(front.publish());
    for number in 0..batch {
        let request = back.pop().expect("an honest producer");
        assert_eq!(request, Some(u64::from(number)));
        back.push(&number);
    }
    black_box(back.publish());
    for number in 0..batch {
        let response = front.pop().expect("an honest producer");
        assert_eq!(response, Some(number));
    }
}

fn main() {
    hosted::test(async || {
        let mut rings = rings();
        for batch in [1, 32, 128] {
            let least = (0..ROUNDS)
                .map(|_| {
                    let start = Instant::now();
                    round(&mut rings, batch);
                    start.elapsed()
                })
                .min()
                .unwrap_or_default();
            let each = least.as_secs_f64() * 1e9 / f64::from(batch);
            println!("there and back, {batch} at once: {each:.1} ns");
        }
    });
}
