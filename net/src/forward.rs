//! `forward=80:8080` on the command line, where the guest is a process: its port 80 is port 8080 of the host's 127.0.0.1.

use crate::Error;
use alloc::format;
use alloc::vec::Vec;

/// Every `forward=PORT:HOSTPORT` of `line`.
///
/// # Errors
/// [`Error::Word`] when one is not two ports.
pub(crate) fn forwards(line: &str) -> Result<Vec<(u16, u16)>, Error> {
    let words = line
        .split_ascii_whitespace()
        .filter_map(|word| word.strip_prefix("forward="));
    words
        .map(|word| {
            let ports = word
                .split_once(':')
                .and_then(|(guest, host)| Some((guest.parse().ok()?, host.parse().ok()?)));
            ports.filter(|ports| *ports != (0, 0)).ok_or_else(|| {
                Error::Word(format!(
                    "forward={word}: not two ports; write it as forward=80:8080"
                ))
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_the_host() {
        assert_eq!(
            forwards("x forward=80:8080 forward=443:8443").unwrap(),
            [(80, 8080), (443, 8443)]
        );
        assert!(forwards("forward=80").is_err());
        assert!(forwards("forward=80:99999").is_err());
    }
}
