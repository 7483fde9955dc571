//! A xenstored that answers something else: bytes, lengths, types, numbers and errors, too much or nothing.

use crate::hosted::hostile::Script;
use crate::hosted::{self, console_text, store};
use crate::time::{Duration, sleep, timeout};
use crate::xenstore::{directory, read, remove, transaction, watch, watches, write};
use crate::{balloon, xenbus};
use std::cell::RefCell;
use std::rc::Rc;

/// What it may say why it refuses.
const ERRORS: [&[u8]; 6] = [
    b"ENOENT\0",
    b"EAGAIN\0",
    b"EACCES\0",
    b"E2BIG\0",
    b"no such error\0",
    b"",
];

/// How long the guest waits for each answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Runs a guest that asks xenstored for all that guests do, and gets answers that `data` decides.
///
/// # Panics
/// If the guest does, waits for what can't come, keeps a watch, or says more than one line when the connection breaks.
pub fn xenstored(data: &[u8]) {
    let data = data.to_vec();
    hosted::test(async move || {
        let script = Script::new(data);
        sleep(Duration::from_millis(1)).await;
        balloon::start();
        store::write("/local/domain/1/device/vif/0/backend", "data");
        let before = watches();
        let script = Rc::new(RefCell::new(script));
        let liar = Rc::clone(&script);
        store::mangle(Box::new(move |message| {
            change(message, &mut liar.borrow_mut())
        }));
        for round in 0..64 {
            ask(round).await;
            if script.borrow().is_done() {
                break;
            }
            // Between two answers, as at any other time.
            if round % 4 == 3 {
                poke(&mut script.borrow_mut());
            }
        }
        sleep(PATIENCE).await;
        // The balloon's may have ended, or never have been set.
        assert!(watches() <= before + 1, "{} watches", watches());
        let said = console_text().matches("xenstored sent").count();
        assert!(said <= 1, "{said} lines");
    });
}

/// Asks for one thing.
async fn ask(round: u32) {
    let path = format!("data/{}", round % 3);
    match round % 7 {
        0 => drop(timeout(PATIENCE, write(&path, "x")).await),
        1 => drop(timeout(PATIENCE, read(&path)).await),
        2 => drop(timeout(PATIENCE, directory("data")).await),
        3 => drop(timeout(PATIENCE, transaction(async |tx| tx.write("t", "1").await)).await),
        4 => drop(timeout(PATIENCE, async { watch("data").await?.changed().await }).await),
        5 => drop(timeout(PATIENCE, remove(&path)).await),
        _ => {
            let _ = timeout(PATIENCE, xenbus::list("vif")).await;
            let _ = timeout(PATIENCE, xenbus::Frontend::open("vif", 0)).await;
        }
    }
}

/// Makes something else of a message.
fn change(message: &mut Vec<u8>, script: &mut Script) {
    /// Bytes of `struct xsd_sockmsg`: type, request, transaction, length.
    const HEAD: usize = 16;
    if script.is_done() {
        return;
    }
    match script.byte() % 16 {
        8 => {
            let at = usize::from(script.word()) % message.len();
            message[at] = script.byte();
        }
        9 => {
            let at = usize::from(script.byte() % 4) * 4;
            message[at..at + 4].copy_from_slice(&script.long().to_le_bytes());
        }
        10 => message.truncate(usize::from(script.word()) % message.len()),
        11 => message.extend(message.clone()),
        12 => {
            let error = script.one_of(&ERRORS);
            message[..4].copy_from_slice(&16_u32.to_le_bytes());
            replace(message, error);
        }
        13 => replace(
            message,
            &vec![script.byte(); usize::from(script.word() % 4200)],
        ),
        14 => {
            message[..4].copy_from_slice(&15_u32.to_le_bytes());
            replace(message, format!("path\0{}\0", script.byte() % 8).as_bytes());
        }
        15 => message.clear(),
        _ => {}
    }

    fn replace(message: &mut Vec<u8>, payload: &[u8]) {
        message.truncate(HEAD);
        message.extend(payload);
        let len = u32::try_from(payload.len()).unwrap_or(0);
        message[12..16].copy_from_slice(&len.to_le_bytes());
    }
}

/// Writes somewhere in the page, one time in eight.
fn poke(script: &mut Script) {
    let value = script.long();
    match script.byte() {
        0xf0.. => store::write_producer(value),
        0xe0.. => store::write_page(usize::from(script.word()), &value.to_le_bytes()),
        _ => {}
    }
}
