//! Fetches the scripts from Debian's source package.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

/// The package's archive of the original source, which stays in Debian's pool while bookworm does.
const URL: &str = "http://deb.debian.org/debian/pool/main/p/prometheus/prometheus_2.42.0+ds.orig.tar.xz";
const SHA256: &str = "62d510f128aac02f138d6fa839589bc4649f65cae3bd0917aeee033a8889af61";
const APT_HELPER: &str = "/usr/lib/apt/apt-helper";

/// The folder with the scripts; fetched once for a `target` folder.
pub(crate) fn scripts() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("prometheus-2.42.0-promql-testdata");
    if !folder.is_dir() {
        let own = folder.with_extension(std::process::id().to_string());
        fs::create_dir_all(&own).unwrap();
        if let Err(error) = fetch(&own) {
            _ = fs::remove_dir_all(&own);
            panic!(
                "Prometheus' test scripts: {error}. They come from {URL}: check the network, or unpack the folder \
                 promql/testdata of that archive as {}",
                folder.display()
            );
        }
        if let Err(error) = fs::rename(&own, &folder) {
            // Another test program was faster.
            assert!(folder.is_dir(), "{}: {error}", folder.display());
            _ = fs::remove_dir_all(&own);
        }
    }
    folder
}

/// Fetches, verifies and unpacks the archive.
fn fetch(folder: &Path) -> io::Result<()> {
    let archive = folder.join("source.tar.xz");
    let mut download = if Path::new(APT_HELPER).exists() {
        let mut apt = Command::new(APT_HELPER);
        apt.args(["download-file", URL]).arg(&archive).arg(format!("SHA256:{SHA256}"));
        apt
    } else {
        let mut curl = Command::new("curl");
        curl.args(["--fail", "--silent", "--show-error", "--location", "--output"]).arg(&archive).arg(URL);
        curl
    };
    run(&mut download)?;
    let sum = run(Command::new("sha256sum").arg(&archive))?;
    if !sum.starts_with(SHA256) {
        return Err(io::Error::other(format!("its SHA-256 is not {SHA256} but {sum}")));
    }
    let unpack = ["--strip-components=3", "--wildcards", "*/promql/testdata/*.test"];
    run(Command::new("tar").arg("-C").arg(folder).arg("-xf").arg(&archive).args(unpack))?;
    fs::remove_file(archive)
}

fn run(command: &mut Command) -> io::Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output =
        command.output().map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(format!("{name}: {}: {}", output.status, errors.trim())));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
