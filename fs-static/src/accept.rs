//! `Accept-Encoding` (RFC 9110 §12.5.3).

use crate::Coding;
use core::cmp::Reverse;

/// What a client says about content codings.
///
/// Weights are in thousandths, as many as a `qvalue` can tell apart. Parsing takes any bytes: an element that the
/// grammar does not allow counts as not said. Of one coding named twice, the later weight counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accept {
    gzip: Option<u16>,
    brotli: Option<u16>,
    identity: Option<u16>,
    /// `*`: every coding that is not named.
    others: Option<u16>,
}

impl Accept {
    /// What a request without the field means here: only `identity`. (RFC 9110 would allow any coding, but who
    /// does not ask may not understand.)
    pub const UNSAID: Accept = Accept {
        gzip: None,
        brotli: None,
        identity: None,
        others: None,
    };

    /// Reads the value of one `Accept-Encoding` field.
    pub fn parse(value: &[u8]) -> Accept {
        Accept::UNSAID.and(value)
    }

    /// Adds the value of a further `Accept-Encoding` line of the same request.
    #[must_use]
    pub fn and(mut self, value: &[u8]) -> Accept {
        for element in value.split(|&byte| byte == b',') {
            let Some((name, weight)) = parse_element(element) else {
                continue;
            };
            let slot = if name.eq_ignore_ascii_case(b"gzip") || name.eq_ignore_ascii_case(b"x-gzip")
            {
                &mut self.gzip
            } else if name.eq_ignore_ascii_case(b"br") {
                &mut self.brotli
            } else if name.eq_ignore_ascii_case(b"identity") {
                &mut self.identity
            } else if name == b"*" {
                &mut self.others
            } else {
                continue;
            };
            *slot = Some(weight);
        }
        self
    }

    /// Chooses from `variants`, each with its coding and size, the one that is liked best, and of those that are liked
    /// equally, the smallest. `None` when all of them are refused.
    pub fn choose<T>(self, variants: impl Iterator<Item = (Coding, u64, T)>) -> Option<T> {
        variants
            .filter_map(|(coding, size, variant)| {
                Some((self.preference(coding)?, Reverse(size), variant))
            })
            .max_by_key(|&(preference, size, _)| (preference, size))
            .map(|(_, _, variant)| variant)
    }

    /// How much `coding` is liked, more is better; `None` if it must not be used.
    ///
    /// `identity` is acceptable unless refused, and comes after whatever was asked for.
    pub(crate) fn preference(self, coding: Coding) -> Option<u16> {
        let said = match coding {
            Coding::Identity => self.identity,
            Coding::Gzip => self.gzip,
            Coding::Brotli => self.brotli,
        };
        match said.or(self.others) {
            Some(0) => None,
            Some(weight) => Some(weight),
            None => (coding == Coding::Identity).then_some(0),
        }
    }
}

/// Splits `gzip;q=0.5` into name and weight: `codings [ OWS ";" OWS "q=" qvalue ]`.
fn parse_element(element: &[u8]) -> Option<(&[u8], u16)> {
    let mut parts = element.splitn(2, |&byte| byte == b';');
    let name = trim(parts.next()?);
    let weight = match parts.next() {
        None => 1000,
        Some(weight) => match trim(weight) {
            [b'q' | b'Q', b'=', value @ ..] => parse_qvalue(value)?,
            _ => return None,
        },
    };
    Some((name, weight))
}

/// Reads a `qvalue` (RFC 9110 §12.4.2), at most three decimals, in thousandths.
fn parse_qvalue(value: &[u8]) -> Option<u16> {
    let (whole, decimals) = match value {
        [whole] | [whole, b'.'] => (whole, &[][..]),
        [whole, b'.', decimals @ ..] if decimals.len() <= 3 => (whole, decimals),
        _ => return None,
    };
    let mut thousandths = match whole {
        b'0' => 0,
        b'1' => 1000,
        _ => return None,
    };
    for (&digit, unit) in decimals.iter().zip([100, 10, 1]) {
        if !digit.is_ascii_digit() {
            return None;
        }
        thousandths += u16::from(digit - b'0') * unit;
    }
    (thousandths <= 1000).then_some(thousandths)
}

/// Takes off optional white space (RFC 9110 §5.6.3): space and tab, nothing else.
fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests;
