//! The `Date` header field: IMF-fixdate of RFC 9110 §5.6.7.

use alloc::vec::Vec;
use core::cell::Cell;

const PREFIX: &[u8; 6] = b"Date: ";
const LINE_LEN: usize = PREFIX.len() + 29 + 2;

/// Formats a time, in seconds since the Unix epoch, as HTTP writes it: `Sun, 06 Nov 1994 08:49:37 GMT`.
///
/// Years beyond 9999 do not fit the format and are written as 9999's last second.
pub fn http_date(unix_seconds: u64) -> [u8; 29] {
    const LAST: u64 = 253_402_300_799; // 9999-12-31T23:59:59Z
    let seconds = unix_seconds.min(LAST);
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    // 1970-01-01 was a Thursday.
    let weekday = b"ThuFriSatSunMonTueWed".as_chunks::<3>().0[(days % 7) as usize];
    // The remainder shows the compiler that the index fits.
    let name =
        b"JanFebMarAprMayJunJulAugSepOctNovDec".as_chunks::<3>().0[((month - 1) % 12) as usize];

    let mut text = *b"Sun, 06 Nov 1994 08:49:37 GMT";
    text[..3].copy_from_slice(&weekday);
    text[5..7].copy_from_slice(&two_digits(day));
    text[8..11].copy_from_slice(&name);
    text[12..14].copy_from_slice(&two_digits(year / 100));
    text[14..16].copy_from_slice(&two_digits(year % 100));
    text[17..19].copy_from_slice(&two_digits(of_day / 3_600));
    text[20..22].copy_from_slice(&two_digits(of_day / 60 % 60));
    text[23..25].copy_from_slice(&two_digits(of_day % 60));
    text
}

/// Year, month (1 to 12) and day (1 to 31) of a count of days since 1970-01-01, in the Gregorian calendar.
///
/// Counts in eras of 400 years that begin on 1 March, so that the leap day is the last of its year.
fn civil(days: u64) -> (u64, u64, u64) {
    const ERA: u64 = 146_097;
    let since_march_0000 = days + 719_468;
    let of_era = since_march_0000 % ERA;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / (ERA - 1)) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = since_march_0000 / ERA * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

fn two_digits(value: u64) -> [u8; 2] {
    let digit = |value: u64| b"0123456789"[(value % 10) as usize];
    [digit(value / 10), digit(value)]
}

/// The `Date` line, made once a second for all connections.
#[derive(Default)]
pub(crate) struct DateLine(Cell<Option<(u64, [u8; LINE_LEN])>>);

impl DateLine {
    /// Appends the line for this second.
    pub(crate) fn append(&self, unix_seconds: u64, out: &mut Vec<u8>) {
        let line = match self.0.get() {
            Some((second, line)) if second == unix_seconds => line,
            _ => {
                let mut line = [0; LINE_LEN];
                line[..PREFIX.len()].copy_from_slice(PREFIX);
                line[PREFIX.len()..LINE_LEN - 2].copy_from_slice(&http_date(unix_seconds));
                line[LINE_LEN - 2..].copy_from_slice(b"\r\n");
                self.0.set(Some((unix_seconds, line)));
                line
            }
        };
        out.extend_from_slice(&line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(seconds: u64, text: &str) {
        assert_eq!(core::str::from_utf8(&http_date(seconds)).unwrap(), text);
    }

    #[test]
    fn dates_of_the_calendar() {
        check(0, "Thu, 01 Jan 1970 00:00:00 GMT");
        check(784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"); // RFC 9110's own example
        check(951_782_399, "Mon, 28 Feb 2000 23:59:59 GMT");
        check(951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT");
        check(4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT");
        check(4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"); // 2100 has no leap day
        check(u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT");
    }

    #[test]
    fn the_line_changes_with_the_second() {
        let line = DateLine::default();
        let mut out = Vec::new();
        for second in [5, 5, 6] {
            line.append(second, &mut out);
        }
        let five = "Date: Thu, 01 Jan 1970 00:00:05 GMT\r\n";
        let six = "Date: Thu, 01 Jan 1970 00:00:06 GMT\r\n";
        assert_eq!(out, [five, five, six].concat().as_bytes());
    }
}
