//! `catchment-certs root`, `anchors`, `encrypt-key` and `export`.

use std::path::PathBuf;

use catchment_proto::id::Name;
use clap::{Args, Subcommand};

use super::{
    Format, Pki, days, report,
    run::{Failure, note},
    secret::{NewSecret, Secret},
};
use crate::authority::{
    Authority, InitOptions, KeyKind, ROOT_DAYS, add_anchors, authority_dir, encrypt_key, export_pkcs12,
};

#[derive(Debug, Subcommand)]
pub(super) enum Root {
    /// Make a new root that issues nothing yet, and add it to every ca.pem below PKI.
    #[command(
        after_help = "Copy the new ca.pem to every server and device before `root switch`.\n\nExample:\n  \
        catchment-certs root prepare --dir PKI"
    )]
    Prepare(Prepare),
    /// Let the prepared root issue from now on.
    #[command(
        after_help = "Then renew the sites, and every identity; the old root stays trusted.\n\nExample:\n  \
        catchment-certs root switch --dir PKI"
    )]
    Switch(Opened),
    /// Take the old root out of every ca.pem below PKI, once nothing needs it.
    #[command(after_help = "Example:\n  catchment-certs root retire --dir PKI")]
    Retire(Retire),
}

#[derive(Debug, Args)]
pub(super) struct Opened {
    #[command(flatten)]
    pki: Pki,
    #[command(flatten)]
    secret: Secret,
}

#[derive(Debug, Args)]
pub(super) struct Prepare {
    #[command(flatten)]
    opened: Opened,
    /// Kind of the new root's key: p256, p384 or rsa3072.
    #[arg(long, value_name = "KIND", default_value_t)]
    key: KeyKind,
    /// Validity of the new root in days.
    #[arg(long, value_name = "N", default_value_t = ROOT_DAYS, value_parser = days())]
    days: u32,
    #[command(flatten)]
    new: NewSecret,
}

#[derive(Debug, Args)]
pub(super) struct Retire {
    #[command(flatten)]
    opened: Opened,
    /// Also while certificates of the old root are in force, which peers then refuse.
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Anchors {
    /// Add the roots of a file to PKI/ca.pem and to every ca.pem below it.
    #[command(after_help = "Example, to trust the root of another folder too:\n  \
        catchment-certs anchors add other/ca.pem --dir PKI")]
    Add {
        /// PEM file with roots of the same trust domain.
        file: PathBuf,
        #[command(flatten)]
        pki: Pki,
    },
}

#[derive(Debug, Args)]
pub(super) struct EncryptKey {
    #[command(flatten)]
    pki: Pki,
    #[command(flatten)]
    secret: Secret,
    /// Encrypt the key of this site instead of the root's.
    #[arg(long)]
    site: Option<Name>,
}

#[derive(Debug, Args)]
pub(super) struct Export {
    /// Identity folder.
    dir: PathBuf,
    /// New PKCS#12 file with key, certificates and root.
    #[arg(long, value_name = "FILE")]
    pkcs12: PathBuf,
    /// Output format.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    secret: Secret,
}

pub(super) fn run(command: Root) -> Result<(), Failure> {
    match command {
        Root::Prepare(Prepare { opened: Opened { pki, secret }, key, days, new }) => {
            let mut passphrases = secret.passphrases();
            let authority = Authority::open_with(&pki.dir, &mut passphrases)?;
            let passphrase = new.passphrase(&secret, "the new root's key")?;
            let options = InitOptions { days, key, passphrase };
            let prepared = authority.prepare_root(&options, &mut passphrases)?;
            let next = match prepared.changed {
                0 => {
                    "a new root was prepared before; copy ca.pem to every server and device, then run `catchment-certs root switch`"
                }
                _ => "copy ca.pem to every server and device, then run `catchment-certs root switch`",
            };
            report::anchors(&pki, "prepared", &prepared, Some(next))
        }
        Root::Switch(Opened { pki, secret }) => {
            let mut passphrases = secret.passphrases();
            let authority = Authority::open_with(&pki.dir, &mut passphrases)?;
            let before = authority.is_switched();
            report::switched(&pki, &authority.switch_root(&mut passphrases, &mut note)?, before)
        }
        Root::Retire(Retire { opened: Opened { pki, secret }, force }) => {
            let authority = Authority::open_with(&pki.dir, &mut secret.passphrases())?;
            let retired = authority.retire_roots(force, &mut note)?;
            let next = match retired.changed {
                0 => "nothing: there is no old root in ca.pem",
                _ => "copy crl.pem, then ca.pem to every server and device",
            };
            report::anchors(&pki, "retired", &retired, Some(next))
        }
    }
}

pub(super) fn anchors(Anchors::Add { file, pki }: &Anchors) -> Result<(), Failure> {
    report::anchors(pki, "added", &add_anchors(&pki.dir, file)?, None)
}

pub(super) fn encrypt(EncryptKey { pki, secret, site }: &EncryptKey) -> Result<(), Failure> {
    let dir = authority_dir(&pki.dir, site.as_ref());
    let passphrase = secret.for_new(&format!("the key in {}", dir.display()))?;
    report::encrypted(pki.format, &encrypt_key(&dir, &passphrase)?)
}

pub(super) fn export(Export { dir, pkcs12, secret, format }: &Export) -> Result<(), Failure> {
    let passphrase = secret.for_new(&pkcs12.display().to_string())?;
    let peer = export_pkcs12(dir, pkcs12, &passphrase)?;
    report::exported(*format, &peer.identity, pkcs12)
}
