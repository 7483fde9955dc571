//! Xen's watchdog (`SCHEDOP_watchdog` of `xen/sched.h`): it ends a domain whose loop stands still.
//!
//! `watchdog=30` on the command line turns it on, with so many seconds. It is off otherwise, because to Xen a domain that an
//! operator has paused stands still too. What happens then is `on_watchdog` of the domain's configuration.

/// Seconds that make sense: a domain that shares its processor may not run for some.
#[cfg(not(xenlet = "unix"))]
const SECONDS: core::ops::RangeInclusive<u32> = 2..=3600;

/// Tells Xen again and again that the loop goes round. Runs as a task of every domain.
#[cfg(not(xenlet = "unix"))]
pub(crate) async fn serve() {
    use crate::suspend::{self, Resumed};
    use crate::{cmdline, platform, time};
    let Some(text) = cmdline::get("watchdog") else {
        return;
    };
    let Some(seconds) = text.parse().ok().filter(|secs| SECONDS.contains(secs)) else {
        let (least, most) = (SECONDS.start(), SECONDS.end());
        log::warn!(
            "watchdog={text}: not a number of seconds from {least} to {most}; there is no watchdog"
        );
        return;
    };
    // Zero makes one, of which Xen says the number.
    let mut id = 0;
    loop {
        match platform::watchdog(id, seconds) {
            Some(given) if id == 0 => id = given,
            Some(_) => {}
            None => {
                log::warn!("Xen refuses a watchdog");
                return;
            }
        }
        // Xen's timer went on while the domain was suspended, and a restored domain has none.
        let third = time::Duration::from_secs(seconds.into()) / 3;
        let resumed = time::timeout(third, suspend::resumed(suspend::count())).await;
        if let Ok(Resumed::Restored) = resumed {
            id = 0;
        }
    }
}

/// A process is its host's to watch.
#[cfg(xenlet = "unix")]
pub(crate) async fn serve() {}

#[cfg(all(test, not(xenlet = "unix")))]
mod tests {
    use crate::hosted::{self, Config};
    use crate::suspend;
    use crate::time::{Duration, sleep};

    /// Suspended for any time, and restored, where there is no watchdog before it is asked for.
    #[test]
    fn a_suspended_domain_lives() {
        let config = Config {
            command_line: "watchdog=9".into(),
            ..Config::default()
        };
        let ended = hosted::run(config, async || {
            sleep(Duration::from_secs(100)).await;
            hosted::checkpoint();
            suspend::about_to().await.resumed().await;
            sleep(Duration::from_secs(100)).await;
            hosted::restore(|| assert!(!hosted::watchdog_is_set()));
            suspend::about_to().await.resumed().await;
            sleep(Duration::from_secs(100)).await;
            hosted::watchdog_is_set()
        });
        assert_eq!(ended.value, Some(true), "{}", ended.console);
    }

    /// The small Xen ends a domain that it has not heard of for too long, as the real one does.
    #[test]
    fn a_domain_that_goes_round_lives() {
        for (word, on) in [("watchdog=9", true), ("watchdog=x", false), ("", false)] {
            let config = Config {
                command_line: word.into(),
                ..Config::default()
            };
            let ended = hosted::run(config, async || {
                sleep(Duration::from_secs(1000)).await;
                hosted::watchdog_is_set()
            });
            assert_eq!(ended.value, Some(on), "{word}: {}", ended.console);
        }
    }
}
