//! The query of a request: `a=1&b=2`.

use alloc::format;
use alloc::string::String;
use core::fmt::Display;
use core::ops::RangeInclusive;
use core::str::FromStr;

/// A query, or none.
#[derive(Clone, Copy)]
pub(crate) struct Query<'q>(pub(crate) Option<&'q str>);

impl<'q> Query<'q> {
    /// The value of `name`.
    ///
    /// # Errors
    /// A line for people, if there is none.
    pub(crate) fn get(self, name: &str) -> Result<&'q str, String> {
        let words = self.0.unwrap_or_default().split('&');
        let mut pairs = words.filter_map(|word| word.split_once('='));
        let found = pairs.find(|(key, _)| *key == name);
        found
            .map(|(_, value)| value)
            .ok_or_else(|| format!("No {name} in the query: add &{name}=…"))
    }

    /// The value of `name` as a number in `range`.
    ///
    /// # Errors
    /// A line for people, if there is none.
    pub(crate) fn number<T: FromStr + PartialOrd + Display>(
        self,
        name: &str,
        range: RangeInclusive<T>,
    ) -> Result<T, String> {
        let text = self.get(name)?;
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| {
            let (from, to) = range.into_inner();
            format!("{name}={text} is not a number from {from} to {to}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_name_and_checked() {
        let query = Query(Some("op=read&qd=32&bs=x"));
        assert_eq!(query.get("op"), Ok("read"));
        assert_eq!(query.number("qd", 1..=64), Ok(32));
        assert_eq!(
            query.number("qd", 1..=8).unwrap_err(),
            "qd=32 is not a number from 1 to 8"
        );
        assert!(query.number("bs", 1..=8).is_err());
        assert!(query.get("secs").unwrap_err().contains("&secs="));
        assert!(Query(None).get("op").is_err());
    }
}
