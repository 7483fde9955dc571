//! The arithmetic of Xen's clocks (`vcpu_time_info` and the wall clock of `xen/xen.h`). No memory is touched here.

use core::time::Duration;

/// `struct vcpu_time_info`: how to turn the time-stamp counter into nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimeInfo {
    /// The counter when this was written.
    pub(crate) tsc_timestamp: u64,
    /// System time then, in nanoseconds.
    pub(crate) system_time: u64,
    /// Nanoseconds a tick, times 2^32, after the shift.
    pub(crate) tsc_to_system_mul: u32,
    /// By how many bits ticks are shifted left, or right if negative.
    pub(crate) tsc_shift: i8,
}

impl TimeInfo {
    /// System time at `tsc`, in nanoseconds. A counter that lags behind the record counts as the record's.
    pub(crate) fn at(&self, tsc: u64) -> u64 {
        // A guest's counter begins at 0 when it is created, and the record may be older: its timestamp is then "negative".
        let delta = tsc.wrapping_sub(self.tsc_timestamp);
        let delta = if delta > u64::MAX / 2 { 0 } else { delta };
        let shift = u32::from(self.tsc_shift.unsigned_abs());
        let ticks = if self.tsc_shift < 0 {
            delta.checked_shr(shift).unwrap_or(0)
        } else {
            delta.checked_shl(shift).unwrap_or(u64::MAX)
        };
        let ns = (u128::from(ticks) * u128::from(self.tsc_to_system_mul)) >> 32;
        self.system_time
            .saturating_add(u64::try_from(ns).unwrap_or(u64::MAX))
    }
}

/// The wall clock when system time was zero.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WallClock {
    pub(crate) sec: u32,
    pub(crate) sec_hi: u32,
    pub(crate) nsec: u32,
}

impl WallClock {
    /// The time since the Unix epoch at system time `now_ns`; `None` if Xen has not set the clock.
    pub(crate) fn at(&self, now_ns: u64) -> Option<Duration> {
        let secs = u64::from(self.sec_hi) << 32 | u64::from(self.sec);
        if secs == 0 {
            return None;
        }
        Duration::from_secs(secs)
            .checked_add(Duration::from_nanos(self.nsec.into()))?
            .checked_add(Duration::from_nanos(now_ns))
    }
}

/// What `SCHEDOP_poll` is told of a deadline: it takes 0 for none, and a time with the highest bit set for one that is
/// long past, which would make a sleep until the end of time no sleep at all.
pub(crate) const fn poll_timeout(deadline_ns: u64) -> u64 {
    match deadline_ns {
        0 => 1,
        _ if deadline_ns > i64::MAX.cast_unsigned() => 0,
        _ => deadline_ns,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_gigahertz() {
        // mul 2^31 and shift 1: a tick is a nanosecond.
        let info = TimeInfo {
            tsc_timestamp: 1000,
            system_time: 5,
            tsc_to_system_mul: 1 << 31,
            tsc_shift: 1,
        };
        assert_eq!(info.at(1000), 5);
        assert_eq!(info.at(4000), 3005);
        assert_eq!(info.at(0), 5, "a counter that lags does not go back");
    }

    /// As Xen 4.17 gave it to a guest just created.
    #[test]
    fn a_record_older_than_the_guest() {
        let info = TimeInfo {
            tsc_timestamp: 600_000_000_u64.wrapping_neg(),
            system_time: 192_521_253_036,
            tsc_to_system_mul: 2_147_484_721,
            tsc_shift: 1,
        };
        let (entered, now) = (info.at(533_754_323), info.at(543_297_842));
        assert!(
            (9_500_000..9_600_000).contains(&(now - entered)),
            "{entered} {now}"
        );
        assert!(entered > info.system_time + 1_000_000_000);
    }

    #[test]
    fn four_gigahertz() {
        let info = TimeInfo {
            tsc_timestamp: 0,
            system_time: 0,
            tsc_to_system_mul: 1 << 31,
            tsc_shift: -1,
        };
        assert_eq!(info.at(4_000_000_000), 1_000_000_000);
    }

    #[test]
    fn wall() {
        let clock = WallClock {
            sec: 1_700_000_000,
            sec_hi: 0,
            nsec: 999_999_999,
        };
        assert_eq!(clock.at(1), Some(Duration::from_secs(1_700_000_001)));
        assert_eq!(
            WallClock {
                sec: 0,
                sec_hi: 0,
                nsec: 0
            }
            .at(1),
            None
        );
    }

    #[test]
    fn the_end_of_time_is_no_deadline() {
        assert_eq!(poll_timeout(0), 1, "passed, not absent");
        assert_eq!(poll_timeout(5), 5);
        assert_eq!(poll_timeout(i64::MAX as u64), i64::MAX as u64);
        assert_eq!(poll_timeout(i64::MAX as u64 + 1), 0);
        assert_eq!(poll_timeout(u64::MAX), 0);
    }

    proptest! {
        #[test]
        fn never_panics_and_never_goes_back(
            tsc_timestamp: u64, system_time: u64, tsc_to_system_mul: u32, tsc_shift in -32i8..=3, a: u64, b: u64,
        ) {
            let info = TimeInfo { tsc_timestamp, system_time, tsc_to_system_mul, tsc_shift };
            // A shift further to the left would lose bits of counters that are not reached in 58 years at 10 GHz.
            let [early, late] = [a.min(b), a.max(b)].map(|ticks| tsc_timestamp.wrapping_add(ticks >> 4));
            prop_assert!(info.at(early) <= info.at(late));
        }

        #[test]
        fn any_wall_clock(sec: u32, sec_hi: u32, nsec: u32, now: u64) {
            let _ = WallClock { sec, sec_hi, nsec }.at(now);
        }
    }
}
