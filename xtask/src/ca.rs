//! A CA that nobody knows, and a server's certificate by it: for trying HTTPS out on 127.0.0.1.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

use crate::project;

/// The files of a CA.
#[derive(Debug)]
pub(crate) struct Files {
    /// Its certificate, for clients.
    pub(crate) ca: PathBuf,
    /// The server's key and certificate, for the guest.
    pub(crate) key: PathBuf,
}

/// Makes a CA and a certificate for this machine's names, anew: the CA's own key is not kept.
///
/// # Errors
/// If the files can't be written.
pub(crate) fn make() -> Result<Files> {
    let folder = project::target_dir().join("tls");
    fs::create_dir_all(&folder)?;
    let (ca, key) = issue(&["localhost", "127.0.0.1"])?;
    let files = Files {
        ca: folder.join("ca.pem"),
        key: folder.join("tls.pem"),
    };
    write(&files.ca, &ca)?;
    write(&files.key, &key)?;
    Ok(files)
}

/// A CA's certificate, and a key and a certificate by it for these names, in PEM.
///
/// # Errors
/// If a name can't be in a certificate.
pub(crate) fn issue(names: &[&str]) -> Result<(String, String)> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params
        .distinguished_name
        .push(DnType::CommonName, "xenlet, a CA for trying out");
    let ca_key = KeyPair::generate()?;
    let ca = params.self_signed(&ca_key)?.pem();
    let issuer = Issuer::new(params, ca_key);
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names)?;
    let year = this_year();
    params.not_before = date_time_ymd(year, 1, 1);
    params.not_after = date_time_ymd(year + 1, 12, 31);
    params
        .distinguished_name
        .push(DnType::CommonName, "xenlet, for trying out");
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?.pem();
    Ok((ca, key.serialize_pem() + &certificate))
}

/// By the clock of this machine, give or take a day.
fn this_year() -> i32 {
    const YEAR_SECS: u64 = 31_556_952;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let years = now.map_or(0, |now| now.as_secs() / YEAR_SECS);
    1970 + i32::try_from(years).unwrap_or(0)
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}
