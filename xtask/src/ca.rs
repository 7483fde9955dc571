//! A CA that nobody knows, and a server's certificate by it: for trying HTTPS out on 127.0.0.1.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CrlDistributionPoint, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};

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
    let ca = Ca::new()?;
    Ok((ca.pem.clone(), ca.server(names)?))
}

/// One that has its key.
#[derive(Debug)]
pub(crate) struct Ca {
    /// Its certificate.
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    /// A new one.
    ///
    /// # Errors
    /// If no key can be made.
    pub(crate) fn new() -> Result<Self> {
        let mut params = valid_for_a_year(Vec::new(), "xenlet, a CA for trying out")?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        Ok(Self {
            pem: params.self_signed(&key)?.pem(),
            issuer: Issuer::new(params, key),
        })
    }

    /// A server's key and certificate, for these names, in PEM.
    ///
    /// # Errors
    /// If a name can't be in a certificate.
    pub(crate) fn server(&self, names: &[&str]) -> Result<String> {
        let names = names.iter().map(ToString::to_string).collect();
        let mut params = valid_for_a_year(names, "xenlet, for trying out")?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        // Scanners want to be told where a certificate's revocation would be; nobody revokes this one.
        params.crl_distribution_points = vec![CrlDistributionPoint {
            uris: vec!["http://localhost/none.crl".into()],
        }];
        self.sign(params)
    }

    /// A client's key and certificate, in PEM: it is called `name`.
    ///
    /// # Errors
    /// If the name can't be in a certificate.
    pub(crate) fn client(&self, name: &str) -> Result<String> {
        let mut params = valid_for_a_year(Vec::new(), name)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params)
    }

    fn sign(&self, mut params: CertificateParams) -> Result<String> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(key.serialize_pem() + &certificate)
    }
}

/// What a certificate says that is for `subject` and these names, valid from yesterday on, by the clock of this machine, for a year.
fn valid_for_a_year(names: Vec<String>, subject: &str) -> Result<CertificateParams> {
    const DAY: Duration = Duration::from_secs(86400);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let mut params = CertificateParams::new(names)?;
    params.not_before = date_time_ymd(1970, 1, 1) + now.unwrap_or_default().saturating_sub(DAY);
    params.not_after = params.not_before + 365 * DAY;
    params.distinguished_name.push(DnType::CommonName, subject);
    Ok(params)
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}
