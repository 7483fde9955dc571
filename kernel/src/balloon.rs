//! The balloon: memory is given back to Xen and asked for again, as `xl mem-set` wants it.
//!
//! The toolstack writes how much the domain is to have to `memory/target`, in KiB. What it is to have less is taken out of the heap in runs
//! of 512 KiB, wiped and given to Xen; what is in use stays, and so do [`RESERVE`] bytes. A domain never has more than it was created
//! with. In a saved domain the runs are missing as they were.
//!
//! It is an application's choice to call [`start`]: an image without it has nothing of this.

/// Bytes that stay free, whatever the toolstack wants.
pub const RESERVE: usize = 4 << 20;

/// Begins to do what the toolstack says of this domain's memory, from here on. On the host's own target nobody says anything.
pub fn start() {
    #[cfg(not(xenlet = "unix"))]
    crate::run::spawn(follow::follow());
}

#[cfg(not(xenlet = "unix"))]
mod follow {
    use super::RESERVE;
    use crate::limit::RateLimit;
    use crate::memory;
    use crate::page::AbsentPages;
    use crate::run::yield_now;
    use crate::time::{Duration, timeout};
    use crate::xenstore::{self, Error};
    use alloc::vec::Vec;

    const TARGET: &str = "memory/target";

    /// How long until what could not be done is tried again.
    const PAUSE: Duration = Duration::from_secs(5);

    /// Follows the target, again from the start in each new place in xenstore.
    pub(super) async fn follow() {
        let mut absent = Vec::new();
        loop {
            match follow_here(&mut absent).await {
                Err(Error::Restored) => {}
                Err(e) => {
                    log::warn!("memory: cannot watch {TARGET}: {e}; `xl mem-set` will not work");
                    return;
                }
                Ok(never) => match never {},
            }
        }
    }

    async fn follow_here(
        absent: &mut Vec<AbsentPages>,
    ) -> Result<core::convert::Infallible, Error> {
        let mut watch = xenstore::watch(TARGET).await?;
        let lines = RateLimit::new(8);
        let mut reached = true;
        // What was said last is not said again.
        let mut said = None;
        loop {
            match reached {
                true => watch.changed().await?,
                false => timeout(PAUSE, watch.changed()).await.unwrap_or(Ok(()))?,
            }
            let target = match xenstore::read(TARGET).await {
                Ok(text) => text
                    .parse::<usize>()
                    .ok()
                    .and_then(|kib| kib.checked_mul(1024)),
                Err(e @ (Error::Restored | Error::Broken)) => return Err(e),
                Err(_) => None,
            };
            let (Some(target), Some(before)) = (target, memory::stats()) else {
                continue;
            };
            reached = reach(target, absent).await;
            let now = memory::stats().map_or(0, |stats| stats.total);
            if said != Some((target, now)) && (now != before.total || !reached) {
                said = Some((target, now));
                let why = match reached {
                    true => "",
                    false if now > target => ": less is free",
                    false => ": Xen has no more for this domain",
                };
                if lines.take().is_some() {
                    log::info!(
                        "memory: {} KiB, of {} KiB that the toolstack wants{why}",
                        now / 1024,
                        target / 1024
                    );
                }
            }
        }
    }

    /// Has as many bytes as `target` says, or as near as it can be, with less than a run more. Whether it is so.
    async fn reach(target: usize, absent: &mut Vec<AbsentPages>) -> bool {
        loop {
            let Some(stats) = memory::stats() else {
                return true;
            };
            if stats.total >= target.saturating_add(AbsentPages::BYTES) {
                // Of what is free some is in pieces, and some is gone when others have had their turn.
                if stats.free < RESERVE + AbsentPages::BYTES || absent.try_reserve(1).is_err() {
                    return false;
                }
                match AbsentPages::give() {
                    Ok(run) => absent.push(run),
                    Err(_) => return false,
                }
            } else if stats.total < target
                && let Some(run) = absent.pop()
            {
                if let Err(run) = run.fill() {
                    absent.push(run);
                    return false;
                }
            } else {
                return true;
            }
            yield_now().await;
        }
    }
}

#[cfg(all(test, not(xenlet = "unix")))]
mod tests {
    use super::*;
    use crate::hosted::{self, store};
    use crate::memory;
    use crate::suspend;
    use crate::time::{Duration, sleep};

    const MIB: usize = 1 << 20;

    fn set(target: &str) {
        store::write(&format!("{}/memory/target", store::HOME), target);
    }

    /// Sets a target in MiB, and gives what the domain has then.
    async fn total(target: usize) -> usize {
        set(&(target * 1024).to_string());
        sleep(Duration::from_secs(6)).await;
        memory::stats().unwrap().total
    }

    #[test]
    fn memory_goes_and_comes() {
        hosted::test(async || {
            hosted::set_free_memory(Some(64 * MIB));
            start();
            assert_eq!(total(64).await, 64 * MIB);
            for _ in 0..3 {
                assert_eq!(total(32).await, 32 * MIB);
                assert_eq!(total(48).await, 48 * MIB);
                assert_eq!(total(100).await, 64 * MIB, "no more than at first");
            }
            // Less than a run too much, never too little.
            assert_eq!(total(64).await, 64 * MIB);
            set(&(63 * 1024 + 1).to_string());
            sleep(Duration::from_secs(6)).await;
            assert_eq!(memory::stats().unwrap().total, 63 * MIB + MIB / 2);
            assert!(hosted::console_text().contains("memory: 32768 KiB, of 32768 KiB"));
        });
    }

    #[test]
    fn what_is_in_use_and_a_reserve_stay() {
        hosted::test(async || {
            hosted::set_free_memory(Some(16 * MIB));
            start();
            assert_eq!(total(1).await, RESERVE);
            sleep(Duration::from_secs(100)).await;
            let text = hosted::console_text();
            assert_eq!(text.matches("less is free").count(), 1, "{text}");
            // What becomes free later goes too.
            hosted::set_free_memory(Some(15 * MIB));
            sleep(Duration::from_secs(10)).await;
            hosted::set_free_memory(Some(16 * MIB));
            assert_eq!(total(16).await, 16 * MIB);
        });
    }

    #[test]
    fn xen_has_no_more() {
        hosted::test(async || {
            hosted::set_free_memory(Some(16 * MIB));
            start();
            assert_eq!(total(8).await, 8 * MIB);
            hosted::set_scarce(true);
            assert_eq!(total(16).await, 8 * MIB);
            hosted::set_scarce(false);
            sleep(Duration::from_secs(6)).await;
            assert_eq!(memory::stats().unwrap().total, 16 * MIB, "tried again");
        });
    }

    #[test]
    fn it_is_the_same_in_a_restored_domain() {
        hosted::test(async || {
            hosted::set_free_memory(Some(16 * MIB));
            start();
            assert_eq!(total(8).await, 8 * MIB);
            hosted::restore(|| set("8192"));
            suspend::about_to().await.resumed().await;
            sleep(Duration::from_secs(6)).await;
            assert_eq!(memory::stats().unwrap().total, 8 * MIB);
            assert_eq!(total(12).await, 12 * MIB);
        });
    }

    /// Whatever it says, nothing happens that was not asked for.
    #[test]
    fn nonsense_is_left_alone() {
        hosted::test(async || {
            hosted::set_free_memory(Some(16 * MIB));
            start();
            for text in [
                "",
                "x",
                "-1",
                "18446744073709551615",
                "1e9",
                "99999999999999999999",
            ] {
                set(text);
                sleep(Duration::from_secs(6)).await;
                assert_eq!(memory::stats().unwrap().total, 16 * MIB, "{text}");
            }
            assert_eq!(total(8).await, 8 * MIB);
        });
    }
}
