//! Prometheus's text format, version 0.0.4, read as strictly as it is written down.

use std::collections::{BTreeMap, BTreeSet};

/// Numbers by name and labels, as they are written.
#[derive(Debug)]
pub struct Exposition(BTreeMap<String, f64>);

impl Exposition {
    /// Reads a text. Each family is described before its first sample, once, and is in one piece; no sample is there twice; buckets are
    /// cumulative, and the last has all.
    ///
    /// # Errors
    /// The first line that is not so.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (mut samples, mut families) = (BTreeMap::new(), BTreeSet::new());
        let (mut helped, mut family, mut kind) = ("", "", "");
        if !text.ends_with('\n') {
            return Err("the last line has no end".into());
        }
        for line in text.lines() {
            let wrong = |why: &str| format!("{why}: {line}");
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').ok_or(wrong("no help"))?;
                if !families.insert(name) || help.is_empty() {
                    return Err(wrong("described twice, or not at all"));
                }
                helped = name;
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                (family, kind) = rest.split_once(' ').ok_or(wrong("no type"))?;
                if family != helped || !["counter", "gauge", "histogram"].contains(&kind) {
                    return Err(wrong("no such type, or no help before it"));
                }
                if (kind == "counter") != family.ends_with("_total") {
                    return Err(wrong("counters end in _total"));
                }
            } else {
                let (key, value) = line.rsplit_once(' ').ok_or(wrong("no value"))?;
                let suffix = name(key).ok_or(wrong("labels"))?.strip_prefix(family);
                let suffixes: &[&str] = match kind {
                    "histogram" => &["_bucket", "_sum", "_count"],
                    _ => &[""],
                };
                if !suffix.is_some_and(|suffix| suffixes.contains(&suffix)) {
                    return Err(wrong("not of this family"));
                }
                let value: f64 = value.parse().map_err(|_| wrong("no number"))?;
                if samples.insert(key.to_owned(), value).is_some() {
                    return Err(wrong("twice"));
                }
                buckets(key, value, &samples).map_err(|why| wrong(&why))?;
            }
        }
        Ok(Self(samples))
    }

    /// Whether `later` has no counter that is less than here.
    ///
    /// # Errors
    /// The first one that is.
    pub fn grows_to(&self, later: &Self) -> Result<(), String> {
        let counts = |key: &str| key.contains("_total") || key.contains("_bucket");
        let less = |(key, value): &(&String, &f64)| {
            counts(key) && later.0.get(*key).is_none_or(|now| now < value)
        };
        match self.0.iter().find(less) {
            None => Ok(()),
            Some((key, value)) => Err(format!("{key} was {value}, and is {:?}", later.0.get(key))),
        }
    }

    /// One of them.
    ///
    /// # Panics
    /// If it is not there.
    pub fn value(&self, key: &str) -> f64 {
        *self.0.get(key).unwrap_or_else(|| panic!("no {key}"))
    }
}

/// The name of a sample whose labels are well formed.
fn name(key: &str) -> Option<&str> {
    let is_name = |name: &str| {
        name.starts_with("xenlet_")
            && name
                .bytes()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_')
    };
    let (name, labels) = match key.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}')?),
        None => (key, ""),
    };
    // No label of ours has a comma or a quote in its value.
    let well_formed = labels.is_empty()
        || labels.split(',').all(|label| {
            let value = label.split_once("=\"").map(|(_, value)| value);
            value
                .and_then(|value| value.strip_suffix('"'))
                .is_some_and(|value| !value.contains('"'))
        });
    (is_name(name) && well_formed).then_some(name)
}

/// Checks a histogram at its count, which comes last.
fn buckets(key: &str, value: f64, samples: &BTreeMap<String, f64>) -> Result<(), String> {
    let Some(family) = key.strip_suffix("_seconds_count") else {
        return Ok(());
    };
    let begin = format!("{family}_seconds_bucket{{le=\"");
    let mut bounds: Vec<(f64, f64)> = samples
        .iter()
        .filter_map(|(key, count)| Some((key.strip_prefix(&begin)?.strip_suffix("\"}")?, *count)))
        .map(|(bound, count)| (bound.replace('+', "").parse().unwrap_or(f64::NAN), count))
        .collect();
    bounds.sort_by(|a, b| a.0.total_cmp(&b.0));
    let cumulative = bounds.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1);
    let all = bounds.last() == Some(&(f64::INFINITY, value));
    let summed = samples.contains_key(&format!("{family}_seconds_sum"));
    match bounds.len() > 2 && cumulative && all && summed {
        true => Ok(()),
        false => Err(format!("buckets {bounds:?}")),
    }
}
