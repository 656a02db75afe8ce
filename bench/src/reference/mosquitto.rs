//! mosquitto with the gateway's identity: mutual TLS, no persistence, no subscriber.

use std::{fs, path::Path, process::Command};

use crate::process::{Server, free_addr, run};

/// The program: Debian installs it outside of a user's search path.
fn program() -> &'static str {
    if Path::new("/usr/sbin/mosquitto").is_file() { "/usr/sbin/mosquitto" } else { "mosquitto" }
}

/// mosquitto's version, if it is installed.
pub(crate) fn version() -> Option<String> {
    // Some versions print the help with status 3, so the status does not matter.
    let output = Command::new(program()).arg("-h").output().ok()?;
    String::from_utf8_lossy(&output.stdout).lines().next().map(str::to_owned)
}

/// Starts mosquitto in a folder.
///
/// # Errors
/// mosquitto is not installed or does not start.
pub(crate) fn start(identity: &Path, dir: &Path) -> anyhow::Result<Server> {
    fs::create_dir_all(dir)?;
    let addr = free_addr()?;
    let user = run(Command::new("id").arg("-un"))?;
    let [ca, cert, key] = ["ca.pem", "cert.pem", "key.pem"].map(|name| identity.join(name));
    let config = format!(
        "listener {} 127.0.0.1\ncafile {}\ncertfile {}\nkeyfile {}\nrequire_certificate true\n\
         allow_anonymous true\npersistence false\nmax_inflight_messages 0\nset_tcp_nodelay true\n\
         log_type error\nuser {}\n",
        addr.port(),
        ca.display(),
        cert.display(),
        key.display(),
        user.trim()
    );
    let file = dir.join("mosquitto.conf");
    fs::write(&file, config)?;
    let mut command = Command::new(program());
    command.arg("-c").arg(file);
    Server::start_at(command, addr, &dir.join("mosquitto.log"))
}
