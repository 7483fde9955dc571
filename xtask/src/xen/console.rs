//! A guest's console, read from the file it is logged to.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// The console since the guest was created.
#[derive(Clone, Debug)]
pub(crate) struct Console {
    path: PathBuf,
    /// Where the log ended before the guest.
    start: u64,
    /// How much of it was shown by [`Console::next`].
    shown: u64,
}

/// How a crash report begins and ends. The words are the kernel's.
const REPORT_BEGINS: &str = "*** xenlet crash:";
const REPORT_ENDS: &str = "*** end of report";

impl Console {
    /// The console of a guest about to be created.
    pub(crate) fn new(path: PathBuf) -> Self {
        let start = path.metadata().map(|data| data.len()).unwrap_or(0);
        Self {
            path,
            start,
            shown: 0,
        }
    }

    /// Everything so far. Carriage returns, which the console adds for terminals, are taken out.
    pub(crate) fn text(&self) -> String {
        self.read(self.start)
    }

    /// The complete lines that came since the last call.
    pub(crate) fn next(&mut self) -> String {
        let mut bytes = Vec::new();
        self.read_bytes(self.start + self.shown, &mut bytes);
        let whole = bytes
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1);
        self.shown += whole as u64;
        clean(&bytes[..whole])
    }

    fn read(&self, from: u64) -> String {
        let mut bytes = Vec::new();
        self.read_bytes(from, &mut bytes);
        clean(&bytes)
    }

    /// A file that is not there yet is an empty console.
    fn read_bytes(&self, from: u64, bytes: &mut Vec<u8>) {
        let Ok(mut file) = File::open(&self.path) else {
            return;
        };
        if file.seek(SeekFrom::Start(from)).is_ok() {
            let _ = file.read_to_end(bytes);
        }
    }
}

fn clean(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace('\r', "")
}

/// The IPv4 address the guest says it has: `INFO net: vif0: 10.0.2.15/24 by DHCP`.
pub(crate) fn address(text: &str) -> Option<Ipv4Addr> {
    text.lines().rev().find_map(|line| {
        let (_, rest) = line.split_once("net: vif0: ")?;
        rest.split(['/', ' ']).next()?.parse().ok()
    })
}

/// The last crash report, if it is complete.
pub(crate) fn report(text: &str) -> Option<&str> {
    let report = &text[text.rfind(REPORT_BEGINS)?..];
    let end = report.find(REPORT_ENDS)?;
    let line_end = report[end..]
        .find('\n')
        .map_or(report.len(), |line| end + line);
    Some(&report[..line_end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_where_the_guest_says_it() {
        let text = "[    0.001234] INFO net: vif0: 02:00:00:00:00:01 up\n[    0.1] INFO net: vif0: 10.0.2.15/24 by DHCP, gateway 10.0.2.2\n";
        assert_eq!(address(text), Some(Ipv4Addr::new(10, 0, 2, 15)));
        assert_eq!(address("[    0.1] INFO net: vif0: no address\n"), None);
    }

    #[test]
    fn a_report_is_taken_whole_or_not_at_all() {
        let text = "hello\n*** xenlet crash: x\n***   #0 0x1\n*** end of report; ending\nbye\n";
        assert_eq!(
            report(text),
            Some("*** xenlet crash: x\n***   #0 0x1\n*** end of report; ending")
        );
        assert_eq!(report("*** xenlet crash: x\n***   #0 0x1\n"), None);
    }

    #[test]
    fn lines_are_shown_once_and_whole() {
        let path = std::env::temp_dir().join(format!("xtask-console-{}", std::process::id()));
        std::fs::write(&path, "before\n").unwrap();
        let mut console = Console::new(path.clone());
        assert_eq!(console.next(), "");
        std::fs::write(&path, "before\none\r\ntw").unwrap();
        assert_eq!(console.next(), "one\n");
        std::fs::write(&path, "before\none\r\ntwo\r\n").unwrap();
        assert_eq!(
            (console.next().as_str(), console.text().as_str()),
            ("two\n", "one\ntwo\n")
        );
        std::fs::remove_file(path).unwrap();
    }
}
