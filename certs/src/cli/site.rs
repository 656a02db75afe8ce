//! `catchment-certs site`: issuing certificates of sites.

use catchment_proto::id::Name;
use clap::{Args, Subcommand};

use super::{
    Format, Pki, days, report,
    run::{Failure, note},
    secret::{NewSecret, Secret},
};
use crate::authority::{Authority, KeyKind, SiteRequest, SiteStatus, sites};

#[derive(Debug, Subcommand)]
pub(super) enum Site {
    /// Make an issuing certificate for a site, which then issues for itself.
    #[command(
        after_help = "PKI/site/SITE becomes an authority of its own. A copy of that folder works without the key of \
        the root.\n\nExamples:\n  catchment-certs site add --dir PKI --site berlin\n  \
        catchment-certs site add --dir PKI --site berlin --encrypt --new-passphrase-file berlin.txt"
    )]
    Add(Add),
    /// List the sites that have an issuing certificate.
    #[command(after_help = "Example:\n  catchment-certs site list --dir PKI --format json")]
    List(List),
    /// Make a new issuing certificate for a site before the old one ends.
    #[command(
        after_help = "Without --key the site keeps its key, and the root needs no access to it. What the old \
        certificate issued stays valid until that ends; renew it before.\n\nExamples:\n  catchment-certs site renew --dir PKI \
        --site berlin\n  catchment-certs site renew --dir PKI --site berlin --key p384"
    )]
    Renew(Renew),
}

#[derive(Debug, Args)]
pub(super) struct Add {
    #[command(flatten)]
    pki: Pki,
    #[command(flatten)]
    secret: Secret,
    /// Site.
    #[arg(long)]
    site: Name,
    /// Kind of its key: p256, p384 or rsa3072.
    #[arg(long, value_name = "KIND", default_value_t)]
    key: KeyKind,
    /// Validity in days [default: 1825, or until the root ends].
    #[arg(long, value_name = "N", value_parser = days())]
    days: Option<u32>,
    #[command(flatten)]
    new: NewSecret,
}

#[derive(Debug, Args)]
pub(super) struct Renew {
    #[command(flatten)]
    pki: Pki,
    #[command(flatten)]
    secret: Secret,
    /// Site.
    #[arg(long)]
    site: Name,
    /// Make a new key of this kind: p256, p384 or rsa3072 [default: keep the key].
    #[arg(long, value_name = "KIND")]
    key: Option<KeyKind>,
    /// Validity in days [default: 1825, or until the root ends].
    #[arg(long, value_name = "N", value_parser = days())]
    days: Option<u32>,
    #[command(flatten)]
    new: NewSecret,
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    pki: Pki,
}

pub(super) fn run(command: Site) -> Result<(), Failure> {
    match command {
        Site::Add(Add { pki, secret, site, key, days, new }) => {
            let authority = Authority::open_with(&pki.dir, &mut secret.passphrases())?;
            let passphrase = new.passphrase(&secret, &format!("the key of site {site}"))?;
            let request = SiteRequest { site, days, key: Some(key), passphrase };
            let made = authority.site_add(&request, &mut note)?;
            report::made_site(pki.format, "made", &request.site, &made)
        }
        Site::Renew(Renew { pki, secret, site, key, days, new }) => {
            if key.is_none() && new.is_wanted() {
                let reason =
                    "--encrypt is for a new key: give --key too, or use `encrypt-key` for the present one";
                return Err(Failure::Usage(reason.to_owned()));
            }
            let mut passphrases = secret.passphrases();
            let authority = Authority::open_with(&pki.dir, &mut passphrases)?;
            let passphrase = new.passphrase(&secret, &format!("the key of site {site}"))?;
            let request = SiteRequest { site, days, key, passphrase };
            let renewed = authority.site_renew(&request, &mut passphrases, &mut note)?;
            report::made_site(pki.format, "renewed", &request.site, &renewed)
        }
        Site::List(List { pki }) => {
            let rows = sites(&pki.dir, &mut note)?;
            match pki.format {
                Format::Text => report::print(&table(&rows)),
                Format::Json => report::json(&rows),
            }
        }
    }
}

fn table(rows: &[SiteStatus]) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["SITE", "STATUS", "KEY", "NOT AFTER", "SERIAL"]);
    for row in rows {
        table.add_row([&row.site, &row.status.to_string(), row.key, &row.not_after, &row.serial]);
    }
    table.trim_fmt()
}
