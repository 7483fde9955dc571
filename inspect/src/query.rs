//! What follows the `?` of a request.

use alloc::format;
use alloc::string::String;
use core::str::FromStr;

/// Reads `name=value&…`, and has `take` take each. Values are numbers and words: nothing is decoded.
///
/// # Errors
/// A line for who asked, of the first one that `take` does not take.
pub(crate) fn read<'q>(
    query: Option<&'q str>,
    mut take: impl FnMut(&'q str, &'q str) -> Result<(), String>,
) -> Result<(), String> {
    let pairs = query.unwrap_or_default().split('&');
    for pair in pairs.filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        take(name, value)?;
    }
    Ok(())
}

/// A number.
///
/// # Errors
/// A line for who asked.
pub(crate) fn number<T: FromStr>(name: &str, value: &str) -> Result<T, String> {
    value
        .parse()
        .map_err(|_| format!("{name}={value}: {name} is a number, as {name}=10."))
}
