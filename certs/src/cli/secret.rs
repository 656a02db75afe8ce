//! Where passphrases of keys come from: a file, the environment, or a prompt on a terminal.

use std::{
    collections::HashMap,
    env, fs,
    io::{self, IsTerminal as _, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use clap::Args;

use super::run::Failure;
use crate::authority::Passphrase;

const FILE_VARIABLE: &str = "CATCHMENT_CERTS_PASSPHRASE_FILE";
const VARIABLE: &str = "CATCHMENT_CERTS_PASSPHRASE";

/// Maximum size of a passphrase's file in bytes.
const FILE_BYTES_MAX: u64 = 4 << 10;

/// The passphrase of an encrypted key.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Secret {
    /// File whose first line is the passphrase of an encrypted key [default: the file in CATCHMENT_CERTS_PASSPHRASE_FILE,
    /// the text in CATCHMENT_CERTS_PASSPHRASE, or a prompt].
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

/// Whether and how a new key is encrypted.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct NewSecret {
    /// Encrypt the new key's file (PKCS#8, PBES2).
    #[arg(long)]
    encrypt: bool,
    /// File whose first line is the passphrase of the new key [default: that of --passphrase-file].
    #[arg(long, value_name = "FILE", requires = "encrypt")]
    new_passphrase_file: Option<PathBuf>,
}

impl NewSecret {
    /// Whether the new key is to be encrypted.
    pub(super) fn is_wanted(&self) -> bool {
        self.encrypt
    }

    /// The passphrase of the new key, if it is to be encrypted.
    pub(super) fn passphrase(&self, secret: &Secret, what: &str) -> Result<Option<Passphrase>, Failure> {
        if !self.encrypt {
            return Ok(None);
        }
        let own =
            Secret { passphrase_file: self.new_passphrase_file.clone().or(secret.passphrase_file.clone()) };
        own.for_new(what).map(Some)
    }
}

impl Secret {
    /// Whether a file is given by a flag.
    pub(super) fn is_given(&self) -> bool {
        self.passphrase_file.is_some()
    }

    /// Answers with the passphrase of a key's file, and remembers what was typed.
    pub(super) fn passphrases(&self) -> impl FnMut(&Path) -> Result<Passphrase, String> {
        let mut typed: HashMap<PathBuf, Passphrase> = HashMap::new();
        let given = self.clone();
        move |path| {
            if let Some(known) = typed.get(path) {
                return Ok(known.clone());
            }
            let found = match given.given()? {
                Some(passphrase) => passphrase,
                None => prompt(&format!("Passphrase of {}: ", path.display()))?,
            };
            typed.insert(path.to_owned(), found.clone());
            Ok(found)
        }
    }

    /// The passphrase for something new; a prompt asks twice.
    pub(super) fn for_new(&self, what: &str) -> Result<Passphrase, Failure> {
        let ask = || {
            let first = prompt(&format!("New passphrase of {what}: "))?;
            let again = prompt("The same again: ")?;
            if first == again { Ok(first) } else { Err("the two passphrases differ".to_owned()) }
        };
        let passphrase =
            self.given().and_then(|given| given.map_or_else(ask, Ok)).map_err(Failure::Failed)?;
        passphrase.for_new_key().map_err(|error| Failure::Failed(error.to_string()))
    }

    /// The passphrase from file or environment.
    fn given(&self) -> Result<Option<Passphrase>, String> {
        let file = self.passphrase_file.clone().or_else(|| env::var_os(FILE_VARIABLE).map(PathBuf::from));
        if let Some(file) = file {
            return read(&file).map(Some);
        }
        match env::var(VARIABLE) {
            Ok(text) => Passphrase::new(text).map(Some).map_err(|error| format!("{VARIABLE}: {error}")),
            Err(env::VarError::NotPresent) => Ok(None),
            Err(error) => Err(format!("{VARIABLE}: {error}")),
        }
    }
}

/// Reads the first line of a file that not everybody may read.
fn read(path: &Path) -> Result<Passphrase, String> {
    let failed = |error: io::Error| format!("cannot read the passphrase from {}: {error}", path.display());
    let file = fs::File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_file() && metadata.permissions().mode() & 0o007 != 0 {
        return Err(format!(
            "{0} can be read by every user of this machine; run: chmod 600 {0}",
            path.display()
        ));
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
    Passphrase::new(text).map_err(|error| format!("{}: {error}", path.display()))
}

fn prompt(text: &str) -> Result<Passphrase, String> {
    if !io::stdin().is_terminal() {
        return Err(format!(
            "a passphrase is needed, and there is no terminal to ask for it; give --passphrase-file FILE, or set {FILE_VARIABLE}"
        ));
    }
    let typed =
        rpassword::prompt_password(text).map_err(|error| format!("cannot ask for a passphrase: {error}"))?;
    Passphrase::new(typed).map_err(|error| error.to_string())
}
